import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Client, CloseReason } from '../../src/core/connection.ts'
import type { HubError } from '../../src/core/errors.ts'
import { createHub } from '../../src/hub.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { runs } from '../property-runs.ts'

const IDS = ['one', 'two']
const USERS = [undefined, 'ann', 'bob']
const TOPICS = ['a', 'b']
const REASONS: readonly CloseReason[] = ['peer', 'lost', 'ended', 'denied', 'idle', 'expired', 'flooding', 'protocol']

const id = fc.constantFrom(...IDS)
const topic = fc.constantFrom(...TOPICS)
const reason = fc.constantFrom(...REASONS)
const act = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('connect' as const), id, user: fc.constantFrom(...USERS) }) },
  /** By the connection's own handle, which may have been replaced long ago. */
  { weight: 3, arbitrary: fc.record({ do: fc.constant('close' as const), nth: fc.nat(20), reason }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('dispose' as const), nth: fc.nat(20) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('unregister' as const), id, reason }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('disconnect' as const), user: fc.constantFrom('ann', 'bob') }) },
  /** The next write finds out that the peer has gone, or answers nonsense, or throws. */
  { weight: 2, arbitrary: fc.record({ do: fc.constant('fail' as const), nth: fc.nat(20), how: fc.nat(2) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('subscribe' as const), id, topic }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('unsubscribe' as const), id, topic }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('publish' as const), topic }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('turn' as const) }) },
)
type Act = typeof act extends fc.Arbitrary<infer T> ? T : never
/** What a handler does when it next hears of such an event, once. */
const reaction = fc.record({
  event: fc.constantFrom('register' as const, 'unregister' as const, 'subscribe' as const, 'unsubscribe' as const),
  act,
})
interface Reaction {
  readonly event: 'register' | 'unregister' | 'subscribe' | 'unsubscribe'
  readonly act: Act
}
type Step = Act | Reaction

interface Registered {
  readonly id: string
  readonly user: string | undefined
  readonly connection: FakeConnection
}

/** Connections that come, go and take each other's id over, and what each was told. */
class World {
  readonly scheduler = new ManualScheduler()
  readonly hub = createHub({ scheduler: this.scheduler })
  readonly all: Registered[] = []
  /** `+` for each registration under an id, the reason for each end. */
  readonly told = new Map<string, string[]>(IDS.map(id => [id, []]))
  /** Of writes that the test itself made fail. */
  readonly faults: unknown[] = []
  readonly #reactions: (() => void)[] = []

  constructor() {
    const { events } = this.hub
    events.on('register', ({ id }) => this.told.get(id)!.push('+'))
    events.on('unregister', ({ id, reason }) => this.told.get(id)!.push(reason))
    events.on('fault', ({ error }) => this.faults.push(error))
  }

  get active(): Registered[] {
    return this.all.filter(({ connection }) => connection.closedFor === undefined)
  }

  play(step: Step): void {
    const { hub } = this
    if ('event' in step) this.#react(step)
    else if (step.do === 'connect') this.#connect(step.id, step.user)
    else if (step.do === 'close') this.#end(this.#nth(step.nth), client => client.close(step.reason))
    else if (step.do === 'dispose') this.#end(this.#nth(step.nth), client => client[Symbol.dispose]())
    else if (step.do === 'unregister') hub.unregisterClient(step.id, step.reason)
    else if (step.do === 'disconnect') hub.disconnectUser(step.user)
    else if (step.do === 'fail') this.#fail(step.nth, step.how)
    else if (step.do === 'unsubscribe') hub.unsubscribe(step.id, step.topic)
    else if (step.do === 'publish') hub.routeData(step.topic, Buffer.from('x'))
    else if (step.do === 'turn') this.scheduler.turn()
    else if (hub.sessionOf(step.id) !== undefined) hub.subscribe(step.id, step.topic)
  }

  /** By the connection's own handle: once that is closed, it ends nobody. */
  #end(registered: Registered | undefined, how: (client: Client) => void): void {
    const { connection } = registered ?? {}
    if (connection?.client === undefined) return
    const before = connection.closedFor === undefined ? undefined : this.active
    how(connection.client)
    if (before) expect(this.active).toEqual(before)
  }

  #react({ event, act }: Reaction): void {
    const { events } = this.hub
    const listener = (): void => {
      events.off(event, listener)
      this.play(act)
    }
    this.#reactions.push(() => events.off(event, listener))
    events.on(event, listener)
  }

  /** Nobody does anything any more when it hears of an event. */
  calm(): void {
    for (const forget of this.#reactions) forget()
  }

  #nth(nth: number): Registered | undefined {
    return this.all[nth % Math.max(1, this.all.length)]
  }

  #connect(id: string, user: string | undefined): void {
    const connection = new FakeConnection()
    const holder = this.active.find(each => each.id === id)
    this.all.push({ id, user, connection })
    try {
      connection.client = this.hub.registerClient(id, connection, { session: { user } as never })
    } catch (error) {
      // Somebody else's, or a handler took the id meanwhile: it was never registered, and whoever had the id was not harmed by it.
      this.all.splice(
        this.all.findIndex(each => each.connection === connection),
        1,
      )
      expect(['PERMISSION_DENIED', 'CLIENT_EXISTS']).toContain((error as HubError).code)
      if ((error as HubError).code === 'PERMISSION_DENIED') expect(holder?.user).not.toBe(user)
      return
    }
    if (holder && holder.user !== user) throw new Error('took the id of another user')
  }

  #fail(nth: number, how: number): void {
    const connection = this.#nth(nth)?.connection
    if (connection === undefined) return
    connection.answer = () => {
      if (how === 2) throw new Error('broken')
      return how === 0 ? 'gone' : 'nonsense'
    }
  }

  check(): void {
    const { hub, active } = this
    const now = [...hub.getActiveClients()]
    expect(now.map(({ id }) => id).sort()).toEqual(active.map(({ id }) => id).sort())
    expect(hub.getConnectionStats().clients).toBe(active.length)
    for (const user of ['ann', 'bob']) {
      const theirs = active.filter(each => each.user === user).map(({ id }) => id)
      expect([...hub.connectionsOf(user)].sort()).toEqual(theirs.sort())
      expect(hub.isOnline(user)).toBe(theirs.length > 0)
    }
    // Nobody on a topic that it did not ask for, nobody forgotten, nobody twice: what was published to a link is where it belongs.
    for (const { subscriptions } of now) {
      for (const { published, delivered, pending, dropped } of subscriptions) {
        expect({ dropped, sum: delivered + pending }).toEqual({ dropped: 0, sum: published })
      }
    }
  }

  /** Each registration had one end and one reason, that which its connection was closed for. */
  checkEnds(): void {
    for (const id of IDS) {
      const told = this.told.get(id)!
      const mine = this.all.filter(each => each.id === id).map(({ connection }) => connection.closedFor)
      expect(told.filter(word => word === '+')).toHaveLength(mine.length)
      // In order: an id has one client at a time.
      expect(told.findIndex((word, at) => (word === '+') !== (at % 2 === 0))).toBe(-1)
      expect(told.filter(word => word !== '+').sort()).toEqual(mine.filter(reason => reason !== undefined).sort())
    }
    for (const { connection } of this.all) {
      for (const topic of TOPICS) {
        const seqs = connection.seqs(topic)
        expect(seqs).toEqual([...new Set(seqs)].sort((a, b) => a - b))
      }
    }
  }
}

function holds(steps: readonly Step[]): void {
  const world = new World()
  for (const step of steps) {
    world.play(step)
    world.check()
  }
  world.calm()
  world.scheduler.settle()
  world.check()
  world.checkEnds()
  for (const fault of world.faults) expect((fault as Error).message).toMatch(/broken/)
  for (const id of IDS) world.hub.unregisterClient(id)
  world.scheduler.advance(120_000)
  expect(world.hub.getConnectionStats()).toMatchObject({
    clients: 0,
    subscriptions: 0,
    topics: 0,
    pending: 0,
    queuedBytes: 0,
  })
}

const RUNS = runs(500)

/** Found once: while a user's client replaces another one of the same user, a handler wants the id for nobody. It is refused. */
const COUNTEREXAMPLES: readonly (readonly Step[])[] = [
  [
    { do: 'connect', id: 'one', user: 'bob' },
    { event: 'unregister', act: { do: 'connect', id: 'one', user: undefined } },
    { do: 'connect', id: 'one', user: 'bob' },
  ],
  [
    { event: 'unregister', act: { do: 'connect', id: 'two', user: undefined } },
    { do: 'connect', id: 'two', user: 'ann' },
    { do: 'connect', id: 'two', user: 'ann' },
  ],
]

describe('clients that come, go and take each other’s place', () => {
  it('D5: D6: D7: each ends once, for its first reason; an id passes on within one user alone, and a late close harms nobody', () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 60 }), steps => holds(steps)),
      RUNS,
    )
  })

  it('D8: the same where handlers of every event do any of it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ weight: 4, arbitrary: act }, { weight: 1, arbitrary: reaction }), { maxLength: 60 }),
        steps => holds(steps),
      ),
      { ...RUNS, examples: COUNTEREXAMPLES.map(steps => [[...steps]]) },
    )
  })

  it('D8: a newcomer inside of a broadcast gets the next message and not this one', () => {
    const world = new World()
    world.play({ do: 'connect', id: 'one', user: undefined })
    world.play({ do: 'subscribe', id: 'one', topic: 'a' })
    const [one] = world.all
    one!.connection.answer = () => {
      one!.connection.answer = undefined
      world.play({ do: 'connect', id: 'two', user: undefined })
      world.play({ do: 'subscribe', id: 'two', topic: 'a' })
      return 'ok'
    }
    world.play({ do: 'publish', topic: 'a' })
    world.scheduler.settle()
    world.play({ do: 'publish', topic: 'a' })
    world.scheduler.settle()
    expect(world.all[1]!.connection.seqs('a')).toEqual([2])
  })

  it('D6: the same user’s newer connection wins; another user is refused, and nothing of the older one is lost', () => {
    const world = new World()
    world.play({ do: 'connect', id: 'one', user: 'ann' })
    world.play({ do: 'subscribe', id: 'one', topic: 'a' })
    for (const user of ['bob', undefined]) {
      const take = () => world.hub.registerClient('one', new FakeConnection(), { session: { user } as never })
      expect(take).toThrow(expect.objectContaining({ code: 'PERMISSION_DENIED' }))
    }
    expect(world.hub.getClient('one').subscriptions).toHaveLength(1)
    world.play({ do: 'connect', id: 'one', user: 'ann' })
    expect(world.all.map(({ connection }) => connection.closedFor)).toEqual(['replaced', undefined])
  })
})
