import { beforeEach, describe, expect, test } from 'vitest'
import type { DeliveryPolicy } from '../../../src/core/policy.ts'
import type { Scheduler } from '../../../src/core/scheduler.ts'
import { createHub, type Hub } from '../../../src/hub.ts'
import { openTopics } from '../../../src/open-topics.ts'
import { bestEffort } from '../../../src/policies/best-effort.ts'
import { buffered } from '../../../src/policies/buffered.ts'
import { dropSlow } from '../../../src/policies/drop-slow.ts'
import { latest } from '../../../src/policies/latest.ts'
import { rateLimit } from '../../../src/policies/rate-limit.ts'
import type { Publish } from '../../../src/server/demo/pace.ts'
import { SimulatedClient } from '../../../src/server/demo/simulated-client.ts'
import { Simulation } from '../../../src/server/demo/simulation.ts'
import { demoTopics } from '../../../src/server/demo/topics.ts'
import { ManualScheduler } from '../../../src/testing/manual-scheduler.ts'

const TOPIC = 'demo/camera'
const FRAME_BYTES = 20_000
/** Ten frames a second. */
const SOURCE_RATE = 10 * FRAME_BYTES
const READ_MS = 20

describe('a simulated client', () => {
  let scheduler: ManualScheduler
  let hub: Hub
  let speed: number

  beforeEach(() => {
    scheduler = new ManualScheduler()
    hub = createHub({ scheduler, topics: openTopics({}, demoTopics) })
    speed = 1_000_000
  })

  function source(): Disposable {
    return scheduler.every(100, () => {
      if (hub.getTopic(TOPIC) !== null) hub.routeData(TOPIC, new Uint8Array(FRAME_BYTES))
    })
  }

  function start(policy: DeliveryPolicy): SimulatedClient {
    const client = new SimulatedClient({ hub, topic: TOPIC, policy, now: scheduler.now() })
    scheduler.every(READ_MS, () => client.advance(scheduler.now(), (speed * READ_MS) / 1000))
    source()
    return client
  }

  function figures(client: SimulatedClient) {
    return client.figures(FRAME_BYTES)
  }

  /** What was shown every 100 ms over so many seconds. */
  function watch(client: SimulatedClient, seconds: number) {
    return Array.from({ length: seconds * 10 }, () => {
      scheduler.advance(100)
      return figures(client)
    })
  }

  test('that is fast enough gets everything at once, under every policy but a rate', () => {
    for (const policy of [bestEffort(), latest(), buffered(), dropSlow()]) {
      scheduler = new ManualScheduler()
      hub = createHub({ scheduler, topics: openTopics({}, demoTopics) })
      const client = start(policy)
      scheduler.advance(10_050)
      expect(figures(client), policy.name).toMatchObject({
        state: 'connected',
        received: 100,
        receivedPerSecond: 10,
        dropped: 0,
        gaps: { told: 0, messages: {} },
        waiting: 0,
        disconnects: 0,
        closedFor: null,
      })
      expect(figures(client).delayMs).toBeLessThanOrEqual(40)
    }
  })

  test('best-effort: what comes while it is busy is lost and told, and what it reads stays fresh', () => {
    const client = start(bestEffort())
    speed = SOURCE_RATE / 4
    const seen = watch(client, 20)
    const last = seen.at(-1)!
    expect(last.disconnects).toBe(0)
    expect(last.dropped).toBeGreaterThan(100)
    expect(last.gaps.messages.behind).toBeGreaterThan(100)
    expect(Object.keys(last.gaps.messages)).toEqual(['behind'])
    expect(Math.max(...seen.map(({ delayMs }) => delayMs ?? 0))).toBeLessThan(1200)
    expect(last.waiting).toBe(0)
  })

  test('latest: skips to the newest, never more than one message waits', () => {
    const client = start(latest())
    speed = SOURCE_RATE / 4
    const seen = watch(client, 20)
    const last = seen.at(-1)!
    expect(last.disconnects).toBe(0)
    expect(last.gaps.messages.conflated).toBeGreaterThan(100)
    expect(last.receivedPerSecond).toBeCloseTo(2.5, 0)
    expect(Math.max(...seen.map(({ waiting }) => waiting))).toBe(1)
    expect(Math.max(...seen.map(({ delayMs }) => delayMs ?? 0))).toBeLessThan(1500)
  })

  test('buffered: the delay grows until 1 MiB waits; then it is disconnected as slow, and comes back after 2 s', () => {
    const client = start(buffered())
    speed = SOURCE_RATE / 4
    const seen = watch(client, 20)
    const end = seen.findIndex(({ state }) => state === 'disconnected')
    const delays = seen.slice(0, end).map(({ delayMs }) => delayMs ?? 0)
    expect(delays.at(-1)).toBeGreaterThan(3000)
    expect(delays[Math.floor(end / 2)]).toBeLessThan(delays.at(-1)!)
    const queued = Math.max(...seen.map(({ queuedBytes }) => queuedBytes))
    expect(queued).toBeGreaterThan(900_000)
    expect(queued).toBeLessThan(1024 * 1024 + 2 * FRAME_BYTES)
    expect(seen[end]).toMatchObject({ closedFor: 'slow', disconnects: 1, delayMs: null, waiting: 0 })
    const back = seen.findIndex(({ state }, i) => i > end && state === 'connected')
    expect(back - end).toBe(20)
    expect(seen[end - 1]!.dropped).toBe(0)
    expect(seen[end]!.dropped).toBeGreaterThan(40)
    expect(seen[end]!.lostOnDisconnect).toBe(seen[end]!.dropped)
    expect(seen[end]!.gaps.told).toBe(0)
  })

  test('buffered, drop-oldest: the delay stops growing, the oldest goes', () => {
    const client = start(buffered({ bytes: 64 * 1024, overflow: 'drop-oldest' }))
    speed = SOURCE_RATE / 4
    const seen = watch(client, 20)
    const last = seen.at(-1)!
    expect(last.disconnects).toBe(0)
    expect(last.gaps.messages.overflow).toBeGreaterThan(100)
    expect(last.delayMs).toBeGreaterThan(1000)
    expect(Math.max(...seen.map(({ delayMs }) => delayMs ?? 0))).toBeLessThan(2500)
    expect(Math.max(...seen.map(({ queuedBytes }) => queuedBytes))).toBeLessThan(120_000)
  })

  test('drop-slow: is gone within half a second of falling behind, again and again', () => {
    const client = start(dropSlow({ timeoutMs: 250 }))
    watch(client, 2)
    speed = SOURCE_RATE / 4
    const seen = watch(client, 10)
    const gone = seen.findIndex(({ state }) => state === 'disconnected')
    expect(gone).toBeLessThan(10)
    expect(seen[gone]!.closedFor).toBe('slow')
    expect(seen.at(-1)!.disconnects).toBeGreaterThan(2)
    expect(Math.max(...seen.map(({ delayMs }) => delayMs ?? 0))).toBeLessThan(1000)
  })

  test('rate-limit over latest: five a second however fast it reads, each of them fresh', () => {
    const client = start(rateLimit({ messages: 5 }, latest()))
    const last = watch(client, 20).at(-1)!
    expect(last.receivedPerSecond).toBeCloseTo(5, 0)
    expect(last.gaps.messages.conflated).toBeGreaterThan(80)
    expect(last.delayMs).toBeLessThan(250)
    expect(last.disconnects).toBe(0)
  })

  test('that reads nothing at all looks ever older, not fresh, and costs a window and one message', () => {
    const client = start(latest())
    watch(client, 1)
    speed = 0
    const seen = watch(client, 10)
    expect(seen.at(-1)!.delayMs).toBeGreaterThan(9000)
    expect(seen.at(-1)!.queuedBytes).toBeLessThan(16 * 1024 + 3 * FRAME_BYTES)
  })

  test('is fresh again once it reads fast again', () => {
    const client = start(buffered({ bytes: 64 * 1024, overflow: 'drop-oldest' }))
    speed = SOURCE_RATE / 10
    watch(client, 10)
    speed = 1_000_000
    expect(watch(client, 5).at(-1)).toMatchObject({ waiting: 0, receivedPerSecond: 10 })
  })

  test('accounts for every message it was subscribed to', () => {
    const client = start(buffered())
    speed = SOURCE_RATE / 4
    scheduler.advance(2000)
    hub.unregisterClient('simulated-buffered-close', 'peer')
    const published = hub.getTopic(TOPIC)!.published
    const { received, dropped } = figures(client)
    expect(received).toBeGreaterThan(0)
    expect(received + dropped).toBe(published)
  })

  test('does not come back to a hub that is closed', async () => {
    const client = start(latest())
    scheduler.advance(500)
    await hub.close()
    for (let i = 0; i < 300; i++) client.advance(scheduler.now() + i * 20, 1000)
    expect(figures(client)).toMatchObject({ state: 'disconnected', closedFor: 'shutdown' })
  })

  test('tries again later where the hub is full', () => {
    hub = createHub({ scheduler, topics: openTopics({}, demoTopics), limits: { maxClients: 0 } })
    const client = start(latest())
    expect(figures(client)).toMatchObject({ state: 'disconnected', disconnects: 0 })
    scheduler.advance(5000)
    expect(figures(client)).toMatchObject({ state: 'disconnected', received: 0 })
  })

  test('reads whole bytes: a message is never left a fraction of a byte short until the next one comes', () => {
    // Like a real clock, not in whole milliseconds.
    const clock: Scheduler = {
      now: () => scheduler.now() * 1.000_37,
      defer: run => scheduler.defer(run),
      after: (ms, run) => scheduler.after(ms, run),
      every: (ms, run) => scheduler.every(ms, run),
    }
    hub = createHub({ scheduler: clock, topics: openTopics({}, demoTopics) })
    const simulation = new Simulation({
      ...{ hub, scheduler: clock, topic: TOPIC, stateTopic: 'demo/simulated', publish: () => {} },
    })
    source()
    for (const speed of [150_000, 1_000_000, 100_000, 333_333, 50_000, 777_777]) {
      simulation.setSpeed(speed)
      scheduler.advance(8000)
      if (speed < SOURCE_RATE) continue
      const delays = simulation.state().clients.map(({ delayMs }) => delayMs)
      expect(Math.max(...delays.slice(0, 5).map(Number)), `${delays} at ${speed}`).toBeLessThan(100)
    }
  })

  test('the six of the simulation share one speed and cost bounded memory at 0 bytes a second', () => {
    const published: { topic: string; state: { clients: { queuedBytes: number; policy: object }[] } }[] = []
    const publish: Publish = (topic, data) => {
      published.push({ topic, state: JSON.parse(new TextDecoder().decode(data)) })
    }
    const simulation = new Simulation({ hub, scheduler, topic: TOPIC, stateTopic: 'demo/simulated', publish })
    scheduler.every(100, () => {
      simulation.published(FRAME_BYTES)
      hub.routeData(TOPIC, new Uint8Array(FRAME_BYTES))
    })
    scheduler.advance(5000)
    expect(simulation.state().source).toEqual({ bytesPerSecond: SOURCE_RATE, messagesPerSecond: 10 })
    expect(simulation.state().clients.map(({ policy }) => policy.name)).toEqual([
      'best-effort',
      'latest',
      'buffered',
      'buffered',
      'drop-slow',
      'rate-limit',
    ])
    simulation.setSpeed(0)
    scheduler.advance(60_000)
    expect(published.length).toBe(326)
    expect(new Set(published.map(({ topic }) => topic))).toEqual(new Set(['demo/simulated']))
    const held = published.flatMap(({ state }) => state.clients.map(({ queuedBytes }) => queuedBytes))
    expect(Math.max(...held)).toBeLessThan(1.1 * 1024 * 1024)
    expect(hub.getTopic(TOPIC)!.retained.bytes).toBeLessThan(1.2 * 1024 * 1024)
    simulation.stop()
    expect([...hub.getActiveClients()]).toEqual([])
  })
})
