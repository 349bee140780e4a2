import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'

const PROGRAM = join(import.meta.dirname, 'held-memory.mjs')
const execute = promisify(execFile)
const MIB = 1024 * 1024

interface Point {
  readonly held: number
  readonly reported: number
}

interface Result {
  readonly policy: unknown
  readonly points: readonly Point[]
  readonly behind: number
  readonly delivered: number
  /** When all clients have gone. */
  readonly histories: Point
  /** When the histories are past their age as well. */
  readonly end: Point
}

const env = { ...process.env, NODE_OPTIONS: '' }
/** The engine's own memory must not change meanwhile: it compiles before the first measurement, and not beside it. */
const FLAGS = ['--expose-gc', '--single-threaded', '--no-flush-bytecode', '--no-lazy-feedback-allocation']
const { stdout } = await execute(process.execPath, [...FLAGS, PROGRAM], { env, maxBuffer: MIB })
const { results, small, scenes } = JSON.parse(stdout) as {
  results: Result[]
  small: (Point & { readonly policy: unknown })[]
  scenes: (Point & { readonly name: string })[]
}

/**
 * What the hub says that it keeps (`keptBytes`, which `maxRetainedBytes` acts on) is what the process holds, after churn with payloads of
 * 100 bytes to 200 KiB, slow and stalled clients of three codecs, replays, confirmations, direct messages, and topics without history.
 */
describe('what is reported is what is held', () => {
  it.each(results.map(result => [JSON.stringify(result.policy), result] as const))('%s', (_, result) => {
    expect(result.delivered).toBeGreaterThan(20)
    for (const { held, reported } of [...result.points, result.histories, result.end]) {
      expect(Math.abs(held - reported)).toBeLessThan(held * 0.1 + 4 * MIB)
      // The bound that is promised is the one above. With these sizes it is met far better, and a leak of one slice a topic shows.
      expect(Math.abs(held - reported)).toBeLessThan(held * 0.03 + MIB / 2)
    }
    for (const { reported } of result.points) expect(reported).toBeGreaterThan(4 * MIB)
    expect(result.end.reported).toBe(0)
  })

  it('some are behind, where a policy lets them be', () => {
    const behind = results.filter(result => result.behind > 0).length
    expect(behind).toBeGreaterThan(results.length / 2)
  })
})

/**
 * The same with payloads of 1 to 50 bytes, with keys, publishers and slices, where objects take most of the memory: held is what heap and
 * buffers grow by, beyond the same clients and topics without messages.
 */
describe('what is reported is what is held, of small messages', () => {
  it.each(small.map(point => [JSON.stringify(point.policy), point] as const))('%s', (_, { held, reported }) => {
    expect(reported).toBeGreaterThan(2 * MIB)
    expect(Math.abs(held - reported)).toBeLessThan(held * 0.1 + MIB / 4)
  })
})

/** Objects around payloads, keys, and buffers of which a payload is a part, count as well: held is all that the heap and buffers grow by. */
describe('many small messages', () => {
  it.each(scenes.map(scene => [scene.name, scene] as const))('%s', (_, { held, reported }) => {
    expect(reported).toBeGreaterThan(100_000)
    expect(Math.abs(held - reported)).toBeLessThan(held * 0.1 + MIB / 4)
  })
})
