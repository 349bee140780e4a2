import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { RELIEF_WORK } from '../../src/core/budget.ts'
import { Largest } from '../../src/core/largest.ts'
import { TIDY_TOPICS } from '../../src/core/membership.ts'
import { SUMMED_PER_STEP } from '../../src/core/snapshot.ts'
import { Topic } from '../../src/core/topic.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { CLOSES_PER_TURN } from '../../src/sending/shutdown.ts'
import { ENDS_PER_TURN, SessionWatch } from '../../src/sessions/session-watch.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { topicRules } from '../../src/topics/registry.ts'
import { expectPositionsAlone } from '../positions-alone.ts'
import { runs } from '../property-runs.ts'
import { held } from './held.ts'

/** No turn of the event loop walks all topics or clients: what is counted is work, not time. */

const TOPICS = 40_000
const MESSAGE = 100
const HELD = held(MESSAGE)

afterEach(() => vi.restoreAllMocks())

/** Runs turns until nothing is left to do. Answers how often `done` was called in each. */
function workOfTurns(
  scheduler: ManualScheduler,
  done: { readonly mock: { readonly calls: readonly unknown[] } },
): number[] {
  const turns: number[] = []
  let idle = 0
  while (idle < 3) {
    const before = done.mock.calls.length
    scheduler.turn()
    const work = done.mock.calls.length - before
    idle = work === 0 ? idle + 1 : 0
    turns.push(work)
  }
  return turns.slice(0, -3)
}

function full(scheduler: ManualScheduler, extra: Parameters<typeof openTopics>[0] = {}): Hub {
  const topics = openTopics({ history: { messages: 1000, bytes: 256 * 2 ** 20, ageMs: 60_000 }, ...extra })
  const hub = createHub({ scheduler, topics, limits: { maxRetainedBytes: TOPICS * HELD } })
  for (let i = 0; i < TOPICS; i++) hub.routeData(`t/${i}`, new Uint8Array(MESSAGE))
  scheduler.settle()
  expect(hub.getConnectionStats().keptBytes).toBe(TOPICS * HELD)
  return hub
}

describe(`relief with ${TOPICS} topics at the limit`, () => {
  it('looks at so many in a turn, and frees the largest first, until an eighth is free', () => {
    const scheduler = new ManualScheduler()
    const hub = full(scheduler)
    const looks = vi.spyOn(Topic.prototype, 'retainedBytes', 'get')
    const freed = vi.spyOn(Topic.prototype, 'forgetHistory')
    hub.routeData('t/39000', new Uint8Array(2 * MESSAGE))
    hub.routeData('t/100', new Uint8Array(MESSAGE))
    const turns = workOfTurns(scheduler, looks)
    expect(Math.max(...turns)).toBeLessThanOrEqual(RELIEF_WORK)
    expect(turns.length).toBeGreaterThan(TOPICS / RELIEF_WORK)
    const names = freed.mock.contexts.map(topic => (topic as Topic).name)
    expect(names.slice(0, 4)).toEqual(['t/39000', 't/100', 't/0', 't/1'])
    const { keptBytes } = hub.getConnectionStats()
    expect(keptBytes).toBeLessThanOrEqual((TOPICS * HELD * 7) / 8)
    // And no more than that.
    expect(keptBytes).toBeGreaterThan((TOPICS * HELD * 7) / 8 - 4 * HELD)
  })

  it('messages are freed so many in a turn, where topics have many', () => {
    const scheduler = new ManualScheduler()
    const MESSAGES = 200_000
    const topics = openTopics({ history: { messages: 1000, bytes: 256 * 2 ** 20, ageMs: 60_000 } })
    const hub = createHub({ scheduler, topics, limits: { maxRetainedBytes: MESSAGES * held(10) } })
    for (let i = 0; i < MESSAGES; i++) hub.routeData(`t/${i % 400}`, new Uint8Array(10))
    scheduler.settle()
    const freed = vi.spyOn(Topic.prototype, 'forgetHistory')
    const maxRetainedBytes = 10_000 * held(10)
    hub.setLimits({ maxRetainedBytes })
    hub.routeData('t/0', new Uint8Array(10))
    const turns = workOfTurns(scheduler, freed)
    // 500 messages a topic.
    expect(Math.max(...turns)).toBeLessThanOrEqual(RELIEF_WORK / 500 + 1)
    expect(hub.getConnectionStats().keptBytes).toBeLessThanOrEqual((maxRetainedBytes * 7) / 8)
  })

  it('clients with something waiting go after the histories, the largest first, some in a turn; one with little left stays', () => {
    const scheduler = new ManualScheduler()
    const none = { messages: 0, bytes: 0, ageMs: 0 }
    const limits = { maxRetainedBytes: 1_000_000 }
    const hub = createHub({ scheduler, topics: openTopics({ history: none }), policy: buffered(), limits })
    const ended: string[] = []
    hub.events.on('unregister', ({ id }) => void ended.push(id))
    const connections = Array.from({ length: 400 }, (_, i) => {
      const connection = new FakeConnection({ window: 0 })
      connection.client = hub.registerClient(`c${i}`, connection)
      hub.subscribe(`c${i}`, `t/${i}`)
      hub.routeData(`t/${i}`, new Uint8Array(1))
      return connection
    })
    scheduler.settle()
    for (let i = 0; i < 400; i++) hub.routeData(`t/${i}`, new Uint8Array(1000 + i))
    scheduler.settle()
    expect(ended).toEqual([])
    hub.setLimits({ maxRetainedBytes: 100_000 })
    hub.routeData('t/0', new Uint8Array(1))
    // The topics are looked at first, and have no history.
    for (let turns = 0; turns < 10 && ended.length === 0; turns++) scheduler.turn()
    const first = ended.length
    expect(first).toBeGreaterThan(0)
    expect(first).toBeLessThan(50)
    expect(ended).toEqual(Array.from({ length: first }, (_, i) => `c${399 - i}`))
    // This one would have been the next.
    const next = connections[399 - first]!
    hub.unsubscribe(`c${399 - first}`, `t/${399 - first}`)
    scheduler.settle()
    expect(next.closedFor).toBeUndefined()
    expect(hub.getConnectionStats().keptBytes).toBeLessThanOrEqual(87_500)
    expect(ended.length).toBeLessThan(399)
  })

  it('clients go as fast as messages come in', () => {
    const [clients, topics, limit] = [4000, 400, 16_000_000]
    const scheduler = new ManualScheduler()
    const limits = { maxRetainedBytes: limit }
    const hub = createHub({ scheduler, limits, policy: buffered({ bytes: 1e6 }) })
    let ended = 0
    for (let i = 0; i < clients; i++) {
      const connection = new FakeConnection({ window: 0 })
      connection.client = hub.registerClient(`c${i}`, connection)
      hub.subscribe(`c${i}`, `t/${i % topics}`)
    }
    hub.events.on('unregister', () => void ended++)
    let most = 0
    for (let turn = 0; turn < 1000 && ended < clients; turn++) {
      for (let i = 0; i < 16; i++) hub.routeData(`t/${(turn * 16 + i) % topics}`, new Uint8Array(8000))
      scheduler.turn()
      most = Math.max(most, hub.getConnectionStats().keptBytes)
    }
    expect(ended).toBeGreaterThan(1000)
    expect(most).toBeLessThan(1.5 * limit)
  })

  it('nothing is looked at below the limit', () => {
    const scheduler = new ManualScheduler()
    const hub = full(scheduler)
    const looks = vi.spyOn(Topic.prototype, 'retainedBytes', 'get')
    hub.setLimits({ maxRetainedBytes: 2 * TOPICS * HELD })
    hub.routeData('t/1', new Uint8Array(MESSAGE))
    scheduler.settle()
    expect(looks).not.toHaveBeenCalled()
  })
})

describe(`housekeeping with ${TOPICS} topics`, () => {
  it('looks at so many in a turn, and at all of them', () => {
    const scheduler = new ManualScheduler()
    const hub = full(scheduler, { history: { messages: 1000, bytes: 256 * 2 ** 20, ageMs: 500 } })
    const trims = vi.spyOn(Topic.prototype, 'trim')
    scheduler.elapse(1000)
    // The timer fires, and nothing that it defers.
    scheduler.sweepOnly(1)
    expect(trims.mock.calls.length).toBeLessThanOrEqual(TIDY_TOPICS)
    const turns = workOfTurns(scheduler, trims)
    expect(Math.max(...turns)).toBeLessThanOrEqual(TIDY_TOPICS)
    expectPositionsAlone(hub)
  })

  it('a topic more than there may be makes room for itself, and looks at so many', () => {
    const scheduler = new ManualScheduler()
    const hub = full(scheduler)
    hub.setLimits({ maxTopics: TOPICS })
    const trims = vi.spyOn(Topic.prototype, 'trim')
    expect(() => hub.routeData('new', new Uint8Array(1))).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }))
    expect(trims.mock.calls.length).toBeLessThanOrEqual(TIDY_TOPICS)
    scheduler.elapse(61_000)
    hub.routeData('new', new Uint8Array(1))
    expect(trims.mock.calls.length).toBeLessThanOrEqual(TIDY_TOPICS + 1)
  })
})

describe('the largest of many', () => {
  it('comes first, whatever the order in which they came and however they shrink meanwhile', () => {
    const thing = fc.record({ size: fc.nat({ max: 20 }), name: fc.string({ minLength: 1, maxLength: 3 }) })
    fc.assert(
      fc.property(fc.array(thing, { maxLength: 60 }), fc.array(fc.nat({ max: 59 })), (things, shrinks) => {
        const largest = new Largest<(typeof things)[number]>(
          ({ size }) => size,
          (a, b) => a.name < b.name,
        )
        for (const each of things) largest.add(each)
        let left = things.filter(({ size }) => size > 0)
        for (;;) {
          const shrunk = left[shrinks.pop() ?? -1]
          if (shrunk) shrunk.size >>= 1
          left = left.filter(({ size }) => size > 0)
          const taken = largest.take()
          const [expected] = left.sort((a, b) => b.size - a.size || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
          expect([taken?.size, taken?.name]).toEqual([expected?.size, expected?.name])
          if (taken === undefined) break
          left = left.filter(each => each !== taken)
        }
      }),
      runs(100),
    )
  })
})

describe('clients that end together', () => {
  const CLIENTS = 1000

  function joined(scheduler: ManualScheduler, expiresAt?: number): { hub: Hub; ended: string[] } {
    const hub = createHub({ scheduler })
    for (let i = 0; i < CLIENTS; i++) {
      const connection = new FakeConnection()
      connection.client = hub.registerClient(`c${i}`, connection, { session: { user: `u${i}`, expiresAt } })
      hub.subscribe(`c${i}`, 'news')
    }
    scheduler.settle()
    const ended: string[] = []
    hub.events.on('unregister', ({ id, reason }) => void ended.push(`${id} ${reason}`))
    return { hub, ended }
  }

  /** Ends in each turn, with the timers' own part first. */
  function endsOfTurns(scheduler: ManualScheduler, ended: readonly string[], ms: number): number[] {
    scheduler.sweepOnly(ms)
    const turns = [ended.length]
    for (let idle = 0; idle < 3; ) {
      const before = ended.length
      scheduler.turn()
      turns.push(ended.length - before)
      idle = ended.length === before ? idle + 1 : 0
    }
    return turns
  }

  function watchOf(hub: Hub, scheduler: ManualScheduler, revoked?: () => boolean): SessionWatch {
    // The watch of the hub goes by the real wall clock.
    hub.sessionWatch[Symbol.dispose]()
    return new SessionWatch({ hub, sessions: revoked ? { revoked } : {}, scheduler, now: () => scheduler.now() })
  }

  it('as expired: so many in a turn, but for one whose session is renewed between two turns', () => {
    const scheduler = new ManualScheduler()
    const hub = createHub({ scheduler })
    watchOf(hub, scheduler)
    const ended: string[] = []
    hub.events.on('unregister', ({ id, reason }) => void ended.push(`${id} ${reason}`))
    for (let i = 0; i < CLIENTS; i++) {
      const connection = new FakeConnection()
      connection.client = hub.registerClient(`c${i}`, connection, { session: { user: `u${i}`, expiresAt: 2000 } })
    }
    scheduler.advance(1900)
    expect(ended).toEqual([])
    scheduler.elapse(100)
    // The timer fires, and nothing that it defers.
    scheduler.sweepOnly(1)
    expect(ended.length).toBe(ENDS_PER_TURN)
    hub.setSession('c999', { user: 'u999', expiresAt: 60_000 })
    hub.unregisterClient('c998', 'ended')
    const turns = endsOfTurns(scheduler, ended, 0).slice(1)
    expect(Math.max(...turns)).toBeLessThanOrEqual(ENDS_PER_TURN)
    expect(ended.filter(each => each.endsWith(' expired'))).toHaveLength(CLIENTS - 2)
    expect([...hub.getActiveClients()].map(({ id }) => id)).toEqual(['c999'])
  })

  it('as revoked: so many in a turn, all of them within a second', () => {
    const scheduler = new ManualScheduler()
    let isRevoked = false
    const hub = createHub({ scheduler })
    watchOf(hub, scheduler, () => isRevoked)
    const ended: string[] = []
    hub.events.on('unregister', ({ id, reason }) => void ended.push(`${id} ${reason}`))
    for (let i = 0; i < CLIENTS; i++) {
      const connection = new FakeConnection()
      connection.client = hub.registerClient(`c${i}`, connection, { session: { user: `u${i}` } })
    }
    scheduler.advance(2000)
    isRevoked = true
    const turns = endsOfTurns(scheduler, ended, 251)
    expect(Math.max(...turns)).toBeGreaterThan(0)
    expect(Math.max(...turns)).toBeLessThanOrEqual(ENDS_PER_TURN)
    scheduler.advance(750)
    expect(ended).toHaveLength(CLIENTS)
    expect(new Set(ended.map(each => each.split(' ')[1]))).toEqual(new Set(['revoked']))
  })

  it('at shutdown: so many in a turn, each once, and who leaves meanwhile is not counted', async () => {
    const scheduler = new ManualScheduler()
    const { hub, ended } = joined(scheduler)
    const shutdown = hub.shutdown()
    const turns: number[] = []
    let report: Awaited<typeof shutdown> | undefined
    void shutdown.then(done => (report = done))
    for (let left = true; report === undefined; ) {
      const before = ended.length
      scheduler.turn()
      await new Promise(resolve => setImmediate(resolve))
      turns.push(ended.length - before)
      if (left && ended.length > 0) hub.unregisterClient('c999')
      left &&= ended.length === 0
    }
    expect(report.clients.closed).toBe(CLIENTS - 1)
    expect(Math.max(...turns)).toBeLessThanOrEqual(CLOSES_PER_TURN + 1)
    expect(new Set(ended).size).toBe(CLIENTS)
    expect(ended.filter(each => each.endsWith(' shutdown'))).toHaveLength(CLIENTS - 1)
  })
})

describe('figures that are counted in turns', () => {
  it('are those of one look where nothing changes; who stays is counted once where others come and go', async () => {
    const scheduler = new ManualScheduler()
    const hub = createHub({ scheduler })
    const join = (id: string): void => {
      const connection = new FakeConnection({ window: 0 })
      connection.client = hub.registerClient(id, connection)
      hub.subscribe(id, `t/${id}`)
    }
    for (let i = 0; i < 3 * SUMMED_PER_STEP; i++) join(`c${i}`)
    scheduler.settle()
    const at = hub.getConnectionStats()
    let turns = 0
    const counted = async (between: () => void) => {
      let stats: Awaited<ReturnType<Hub['countConnectionStats']>> | undefined
      void hub.countConnectionStats().then(done => (stats = done))
      for (turns = 0; ; turns++) {
        await new Promise(resolve => setImmediate(resolve))
        if (stats !== undefined) return stats
        between()
        scheduler.turn()
      }
    }
    expect(await counted(() => undefined)).toEqual(at)
    expect(turns).toBeGreaterThan(6)
    const stats = await counted(() => {
      if (turns > 0) return
      hub.unregisterClient('c1')
      join('new')
    })
    expect(stats.clients).toBe(at.clients)
    expect(stats.subscriptions).toBe(at.subscriptions)
  })
})

describe('a rule that changes', () => {
  it('is asked for of topics that it matches, and of no other', () => {
    const scheduler = new ManualScheduler()
    const rules = topicRules()
    const hub = createHub({ scheduler, topics: rules })
    rules.onChange(pattern => hub.refreshTopics(pattern))
    for (const name of ['a/1', 'a/2', 'b', 'b/1']) hub.routeData(name, new Uint8Array(1))
    const asked = vi.spyOn(rules, 'resolve')
    const names = () => asked.mock.calls.splice(0).map(([name]) => name)
    rules.set('b', { presence: true })
    expect(names()).toEqual(['b'])
    expect(hub.getTopic('b')?.presence).toBe(true)
    rules.set('a/*', { presence: true })
    expect(names()).toEqual(['a/1', 'a/2'])
    expect(hub.getTopic('a/2')?.presence).toBe(true)
    rules.set('nobody', {})
    expect(names()).toEqual([])
    rules.delete('a/*')
    expect(hub.getTopic('a/2')?.presence).toBe(false)
    hub.refreshTopics()
    expect(names()).toEqual(['a/1', 'a/2', 'a/1', 'a/2', 'b', 'b/1'])
  })
})

describe('clients that are slow at the same message', () => {
  it('end in several turns, each once, and get nothing more', () => {
    const CLIENTS = 100
    const scheduler = new ManualScheduler()
    const policy = { ...bestEffort(), name: 'strict', admit: () => (strict ? ('close' as const) : ('send' as const)) }
    let strict = false
    const hub = createHub({ scheduler, policy })
    const closed = vi.fn(() => scheduler.elapse(1))
    const connections = Array.from({ length: CLIENTS }, (_, i) => {
      const connection = new FakeConnection()
      connection.client = hub.registerClient(`c${i}`, connection)
      hub.subscribe(`c${i}`, 't')
      vi.spyOn(connection, 'close').mockImplementation(closed)
      return connection
    })
    strict = true
    hub.routeData('t', new Uint8Array(1))
    scheduler.turn()
    strict = false
    hub.routeData('t', new Uint8Array(1))
    const turns = workOfTurns(scheduler, closed)
    expect(Math.max(...turns)).toBeLessThanOrEqual(6)
    expect(closed).toHaveBeenCalledTimes(CLIENTS)
    expect(connections.flatMap(connection => connection.seqs('t'))).toEqual([])
    // Each of the first message, and of the second those that were still there.
    const dropped = CLIENTS + (CLIENTS - 5)
    expect(hub.getConnectionStats()).toMatchObject({ clients: 0, dropped, closes: { slow: CLIENTS } })
  })
})
