import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { RELIEF_WORK } from '../../src/core/budget.ts'
import { Largest } from '../../src/core/largest.ts'
import { TIDY_TOPICS } from '../../src/core/membership.ts'
import { Topic } from '../../src/core/topic.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
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
  const topics = openTopics({ history: { messages: 1000, bytes: 1e9, ageMs: 60_000 }, ...extra })
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
    const topics = openTopics({ history: { messages: 1000, bytes: 1e9, ageMs: 60_000 } })
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
    const hub = full(scheduler, { history: { messages: 1000, bytes: 1e9, ageMs: 500 } })
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
