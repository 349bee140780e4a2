import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Registration } from '../../src/core/client.ts'
import type { Connection, WriteResult } from '../../src/core/connection.ts'
import { FRAME_BYTES, PLACE_BYTES } from '../../src/core/ledger.ts'
import type { HubLimits } from '../../src/core/limits.ts'
import type { Link } from '../../src/core/link.ts'
import type { Message } from '../../src/core/message.ts'
import type { DeliveryPolicy } from '../../src/core/policy.ts'
import type { Topic } from '../../src/core/topic.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { dropSlow } from '../../src/policies/drop-slow.ts'
import { latest } from '../../src/policies/latest.ts'
import { priority } from '../../src/policies/priority.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import { reliable } from '../../src/policies/reliable.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { wsCodec } from '../../src/transports/codecs.ts'
import { runs } from '../property-runs.ts'

const POLICIES: readonly DeliveryPolicy[] = [
  ...[bestEffort(), buffered(), dropSlow({ timeoutMs: 500 }), latest(), reliable()],
  buffered({ messages: 4, overflow: 'drop-oldest' }),
  buffered({ bytes: 2000, overflow: 'drop-newest' }),
  reliable({ window: 3, ackMs: 100, tries: 1, giveUp: 'skip' }),
  priority({ socketBytes: 500 }),
  priority({ socketBytes: 500 }, latest()),
  priority({ socketBytes: 500 }, reliable({ window: 5, ackMs: 200 })),
  rateLimit({ messages: 20, burst: 0.2 }, latest()),
  rateLimit({ messages: 20, burst: 0.2 }, buffered({ messages: 5, overflow: 'drop-newest' })),
]
const TOPICS = ['a', 'b', 'c']
const CLIENTS = ['c0', 'c1', 'c2', 'witness']
const WITNESS = 3
/**
 * The publisher counts once, while a message of the topic with publishers is kept: 160 bytes, its texts, and 8 for each
 * quote and bracket of the info.
 */
const ANN = { user: 'ann', info: { name: 'Ann' } }
const ANN_BYTES = 160 + 'ann'.length + '{"name":"Ann"}'.length + 5 * 8
/** What the hub counts for a position, beside its texts (docs/policies.md). */
const POSITION_BYTES = 200

/** It holds the frames of a flush until the test says that they are gone. */
class Stallable implements Connection {
  readonly protocol = 'test'
  readonly codec = wsCodec
  client: Registration | undefined
  frames: Uint8Array[] = []
  stalls = false
  gone = false
  #waits = false

  write(frame: Uint8Array, more: boolean): WriteResult {
    this.frames.push(frame)
    if (more) return 'ok'
    this.#waits = this.stalls
    if (!this.stalls) this.frames = []
    return this.stalls ? 'full' : 'ok'
  }

  drain(): void {
    if (!this.#waits) return
    this.#waits = false
    this.frames = []
    this.client?.drained()
  }

  close(): void {
    this.gone = true
    this.frames = []
  }
}

/** A hub, and what can be seen of all that it holds. */
class World {
  readonly scheduler = new ManualScheduler()
  readonly hub: Hub
  readonly connections = new Map<string, Stallable>()
  /** By name: topics stay the same objects until they are forgotten. */
  readonly topics = new Map<string, Topic>()
  /** What each link was sent, in order. */
  readonly sent = new Map<Link, Message[]>()

  constructor(limits: Partial<HubLimits>) {
    const short = { messages: 5, bytes: 3000, ageMs: 5000 }
    const none = { messages: 0, bytes: 0, ageMs: 0 }
    const topics = openTopics({ history: short }, { b: { history: none }, c: { publisher: true, lingerMs: 50 } })
    this.hub = createHub({ scheduler: this.scheduler, topics, limits })
  }

  connection(client: number): Stallable {
    const id = CLIENTS[client]!
    const known = this.connections.get(id)
    if (known && !known.gone) return known
    const connection = new Stallable()
    const handle = this.hub.registerClient(id, connection)
    if (!(handle instanceof Registration)) throw new TypeError('handle must be a Registration')
    connection.client = handle
    this.connections.set(id, connection)
    this.hub.watch(id, sighting => {
      if (sighting.kind !== 'messages' || sighting.result === 'gone') return
      const link = handle.outbox.links.get(sighting.topic)
      // What was transferred before it was encoded cannot be carried.
      const carried = sighting.messages.filter(({ payload }) => payload.byteLength > 0)
      if (link !== undefined) this.sent.set(link, [...(this.sent.get(link) ?? []), ...carried])
    })
    return connection
  }

  /** Somebody who keeps up is on every topic, so that the test sees each. Short of memory, the hub may end it. */
  witness(): void {
    this.connection(WITNESS)
    this.hub.subscribePattern(CLIENTS[WITNESS]!, '**')
    this.scheduler.settle()
  }

  get links(): Link[] {
    return [...this.connections.values()].flatMap(({ client, gone }) =>
      client === undefined || gone ? [] : [...client.outbox.links.values()],
    )
  }

  /** The memory of everything that is found in the lists, in the hands of connections and in the table of positions. */
  recount(): number {
    for (const { topic } of this.links) this.topics.set(topic.name, topic)
    const lists: Iterable<Message>[] = []
    let positions = 0
    for (const [name, topic] of this.topics) {
      const position = this.hub.positionOf(name)
      if (this.hub.getTopic(name) !== null) lists.push(topic.pending, topic.log.after(-1), topic.newest?.values() ?? [])
      else if (position) positions += POSITION_BYTES + name.length + position.epoch.length
    }
    for (const link of this.links) lists.push(link.held, this.#unconfirmed(link))
    const places = lists.flatMap(list => [...list])
    const found = [...new Set(places)]
    const publisher = found.some(message => message.publisher !== undefined) ? ANN_BYTES : 0
    const messages = found.reduce((sum, { held }) => sum + held, places.length * PLACE_BYTES + publisher)
    const frames = new Set([...this.connections.values()].flatMap(connection => connection.frames))
    return [...frames].reduce((sum, { byteLength }) => sum + FRAME_BYTES + byteLength, messages + positions)
  }

  /** Confirming takes from the front, and sending again takes all and adds them anew: what is there are the last that were sent. */
  #unconfirmed(link: Link): Message[] {
    const count = link.acks?.messages ?? 0
    return count === 0 ? [] : (this.sent.get(link) ?? []).slice(-count)
  }
}

const index = (length: number) => fc.nat({ max: length - 1 })
const client = index(WITNESS)
const topic = index(TOPICS.length)
const action = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('publish' as const),
      topic,
      count: fc.integer({ min: 1, max: 8 }),
      size: fc.constantFrom(1, 70, 1000),
      key: fc.option(fc.constantFrom('k', 'λ', 'the key of a message'), { nil: undefined }),
      transfer: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      ...{ do: fc.constant('subscribe' as const), client, topic },
      policy: index(POLICIES.length),
      oldest: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('unsubscribe' as const), client, topic }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('stall' as const), client, stalls: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('drain' as const), client }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('confirm' as const), client, topic }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const), client }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('expire' as const), ms: fc.constantFrom(30, 300, 6000, 70_000) }),
  },
)
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never

function play(world: World, step: Action): void {
  const { hub, scheduler } = world
  switch (step.do) {
    case 'publish':
      for (let i = 0; i < step.count; i++) {
        const payload = new Uint8Array(step.size).fill(120)
        hub.routeData(TOPICS[step.topic]!, payload, { key: step.key, publisher: { session: ANN } })
        // Only what fills its buffer is not copied: then the hub's own payload has no bytes any more.
        if (step.transfer) structuredClone(payload.buffer, { transfer: [payload.buffer] })
      }
      break
    case 'subscribe': {
      const { client: handle } = world.connection(step.client)
      const after = step.oldest ? { after: 'oldest' as const } : {}
      hub.subscribe(handle!.id, TOPICS[step.topic]!, { policy: POLICIES[step.policy]!, ...after })
      break
    }
    case 'unsubscribe':
      hub.unsubscribe(CLIENTS[step.client]!, TOPICS[step.topic]!)
      break
    case 'stall':
      world.connection(step.client).stalls = step.stalls
      break
    case 'drain':
      world.connection(step.client).drain()
      break
    case 'confirm': {
      const { client: handle } = world.connection(step.client)
      const link = [...handle!.outbox.links.values()].find(each => each.topic.name === TOPICS[step.topic])
      if (link?.acks) handle!.confirmed(link.topicName, link.acks.oldest)
      break
    }
    case 'close':
      hub.unregisterClient(CLIENTS[step.client]!)
      break
    case 'expire':
      scheduler.advance(step.ms)
      break
  }
  scheduler.settle()
}

describe('what is counted is what is there', () => {
  it('after each step of a random program, and nothing at its end', () => {
    fc.assert(
      fc.property(
        // Each client is on each topic to begin with.
        fc.array(index(POLICIES.length), { minLength: WITNESS * TOPICS.length, maxLength: WITNESS * TOPICS.length }),
        fc.array(action, { maxLength: 60 }),
        fc.constantFrom({}, { maxRetainedBytes: 12_000 }, { maxQueuedBytesPerClient: 2000 }),
        (policies, steps, limits) => {
          const world = new World(limits)
          for (const [i, policy] of policies.entries()) {
            play(world, { do: 'subscribe', client: i % WITNESS, topic: Math.floor(i / WITNESS), policy, oldest: false })
          }
          for (const step of steps) {
            world.witness()
            play(world, step)
            expect(world.hub.getConnectionStats().keptBytes).toBe(world.recount())
          }
          world.witness()
          world.recount()
          for (const id of CLIENTS) world.hub.unregisterClient(id)
          world.scheduler.advance(120_000)
          expect(world.hub.getConnectionStats().keptBytes).toBe(world.recount())
          world.scheduler.advance(3_700_000)
          world.scheduler.advance(2000)
          expect(world.hub.getConnectionStats().keptBytes).toBe(0)
        },
      ),
      runs(300),
    )
  })
})
