import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { HubError } from '../../src/core/errors.ts'
import type { HubLimits } from '../../src/core/limits.ts'
import type { DeliveryPolicy } from '../../src/core/policy.ts'
import type { Priority } from '../../src/core/topics.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { dropSlow } from '../../src/policies/drop-slow.ts'
import { latest } from '../../src/policies/latest.ts'
import { priority } from '../../src/policies/priority.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { expectPositionsAlone } from '../positions-alone.ts'
import { runs } from '../property-runs.ts'

const POLICIES: readonly DeliveryPolicy[] = [
  bestEffort(),
  latest(),
  buffered(),
  buffered({ bytes: 40, overflow: 'drop-oldest' }),
  buffered({ messages: 3, overflow: 'drop-newest' }),
  buffered({ bytes: 60, overflow: 'close' }),
  dropSlow({ timeoutMs: 100 }),
  dropSlow({ timeoutMs: 100, measure: 'wire', floorRate: 1000 }),
  rateLimit({ messages: 20, burst: 0.1 }, bestEffort()),
  rateLimit({ messages: 50, burst: 0.2 }, latest()),
  rateLimit({ messages: 30, burst: 0.1 }, buffered({ messages: 4, overflow: 'drop-newest' })),
  rateLimit({ messages: 50, burst: 0.2 }, buffered({ messages: 5, overflow: 'drop-oldest' })),
  priority({ socketBytes: 60 }),
  priority({ socketBytes: 60 }, bestEffort()),
  priority({ socketBytes: 200 }, latest()),
  priority({ socketBytes: 60 }, buffered({ messages: 3, overflow: 'drop-newest' })),
]
const TOPICS = ['a', 'b', 'c/d']
const CLIENTS = ['c0', 'c1', 'c2']
const PATTERNS = ['**', '*', 'c/*', 'a']
const PRIORITIES = ['high', 'normal', 'bulk'] as const

const index = (length: number) => fc.nat({ max: length - 1 })
const basic = [
  fc.record({
    do: fc.constant('publish' as const),
    topic: index(TOPICS.length),
    key: fc.option(fc.constantFrom('k', 'l'), { nil: undefined }),
    size: fc.constantFrom(1, 10, 30),
  }),
  fc.record({
    do: fc.constant('subscribe' as const),
    client: index(CLIENTS.length),
    topic: index(TOPICS.length),
    resume: fc.boolean(),
  }),
  fc.record({ do: fc.constant('unsubscribe' as const), client: index(CLIENTS.length), topic: index(TOPICS.length) }),
  fc.record({ do: fc.constant('policy' as const), topic: index(TOPICS.length), policy: index(POLICIES.length) }),
  fc.record({
    do: fc.constant('class' as const),
    client: index(CLIENTS.length),
    policy: fc.option(index(POLICIES.length), { nil: undefined }),
  }),
  fc.record({
    do: fc.constant('order' as const),
    client: index(CLIENTS.length),
    pattern: index(PATTERNS.length),
    policy: fc.option(index(POLICIES.length), { nil: undefined }),
  }),
  fc.record({ do: fc.constant('cancel' as const), client: index(CLIENTS.length), pattern: index(PATTERNS.length) }),
  fc.record({
    do: fc.constant('priority' as const),
    topic: index(TOPICS.length),
    priority: index(PRIORITIES.length),
  }),
  fc.record({ do: fc.constant('read' as const), client: index(CLIENTS.length), bytes: fc.constantFrom(50, 200, 5000) }),
  fc.record({ do: fc.constant('gone' as const), client: index(CLIENTS.length) }),
  fc.record({ do: fc.constant('turn' as const) }),
  fc.record({ do: fc.constant('advance' as const), ms: fc.constantFrom(1, 30, 200) }),
]
const nested = fc.oneof(...basic.slice(0, 8), basic[9]!)
/** In which event a re-entrant action happens. */
const hook = fc.record({
  do: fc.constant('hook' as const),
  event: fc.constantFrom('gap' as const, 'subscribe' as const, 'unsubscribe' as const, 'unregister' as const),
  action: nested,
})
/** Happens inside connection.write, the most awkward place of all. */
const write = fc.record({ do: fc.constant('inWrite' as const), client: index(CLIENTS.length), action: nested })

type Basic = typeof nested extends fc.Arbitrary<infer T> ? T : never
type Action =
  | Basic
  | { do: 'read'; client: number; bytes: number }
  | { do: 'turn' }
  | { do: 'advance'; ms: number }
  | { do: 'hook'; event: 'gap' | 'subscribe' | 'unsubscribe' | 'unregister'; action: Basic }
  | { do: 'inWrite'; client: number; action: Basic }

/** Plays actions on a hub with fake clients of a small window, and checks what no client may ever see. */
class World {
  readonly scheduler = new ManualScheduler()
  readonly hub: Hub
  readonly priorities = new Map<string, Priority>([
    ['a', 'high'],
    ['c/d', 'bulk'],
  ])
  readonly connections = new Map<string, FakeConnection>()
  readonly all: { id: string; connection: FakeConnection }[] = []
  readonly faults: unknown[] = []
  /** Actions to run inside the next write of a client, once. */
  readonly inWrite = new Map<string, Basic[]>()

  constructor(limits: Partial<HubLimits>) {
    const open = openTopics({}, { b: { lingerMs: 20 } })
    const topics = {
      resolve: (name: string) => ({ ...open.resolve(name), priority: this.priorities.get(name) }),
    }
    this.hub = createHub({ scheduler: this.scheduler, limits, topics })
    this.hub.events.on('fault', ({ error }) => this.faults.push(error))
    for (const id of CLIENTS) this.connect(id)
  }

  connect(id: string): FakeConnection {
    const world = this
    class Awkward extends FakeConnection {
      override write(frame: Uint8Array, more: boolean) {
        const result = super.write(frame, more)
        for (const action of world.inWrite.get(id)?.splice(0) ?? []) world.play(action)
        return result
      }
    }
    const connection = new Awkward({ window: 120 })
    this.connections.set(id, connection)
    this.all.push({ id, connection })
    connection.client = this.hub.registerClient(id, connection)
    return connection
  }

  alive(client: number): string {
    const id = CLIENTS[client]!
    if (this.connections.get(id)?.closedFor !== undefined) this.connect(id)
    return id
  }

  play(action: Action): void {
    const { hub } = this
    switch (action.do) {
      case 'publish':
        hub.routeData(TOPICS[action.topic]!, new Uint8Array(action.size).fill(120), { key: action.key })
        break
      case 'subscribe': {
        const topic = TOPICS[action.topic]!
        const id = this.alive(action.client)
        const epoch = hub.getTopic(topic)?.position.epoch
        const got = this.connections.get(id)!.received.filter(each => each.kind === 'message' && each.topic === topic)
        const last = got.at(-1)
        const seen = last?.kind === 'message' && last.epoch === epoch ? last.seq : undefined
        try {
          hub.subscribe(id, topic, action.resume && seen && epoch ? { after: { epoch, seq: seen } } : {})
        } catch (error) {
          // A handler of what the new topic told was quicker, and ended it.
          expect((error as HubError).code).toBe('CONNECTION_NOT_FOUND')
        }
        break
      }
      case 'unsubscribe':
        hub.unsubscribe(this.alive(action.client), TOPICS[action.topic]!)
        break
      case 'policy':
        hub.setDeliveryPolicy(TOPICS[action.topic]!, POLICIES[action.policy]!)
        break
      case 'class':
        hub.setClientPolicy(this.alive(action.client), action.policy === undefined ? null : POLICIES[action.policy]!)
        break
      case 'order': {
        const policy = action.policy === undefined ? undefined : POLICIES[action.policy]
        hub.subscribePattern(this.alive(action.client), PATTERNS[action.pattern]!, { policy })
        break
      }
      case 'cancel':
        hub.unsubscribePattern(this.alive(action.client), PATTERNS[action.pattern]!)
        break
      case 'priority':
        this.priorities.set(TOPICS[action.topic]!, PRIORITIES[action.priority]!)
        hub.refreshTopics()
        break
      case 'read':
        this.connections.get(CLIENTS[action.client]!)!.read(action.bytes)
        break
      case 'gone':
        hub.unregisterClient(CLIENTS[action.client]!, 'peer')
        break
      case 'turn':
        this.scheduler.turn()
        break
      case 'advance':
        this.scheduler.advance(action.ms)
        break
      case 'hook': {
        const listener = () => {
          hub.events.off(action.event, listener)
          this.play(action.action)
        }
        hub.events.on(action.event, listener)
        break
      }
      case 'inWrite':
        this.inWrite.set(CLIENTS[action.client]!, [action.action])
        break
    }
  }

  /** I1: rising per topic and client, and no message without a subscription in between twice. */
  checkOrder(): void {
    for (const { connection } of this.all) {
      for (const topic of TOPICS) {
        const got = connection.received.filter(each => each.kind === 'message').filter(each => each.topic === topic)
        for (let i = 1; i < got.length; i++) {
          // A topic that was forgotten begins anew.
          if (got[i]!.epoch === got[i - 1]!.epoch) expect(got[i]!.seq).toBeGreaterThan(got[i - 1]!.seq)
        }
      }
    }
  }

  /** I6: published = delivered + dropped + pending, per link and in sum. */
  checkAccounts(): void {
    let pending = 0
    for (const client of this.hub.getActiveClients()) {
      for (const link of client.subscriptions) {
        const { published, delivered, dropped } = link
        expect({ ...link, sum: delivered + dropped + link.pending }).toEqual({ ...link, sum: published })
        expect(link.pending).toBeGreaterThanOrEqual(0)
        pending += link.pending
      }
    }
    expect(this.hub.getConnectionStats().pending).toBe(pending)
  }

  checkTotals(): void {
    const stats = this.hub.getConnectionStats()
    const received = this.all.reduce((sum, { connection }) => sum + connection.seqs().length, 0)
    expect(stats.delivered).toBe(received)
    expect(stats.drops.reduce((sum, drop) => sum + drop.count, 0)).toBe(stats.dropped)
  }

  /** Every client reads until nothing waits any more. */
  drain(): void {
    for (let round = 0; round < 400; round++) {
      this.scheduler.advance(100)
      for (const connection of this.connections.values()) connection.read()
    }
  }
}

describe('order and accounting, whatever happens (I1, I2, I4, I6)', () => {
  it('D8: holds for random publishers, stalls, policies, joins and leaves, also inside handlers and writes', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            { weight: 12, arbitrary: fc.oneof(...basic) },
            { weight: 2, arbitrary: hook },
            { weight: 1, arbitrary: write },
          ),
          { maxLength: 80 },
        ),
        fc.constantFrom({}, { maxQueuedBytesPerClient: 50 }, { maxRetainedBytes: 200 }),
        (actions, limits) => {
          const world = new World(limits)
          for (const action of actions) {
            world.play(action as Action)
            world.checkAccounts()
          }
          world.checkOrder()
          world.drain()
          world.checkOrder()
          world.checkAccounts()
          world.checkTotals()
          expect(world.faults).toEqual([])
          const stats = world.hub.getConnectionStats()
          expect({ pending: stats.pending, queued: stats.queuedBytes, behind: stats.behind }).toEqual({
            pending: 0,
            queued: 0,
            behind: 0,
          })
          // At rest nothing but the housekeeping has a timer: the sweep has stopped.
          expect(world.scheduler.timers).toBe(1)
          expect(stats.keptBytes).toBe(stats.retainedBytes)
          world.hub.events.removeAllListeners()
          for (const id of CLIENTS) world.hub.unregisterClient(id)
          world.scheduler.advance(120_000)
          expectPositionsAlone(world.hub)
        },
      ),
      runs(500),
    )
  })
})
