import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { createHub } from '../../src/hub.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { dropSlow } from '../../src/policies/drop-slow.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { type Allocated, FanOut, FLAGS, HEAD, type PolicyName, SCENARIOS, type ScenarioName } from './fan-out.mjs'

const PROGRAM = join(import.meta.dirname, 'fan-out.mjs')
/** Room for a machine that is busy with something else. Nothing here is timed. */
const PATIENCE_MS = 120_000
const POLICIES: readonly PolicyName[] = ['best-effort', 'buffered', 'drop-slow']

/**
 * Heap bytes for each delivery to a healthy client. The bound is what was measured and 12: V8 makes no object of less than 16 bytes, so
 * one more for each delivery, of whatever kind, is too many. In a flood 500 deliveries share a flush, and it is half as much again. In `wide`
 * only ten share a publication, and its objects show: 152 to 160 were measured, as the optimizer leaves some of them out or not.
 */
const HEAP_BOUNDS = {
  flood: 1.2,
  paced: 16,
  large: 47,
  wide: 172,
  crossed: 28,
} as const satisfies Partial<Record<ScenarioName, number>>

/** What a stalled tenth may add to what a delivery to one of the others costs: less than any object. */
const RISE = 12

const hubline = { createHub, ManualScheduler, bestEffort, buffered, dropSlow }
const execute = promisify(execFile)

/** One run, in this process. */
function ran(scenario: ScenarioName, policy: PolicyName): FanOut {
  const fanOut = new FanOut(hubline, SCENARIOS[scenario], policy).remember().run()
  expect(fanOut.healthy).toMatchObject({ corked: 0, refused: 0 })
  expect(fanOut.stalled).toMatchObject({ corked: 0, refused: 0 })
  return fanOut
}

/** What the codecs of a fan-out did, one for each. */
const work = ({ codecs }: FanOut) =>
  codecs.map(({ encoded, joined, copiedBytes }) => ({ encoded, joined, copiedBytes }))

/** How often each frame was written, in order of the first write; each is one that a codec has made, and no copy of it. */
function writesOfFrames({ codecs, healthy }: FanOut): number[] {
  const made = new Set(codecs.flatMap(codec => [...codec.made!]))
  expect([...healthy.frames!.keys()].filter(frame => !made.has(frame))).toHaveLength(0)
  return [...healthy.frames!.values()]
}

const measured = new Map<string, Promise<Allocated>>()

/** Each is the same however often it is measured, so once is enough. */
function allocated(scenario: ScenarioName, policy: PolicyName): Promise<Allocated> {
  const name = `${scenario} ${policy}`
  const result = measured.get(name) ?? measure(scenario, policy)
  measured.set(name, result)
  return result
}

/** Measured in a process of its own: what ran before in the same one would show in what is optimized. */
async function measure(scenario: ScenarioName, policy: PolicyName): Promise<Allocated> {
  // Options that somebody set for all Nodes would change what is measured.
  const env = { ...process.env, NODE_OPTIONS: '' }
  const { stdout } = await execute(process.execPath, [...FLAGS, PROGRAM, scenario, policy], { env })
  return JSON.parse(stdout) as Allocated
}

describe.each(POLICIES)('what a delivery costs under %s', policy => {
  it('500 small messages in one tick: joined once, one write for each of 1,000 clients', () => {
    const fanOut = ran('flood', policy)
    expect(fanOut.hub.getConnectionStats().delivered).toBe(500_000)
    expect(fanOut.healthy).toMatchObject({ writes: 1000, flushes: 1000 })
    // Each message is copied into its frame and each frame into the whole, and no more: 0.22 bytes for each delivery.
    expect(work(fanOut)).toEqual([{ encoded: 500, joined: 1, copiedBytes: 2 * 500 * (100 + HEAD) }])
    expect(writesOfFrames(fanOut)).toEqual([1000])
  })

  it('a small message at a time: one write for each delivery, all of one frame, which is not joined', () => {
    const fanOut = ran('paced', policy)
    expect(fanOut.hub.getConnectionStats().delivered).toBe(100_000)
    expect(fanOut.healthy).toMatchObject({ writes: 100_000, flushes: 100_000 })
    expect(work(fanOut)).toEqual([{ encoded: 100, joined: 0, copiedBytes: 100 * (100 + HEAD) }])
    expect(writesOfFrames(fanOut)).toEqual(Array(100).fill(1000))
  })

  it('large messages: every client gets the very frame that was encoded', () => {
    const fanOut = ran('large', policy)
    expect(fanOut.hub.getConnectionStats().delivered).toBe(10_000)
    expect(fanOut.healthy).toMatchObject({ writes: 10_000, flushes: 10_000 })
    expect(work(fanOut)).toEqual([{ encoded: 100, joined: 0, copiedBytes: 100 * (64 * 1024 + HEAD) }])
    expect(writesOfFrames(fanOut)).toEqual(Array(100).fill(100))
  })

  it('a large message between small ones: these are joined on either side of it, and it is not copied', () => {
    const fanOut = ran('mixed', policy)
    expect(fanOut.hub.getConnectionStats().delivered).toBe(50 * 6 * 100)
    expect(fanOut.healthy).toMatchObject({ writes: 50 * 3 * 100, flushes: 50 * 100 })
    const [small, large] = [100 + HEAD, 64 * 1024 + HEAD]
    expect(work(fanOut)).toEqual([{ encoded: 50 * 6, joined: 50 * 2, copiedBytes: 50 * (2 * 5 * small + large) }])
    expect(writesOfFrames(fanOut)).toEqual(Array(50 * 3).fill(100))
  })

  it('1,000 topics with 10 clients each: one write for each client', () => {
    const fanOut = ran('wide', policy)
    expect(fanOut.hub.getConnectionStats().delivered).toBe(10_000)
    expect(fanOut.healthy).toMatchObject({ writes: 10_000, flushes: 10_000 })
    expect(work(fanOut)).toEqual([{ encoded: 1000, joined: 0, copiedBytes: 1000 * (100 + HEAD) }])
    expect(fanOut.healthy.frames!.size).toBe(1000)
  })

  it('a client on 100 topics: all that they have for it in a tick is one corked sequence', () => {
    const fanOut = new FanOut(hubline, { ...SCENARIOS.crossed, clients: 1, ticks: 1 }, policy).remember().run()
    expect(fanOut.hub.getConnectionStats().delivered).toBe(100)
    // Not left corked, and only once uncorked: by the last write.
    expect(fanOut.healthy).toMatchObject({ writes: 100, flushes: 1, corked: 0 })
    expect(work(fanOut)).toEqual([{ encoded: 100, joined: 0, copiedBytes: 100 * (100 + HEAD) }])
  })

  it('two codecs: each encodes and joins for itself, once', () => {
    const fanOut = ran('codecs', policy)
    expect(fanOut.hub.getConnectionStats().delivered).toBe(500_000)
    expect(fanOut.healthy).toMatchObject({ writes: 1000, flushes: 1000 })
    const one = { encoded: 500, joined: 1, copiedBytes: 2 * 500 * (100 + HEAD) }
    expect(work(fanOut)).toEqual([one, one])
    expect(writesOfFrames(fanOut)).toEqual([500, 500])
  })

  it('a tenth of the clients never reads: the others are written to as before, and nothing is encoded for those', () => {
    const fanOut = ran('stalled', policy)
    expect(fanOut.hub.getConnectionStats()).toMatchObject({ clients: 1000, delivered: 90_000 + 100 })
    expect(fanOut.healthy).toMatchObject({ writes: 90_000, flushes: 90_000 })
    expect(fanOut.stalled).toMatchObject({ writes: 100, flushes: 100 })
    expect(work(fanOut)).toEqual([{ encoded: 100, joined: 0, copiedBytes: 100 * (100 + HEAD) }])
  })

  const bounds = Object.entries(HEAP_BOUNDS) as [keyof typeof HEAP_BOUNDS, number][]
  it.each(bounds)(
    '%s: allocates no more than %d bytes for each delivery',
    { timeout: PATIENCE_MS },
    async (name, most) => {
      const { heap, offHeap } = await allocated(name, policy)
      expect(heap).toBeLessThan(most)
      // Something was measured: a message itself is not for nothing.
      expect(heap).toBeGreaterThan(0)
      // Memory outside of the heap is for frames, and the codecs made all of it.
      const { deliveries, codecs } = ran(name, policy)
      expect(offHeap * deliveries).toBeCloseTo(codecs[0]!.copiedBytes)
    },
  )

  it('a tenth of the clients never reads: a delivery to the others allocates no more', {
    timeout: PATIENCE_MS,
  }, async () => {
    const paced = await allocated('paced', policy)
    const stalled = await allocated('stalled', policy)
    expect(stalled.heap).toBeLessThan(paced.heap + RISE)
  })
})
