import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PostedMessage } from '../../src/core/contract.ts'
import { HubError } from '../../src/core/errors.ts'
import type { HubLimits } from '../../src/core/limits.ts'
import { Direct } from '../../src/core/parcel.ts'
import type { DeliveryPolicy } from '../../src/core/policy.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { latest } from '../../src/policies/latest.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import { reliable } from '../../src/policies/reliable.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { expectPositionsAlone } from '../positions-alone.ts'
import { runs } from '../property-runs.ts'
import { Witness } from './witness.ts'

const POLICIES: readonly DeliveryPolicy[] = [
  reliable({ ackMs: 100 }),
  reliable({ ackMs: 100, window: 2 }),
  reliable({ ackMs: 100, bytes: 40, tries: 2 }),
  reliable({ ackMs: 100, window: 3, tries: 1, giveUp: 'skip' }),
  reliable({ ackMs: 100, tries: 0, giveUp: 'skip' }),
  rateLimit({ messages: 40, burst: 0.1 }, reliable({ ackMs: 100, window: 3 })),
  bestEffort(),
  latest(),
  buffered(),
  buffered({ messages: 3, overflow: 'drop-oldest' }),
  buffered({ messages: 3, overflow: 'drop-newest' }),
  rateLimit({ messages: 50, burst: 0.2 }, buffered({ messages: 5, overflow: 'drop-oldest' })),
]
const TOPICS = ['a', 'b']
/** One that is asked by requests, each of which it answers or not, and two on sockets. */
const CLIENTS = ['requests', 'one', 'two']

const index = (length: number) => fc.nat({ max: length - 1 })
const client = index(CLIENTS.length)
const topic = index(TOPICS.length)
const basic = [
  fc.record({
    do: fc.constant('publish' as const),
    topic,
    key: fc.option(fc.constantFrom('k', 'l'), { nil: undefined }),
    // Of the largest a flush takes two when it reads on.
    size: fc.constantFrom(1, 10, 30, 40 * 1024),
  }),
  fc.record({ do: fc.constant('confirm' as const), client, topic, share: fc.constantFrom(0.4, 1, 1, 2) }),
  fc.record({ do: fc.constant('subscribe' as const), client, topic, resume: fc.boolean() }),
  fc.record({ do: fc.constant('unsubscribe' as const), client, topic }),
  fc.record({ do: fc.constant('policy' as const), topic, policy: index(POLICIES.length) }),
  fc.record({ do: fc.constant('gone' as const), client }),
  fc.record({ do: fc.constant('post' as const), client, size: fc.constantFrom(1, 30, 300) }),
  fc.record({ do: fc.constant('cancel' as const), post: fc.nat({ max: 5 }) }),
]
const nested = fc.oneof(...basic)
const outer = [
  fc.record({ do: fc.constant('read' as const), client, bytes: fc.constantFrom(50, 200, 1_000_000) }),
  fc.record({
    do: fc.constant('answer' as const),
    ok: fc.constantFrom(true, true, false),
    count: fc.constantFrom(1, 3),
  }),
  fc.record({ do: fc.constant('turn' as const) }),
  fc.record({ do: fc.constant('advance' as const), ms: fc.constantFrom(1, 25, 60, 200) }),
]
const inWrite = fc.record({ do: fc.constant('inWrite' as const), client, action: nested })

type Basic = typeof nested extends fc.Arbitrary<infer T> ? T : never
type Outer = (typeof outer)[number] extends fc.Arbitrary<infer T> ? T : never
type Action = Basic | Outer | { do: 'inWrite'; client: number; action: Basic }

class World {
  readonly scheduler = new ManualScheduler()
  readonly hub: Hub
  readonly connections = new Map<string, FakeConnection>()
  readonly faults: unknown[] = []
  readonly witness: Witness
  readonly inWrite = new Map<string, Basic[]>()
  /** Messages to one client: how often each was told of its end. */
  readonly posts: { posted: PostedMessage; told: number }[] = []

  constructor(limits: Partial<HubLimits>) {
    const topics = openTopics({ history: { messages: 20, bytes: 200_000, ageMs: 60_000 } }, { b: { lingerMs: 20 } })
    this.hub = createHub({ scheduler: this.scheduler, limits, topics, policy: POLICIES[0]! })
    this.hub.events.on('fault', ({ error }) => this.faults.push(error))
    this.witness = new Witness(this.hub)
    for (const id of CLIENTS) this.connect(id)
  }

  connect(id: string): FakeConnection {
    const world = this
    class Awkward extends FakeConnection {
      override write(frame: Uint8Array, more: boolean) {
        const before = this.received.length
        const result = super.write(frame, more)
        for (const received of this.received.slice(before)) world.witness.saw(id, received)
        for (const action of world.inWrite.get(id)?.splice(0) ?? []) world.play(action)
        return result
      }
    }
    const connection = new Awkward({ window: 400, confirms: id === 'requests' })
    this.connections.set(id, connection)
    connection.client = this.hub.registerClient(id, connection)
    return connection
  }

  alive(client: number): string {
    const id = CLIENTS[client]!
    if (this.connections.get(id)!.closedFor !== undefined) this.connect(id)
    return id
  }

  play(action: Action): void {
    const { hub, witness } = this
    switch (action.do) {
      case 'publish':
        hub.routeData(TOPICS[action.topic]!, new Uint8Array(action.size).fill(120), { key: action.key })
        break
      case 'confirm':
        this.confirm(CLIENTS[action.client]!, TOPICS[action.topic]!, action.share)
        break
      case 'subscribe': {
        const topic = TOPICS[action.topic]!
        const id = this.alive(action.client)
        const after = action.resume ? witness.lastSeen(id, topic) : undefined
        hub.subscribe(id, topic, after ? { after } : {})
        break
      }
      case 'unsubscribe':
        hub.unsubscribe(this.alive(action.client), TOPICS[action.topic]!)
        break
      case 'policy':
        witness.policyChanges(TOPICS[action.topic]!)
        hub.setDeliveryPolicy(TOPICS[action.topic]!, POLICIES[action.policy]!)
        break
      case 'gone':
        hub.unregisterClient(CLIENTS[action.client]!, 'peer')
        break
      case 'post':
        this.post(this.alive(action.client), action.size)
        break
      case 'cancel':
        this.posts.at(-1 - action.post)?.posted.cancel(new HubError('SEND_ABORTED', 'x'))
        break
      case 'read':
        this.connections.get(CLIENTS[action.client]!)!.read(action.bytes)
        break
      case 'answer':
        for (let i = 0; i < action.count; i++) this.answer(action.ok)
        break
      case 'turn':
        this.scheduler.turn()
        break
      case 'advance':
        this.scheduler.advance(action.ms)
        break
      case 'inWrite':
        this.inWrite.set(CLIENTS[action.client]!, [action.action])
        break
    }
  }

  /** Of what it was sent so far: all, a part, or more than that. */
  confirm(id: string, topic: string, share: number): void {
    const seen = this.witness.lastSeen(id, topic)
    if (seen === undefined || this.hub.getSubscription(id, topic) === undefined) return
    const seq = share > 1 ? this.hub.getTopic(topic)!.position.seq + 1 : Math.floor(seen.seq * share)
    try {
      this.hub.acknowledge(id, topic, { epoch: seen.epoch, seq })
      expect(share).toBeLessThanOrEqual(1)
      this.witness.acknowledged(id, topic, seq)
    } catch (error) {
      // Only more than it was sent is refused, or what it was sent in an earlier life of the topic or of the subscription.
      expect((error as HubError).code).toBe('POSITION_INVALID')
      if (share <= 1) expect(this.witness.mayConfirm(id, topic, seen.epoch, seq)).toBe(false)
    }
  }

  /** The oldest request that is under way succeeds, or is given up; then what came after it on its topic is forgotten, if the hub says so. */
  answer(ok: boolean): void {
    const { witness } = this
    const connection = this.connections.get('requests')!
    const [message] = witness.underWay
    if (message === undefined || connection.closedFor !== undefined) return
    witness.underWay.shift()
    const { topic, seq } = message
    if (ok) witness.arrived(message, connection.client!.confirmed(topic, seq))
    else if (connection.client!.failed(topic, seq)) witness.forgotten(topic)
  }

  post(id: string, size: number): void {
    const payload = new Uint8Array(size).fill(120)
    const direct = new Direct({ id: 'd', payload, contentType: 'text/plain', correlationId: undefined })
    const post = { told: 0 } as World['posts'][number]
    try {
      post.posted = this.hub.post(id, direct, () => {
        post.told++
        expect(post.told).toBe(1)
      })
      this.posts.push(post)
    } catch (error) {
      expect((error as HubError).code).toMatch(/^LIMIT_EXCEEDED$/)
    }
  }

  /** Every client reads, confirms and answers until nothing waits any more. */
  drain(): void {
    for (let round = 0; round < 150; round++) {
      this.scheduler.advance(50)
      for (const connection of this.connections.values()) connection.read()
      while (this.witness.underWay.length > 0) this.answer(true)
      for (const id of CLIENTS.slice(1)) for (const topic of TOPICS) this.confirm(id, topic, 1)
    }
    // What is kept for those who were behind goes with the housekeeping.
    this.scheduler.advance(1000)
  }
}

function check(world: World, tickDone: boolean): void {
  world.witness.checkAccounts(tickDone)
  expect(world.faults).toEqual([])
}

describe('links that wait for confirmations, whatever happens (I1, I6)', () => {
  it('holds for random publishers, stalls, confirmations, failures, policies, joins and leaves, also inside of writes', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            { weight: 10, arbitrary: fc.oneof(...basic) },
            { weight: 8, arbitrary: fc.oneof(...outer) },
            { weight: 1, arbitrary: inWrite },
          ),
          { maxLength: 80 },
        ),
        fc.constantFrom({}, { maxQueuedBytesPerClient: 1500 }, { maxRetainedBytes: 300_000 }),
        (actions, limits) => {
          const world = new World(limits)
          for (const id of [0, 1]) world.play({ do: 'subscribe', client: id, topic: 0, resume: false })
          for (const action of actions) {
            world.play(action as Action)
            check(world, action.do === 'advance')
          }
          world.inWrite.clear()
          world.drain()
          check(world, true)
          world.witness.checkNothingLost()
          const { hub, scheduler } = world
          const { pending, unconfirmed, queuedBytes, behind, keptBytes, retainedBytes } = hub.getConnectionStats()
          expect({ pending, unconfirmed, queuedBytes, behind }).toEqual({
            ...{ pending: 0, unconfirmed: 0, queuedBytes: 0, behind: 0 },
          })
          expect(keptBytes).toBe(retainedBytes)
          // At rest nothing but the housekeeping has a timer.
          expect(scheduler.timers).toBe(1)
          for (const id of CLIENTS) hub.unregisterClient(id)
          scheduler.advance(120_000)
          expect(hub.getConnectionStats()).toMatchObject({ pending: 0, unconfirmed: 0 })
          expectPositionsAlone(hub)
          world.witness.checkAccounts(true)
          expect(world.posts.map(({ told }) => told)).toEqual(world.posts.map(() => 1))
        },
      ),
      runs(500),
    )
  })

  it('a client that ends inside its own write is not written to again', () => {
    const scheduler = new ManualScheduler()
    const hub = createHub({ scheduler, policy: POLICIES[0]! })
    const faults: unknown[] = []
    hub.events.on('fault', fault => faults.push(fault))
    const connection = new FakeConnection()
    const write = connection.write.bind(connection)
    connection.write = (frame, more) => {
      const result = write(frame, more)
      hub.unregisterClient('c', 'peer')
      return result
    }
    hub.registerClient('c', connection)
    hub.subscribe('c', 'a')
    hub.routeData('a', Buffer.from('1'))
    const payload = new Uint8Array(1)
    hub.post('c', new Direct({ id: 'd', payload, contentType: 'text/plain', correlationId: undefined }), () => {})
    scheduler.settle()
    expect(faults).toEqual([])
    expect(connection.received).toHaveLength(1)
  })

  it('what was published before the end of a subscription comes before it, and not into the next subscription', () => {
    const scheduler = new ManualScheduler()
    const hub = createHub({ scheduler, policy: POLICIES[0]! })
    const connection = new FakeConnection()
    const received = () => connection.received.map(each => each.kind === 'message' && each.seq)
    hub.registerClient('c', connection)
    hub.subscribe('c', 'a')
    hub.routeData('a', Buffer.from('1'))
    hub.unsubscribe('c', 'a')
    expect(received()).toEqual([1])
    const { position } = hub.subscribe('c', 'a')
    hub.routeData('a', Buffer.from('2'))
    scheduler.settle()
    expect(position.seq).toBe(1)
    expect(received()).toEqual([1, 2])
  })
})
