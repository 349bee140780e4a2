import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Subscription } from '../../src/core/contract.ts'
import type { Position } from '../../src/core/ids.ts'
import type { Gap } from '../../src/core/message.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { latest } from '../../src/policies/latest.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { runs } from '../property-runs.ts'

/** Reliability C4 and C5: between what is replayed and what is live, each message is there once, or its loss is told. */

const POLICIES = [
  bestEffort(),
  buffered(),
  buffered({ messages: 3, overflow: 'drop-oldest' }),
  buffered({ messages: 3, overflow: 'drop-newest' }),
  latest(),
  rateLimit({ messages: 20, burst: 0.2 }, buffered({ messages: 5, overflow: 'drop-oldest' })),
]

/** Where a client says that it stopped: so many before the topic's end, after it, in another life of the topic, or at the oldest kept. */
const start = fc.oneof(
  fc.record({ kind: fc.constant('back' as const), by: fc.nat({ max: 15 }) }),
  fc.record({ kind: fc.constant('ahead' as const), by: fc.integer({ min: 1, max: 5 }) }),
  fc.record({ kind: fc.constant('epoch' as const) }),
  fc.record({ kind: fc.constant('oldest' as const) }),
  fc.record({ kind: fc.constant('now' as const) }),
)
const publish = fc.record({ do: fc.constant('publish' as const), count: fc.integer({ min: 1, max: 6 }) })
const subscribe = fc.record({
  do: fc.constant('subscribe' as const),
  start,
  policy: fc.nat({ max: POLICIES.length - 1 }),
  window: fc.constantFrom(1, 300, Number.POSITIVE_INFINITY),
  /** A handler of the event publishes, little or so much that a tick runs inside of it. */
  inside: fc.option(fc.constantFrom(10, 200_000), { nil: undefined }),
})
const action = fc.oneof(
  publish,
  subscribe,
  fc.record({ do: fc.constant('read' as const), client: fc.nat(), bytes: fc.constantFrom(100, 1000, 1_000_000) }),
  fc.record({ do: fc.constant('leave' as const), client: fc.nat() }),
  fc.record({ do: fc.constant('turn' as const) }),
  fc.record({ do: fc.constant('advance' as const), ms: fc.constantFrom(10, 100, 1200) }),
)
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never
type Start = typeof start extends fc.Arbitrary<infer T> ? T : never

interface Reader {
  readonly id: string
  readonly connection: FakeConnection
  readonly asked: Position | 'oldest' | undefined
  told: Subscription | undefined
}

class World {
  readonly scheduler = new ManualScheduler()
  readonly hub: Hub = createHub({
    scheduler: this.scheduler,
    topics: openTopics({ history: { messages: 8, bytes: 1_000_000, ageMs: 1000 } }),
  })
  readonly readers: Reader[] = []
  #last: Position = { epoch: '', seq: 0 }

  publish(count: number, bytes = 10): void {
    for (let i = 0; i < count; i++) this.#last = this.hub.routeData('t', new Uint8Array(bytes)).position
  }

  #place(start: Start): Position | 'oldest' | undefined {
    const { epoch, seq } = this.hub.getTopic('t')?.position ?? this.#last
    if (start.kind === 'back') return { epoch, seq: Math.max(0, seq - start.by) }
    if (start.kind === 'ahead') return { epoch, seq: seq + start.by }
    if (start.kind === 'epoch') return { epoch: 'another', seq }
    return start.kind === 'oldest' ? 'oldest' : undefined
  }

  subscribe(action: Extract<Action, { do: 'subscribe' }>): void {
    const id = `c${this.readers.length}`
    const connection = new FakeConnection({ window: action.window })
    const reader: Reader = { id, connection, asked: this.#place(action.start), told: undefined }
    this.readers.push(reader)
    const client = this.hub.registerClient(id, connection)
    connection.client = client
    if (action.inside) this.hub.events.once('subscribe', () => this.publish(3, action.inside))
    this.hub.subscribe(id, 't', {
      policy: POLICIES[action.policy],
      after: reader.asked,
      begun(subscription) {
        reader.told = subscription
        client.send(new TextEncoder().encode('begun'))
      },
    })
  }

  play(action: Action): void {
    const reader = 'client' in action ? this.readers[action.client % this.readers.length] : undefined
    if (action.do === 'publish') this.publish(action.count)
    else if (action.do === 'subscribe') this.subscribe(action)
    else if (action.do === 'turn') this.scheduler.turn()
    else if (action.do === 'advance') this.scheduler.advance(action.ms)
    else if (action.do === 'leave' && reader) this.hub.unregisterClient(reader.id, 'ended')
    else if (action.do === 'read' && reader?.connection.closedFor === undefined) reader?.connection.read(action.bytes)
  }

  /** Everybody who is still there reads everything. */
  finish(): void {
    for (let round = 0; round < 50; round++) {
      this.scheduler.advance(100)
      for (const { connection } of this.readers) if (connection.closedFor === undefined) connection.read()
    }
  }
}

function check(world: World, { id, connection, asked, told }: Reader): void {
  const kinds = connection.received.map(({ kind }) => kind)
  // What says where it begins comes before all that is of the topic.
  if (kinds.length > 0) expect(connection.received[0]).toEqual({ kind: 'frame', text: 'begun' })
  const { position, recovered } = told!
  const seqs = connection.seqs('t')
  expect(seqs).toEqual([...new Set(seqs)].toSorted((a, b) => a - b))
  const messages = connection.received.flatMap(each => (each.kind === 'message' ? [each] : []))
  for (const { epoch, seq } of messages) {
    expect(epoch).toBe(position.epoch)
    expect(seq).toBeGreaterThan(position.seq)
  }
  const gaps = connection.gaps()
  if (asked === undefined) expect(recovered).toBe(false)
  else if (asked !== 'oldest' && asked.epoch === position.epoch && recovered) expect(position).toEqual(asked)
  if (connection.closedFor !== undefined) return
  if (asked !== undefined && asked !== 'oldest' && !recovered) expectTold(asked, position, gaps)
  expectWhole(world, id, position.seq, seqs, gaps)
}

/** Not recovered: a place that is unknown is told with a loss of unknown size, what is no longer kept with where it began. */
function expectTold(asked: Position, position: Position, gaps: readonly Gap[]): void {
  if (asked.epoch === position.epoch && asked.seq < position.seq) expect.unreachable('a place that is known is kept')
  // Nothing was published in this life of the topic yet: the transport says so.
  if (position.seq === 0) return
  const known = position.epoch === asked.epoch && position.seq === asked.seq
  if (known) expect(gaps[0]?.from).toBe(asked.seq + 1)
  else expect(gaps[0]?.count).toBeNull()
}

/** From where it began to the topic's end, each came or is within a gap that was told, and the counts add up. */
function expectWhole(world: World, id: string, base: number, seqs: readonly number[], gaps: readonly Gap[]): void {
  const end = world.hub.getTopic('t')!.position.seq
  const got = new Set(seqs)
  for (let seq = base + 1; seq <= end; seq++) {
    const inGap = gaps.some(({ from, to }) => from <= seq && seq <= to)
    expect(got.has(seq) || inGap, `seq ${seq} of ${id}: neither delivered nor told`).toBe(true)
  }
  const { delivered, dropped, pending } = world.hub.getSubscription(id, 't')!
  expect({ pending, sum: delivered + dropped, delivered }).toEqual({
    pending: 0,
    sum: end - base,
    delivered: seqs.length,
  })
}

describe('the seam between what is replayed and what is live', () => {
  it('has each message once, or its loss told, whatever is published, trimmed and stalled meanwhile', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), actions => {
        const world = new World()
        world.publish(4)
        for (const each of actions) world.play(each)
        world.finish()
        for (const reader of world.readers) check(world, reader)
      }),
      runs(200),
    )
  })

  const resumed = (back: number, kept = 8) => {
    const scheduler = new ManualScheduler()
    const hub = createHub({ scheduler, topics: openTopics({ history: { messages: kept, bytes: 1e6, ageMs: 1e6 } }) })
    for (let i = 0; i < 10; i++) hub.routeData('t', new Uint8Array(1))
    scheduler.settle()
    const { epoch } = hub.getTopic('t')!.position
    const connection = new FakeConnection()
    connection.client = hub.registerClient('c', connection)
    const { recovered, position } = hub.subscribe('c', 't', { after: { epoch, seq: 10 - back } })
    hub.routeData('t', new Uint8Array(1))
    scheduler.settle()
    return { recovered, seq: position.seq, seqs: connection.seqs(), gaps: connection.gaps() }
  }

  it('exact: all of it, and no gap', () => {
    expect(resumed(3)).toEqual({ recovered: true, seq: 7, seqs: [8, 9, 10, 11], gaps: [] })
    expect(resumed(0)).toEqual({ recovered: true, seq: 10, seqs: [11], gaps: [] })
    expect(resumed(8)).toMatchObject({ recovered: true, seqs: [3, 4, 5, 6, 7, 8, 9, 10, 11] })
  })

  it('trimmed: what is left, and how much is missing', () => {
    expect(resumed(9)).toMatchObject({ recovered: false, seq: 1, gaps: [{ from: 2, to: 2, count: 1 }] })
    expect(resumed(3, 2)).toMatchObject({
      recovered: false,
      seqs: [9, 10, 11],
      gaps: [{ from: 8, to: 8, count: 1, reason: 'trimmed' }],
    })
  })

  it('ahead of the topic: unknown', () => {
    expect(resumed(-1)).toMatchObject({ recovered: false, seq: 10, seqs: [11], gaps: [{ count: null }] })
  })
})
