import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Broker } from '../../src/core/broker.ts'
import type { Connection } from '../../src/core/connection.ts'
import { HubError } from '../../src/core/errors.ts'
import type { HubEvents } from '../../src/core/events.ts'
import type { Codec } from '../../src/core/message.ts'
import { Direct } from '../../src/core/parcel.ts'
import type { DeliveryPolicy } from '../../src/core/policy.ts'
import type { TopicRegistry, TopicSpec } from '../../src/core/topics.ts'
import { createHub, type Hub, type HubOptions } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { dropSlow } from '../../src/policies/drop-slow.ts'
import { latest } from '../../src/policies/latest.ts'
import { priority } from '../../src/policies/priority.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import {
  FakeConnection,
  type FakeConnectionOptions,
  FakeRequestConnection,
  fakeCodec,
} from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { describeRule, describeSpec } from '../../src/topics/describe.ts'

/**
 * Reliability: code that is not the hub's may throw in every one of its members. Only its own client or link is affected, a fault names
 * it, everybody else gets everything, and the books add up (I6).
 */

const rejections: unknown[] = []
const note = (reason: unknown): void => void rejections.push(reason)
beforeEach(() => void process.on('unhandledRejection', note))
afterEach(async () => {
  await new Promise(setImmediate)
  process.off('unhandledRejection', note)
  expect(rejections.splice(0)).toEqual([])
})

const broken = (): never => {
  throw new Error('broken')
}

const rejected = async (): Promise<never> => broken()

/** An object whose one member throws: a method when it is called, anything else when it is read. `reject`: its promise does. */
function breaking<T extends object>(object: T, member: keyof T & string, how: 'call' | 'read' | 'reject'): T {
  const descriptor = how === 'read' ? { get: broken } : { value: how === 'call' ? broken : rejected }
  return Object.defineProperty(object, member, { ...descriptor, configurable: true })
}

class World {
  readonly scheduler = new ManualScheduler()
  readonly hub: Hub
  readonly faults: string[] = []
  readonly healthy: FakeConnection[] = []
  published = 0

  constructor(options: Partial<HubOptions> = {}) {
    this.hub = createHub({ scheduler: this.scheduler, ...options })
    this.hub.events.on('fault', ({ where }) => this.faults.push(where))
  }

  connect(id: string, connection: FakeConnection, policy?: DeliveryPolicy): void {
    connection.client = this.hub.registerClient(id, connection)
    this.hub.subscribe(id, 't', { policy })
  }

  /** Clients before and behind the bad one in every list, as lists are walked in both directions. */
  addHealthy(id: string): void {
    const connection = new FakeConnection()
    this.healthy.push(connection)
    this.connect(id, connection, buffered())
  }

  /** One tick. */
  publish(count: number, bytes = 30): void {
    for (let i = 0; i < count; i++) this.hub.routeData('t', new Uint8Array(bytes).fill(120))
    this.published += count
    this.scheduler.settle()
  }

  /** Two ticks of several messages, a stall, time for the sweep, a message for it alone, a question, a look at everything, and its end. */
  async run(bad: FakeConnection): Promise<void> {
    const { hub, scheduler } = this
    this.publish(2)
    this.publish(3)
    for (let i = 0; i < 5; i++) {
      this.publish(1, 2000)
      scheduler.advance(100)
      this.check()
    }
    if (bad.closedFor === undefined) bad.read()
    this.publish(2)
    scheduler.advance(100)
    const sent = hub.send('bad', 'alone', { timeoutMs: 1000 }).catch(error => error)
    const asked = hub.isActive('bad', { timeoutMs: 1000 })
    scheduler.advance(100)
    this.look()
    this.publish(2)
    if (bad.closedFor === undefined) bad.read()
    hub.setDeliveryPolicy('t', bestEffort())
    hub.refreshTopics()
    this.publish(2)
    scheduler.advance(2000)
    this.check()
    hub.unregisterClient('bad', 'ended')
    this.publish(2)
    scheduler.advance(2000)
    this.check()
    await Promise.all([sent, asked])
    // What a promise rejects with is a fault in a later turn.
    await new Promise(setImmediate)
    scheduler.settle()
    const { clients, pending, behind, keptBytes, retainedBytes } = hub.getConnectionStats()
    expect({ clients, pending, behind, keptBytes }).toEqual({
      clients: 2,
      pending: 0,
      behind: 0,
      keptBytes: retainedBytes,
    })
    // The sweep has stopped: nobody waits for anything.
    expect(scheduler.timers).toBe(1)
  }

  /** What an operator may ask for. */
  look(): void {
    expect([...this.hub.getActiveClients()].length).toBeGreaterThanOrEqual(2)
    expect([...this.hub.getTopics()]).toHaveLength(1)
    expect([...this.hub.getClientsForTopic('t')].length).toBeGreaterThanOrEqual(2)
    this.hub.getConnectionStats()
    if (this.hub.getSubscription('bad', 't')) this.hub.explainPolicy('bad', 't')
  }

  /** The others have everything, in order, and the books add up. */
  check(): void {
    const all = Array.from({ length: this.published }, (_, i) => i + 1)
    for (const connection of this.healthy) expect(connection.seqs()).toEqual(all)
    for (const { subscriptions } of this.hub.getActiveClients()) {
      for (const { published, delivered, dropped, pending } of subscriptions) {
        expect(delivered + dropped + pending).toBe(published)
      }
    }
  }
}

/** The bad one is between two others. */
async function play(world: World, bad: FakeConnection, policy?: DeliveryPolicy): Promise<void> {
  world.addHealthy('before')
  world.connect('bad', bad, policy)
  world.addHealthy('after')
  await world.run(bad)
}

const WINDOW = { window: 400 }

describe('a codec that throws', () => {
  const codec = (member: keyof Codec, value: () => unknown = broken): Codec => ({ ...fakeCodec, [member]: value })
  const answers = {
    throws: broken,
    'answers a promise that rejects': rejected,
    'answers a string': () => 'text',
    'answers nothing': () => undefined,
  }

  describe.each(Object.entries(answers))('%s', (kind, value) => {
    it('encode: its client loses the message as unsupported', async () => {
      const world = new World()
      const bad = new FakeConnection({ ...WINDOW, codec: codec('encode', value) })
      await play(world, bad, buffered())
      expect(world.faults).toContain("encode of codec 'fake'")
      expect(bad.seqs()).toEqual([])
      const { drops } = world.hub.getConnectionStats()
      expect(drops.map(({ reason }) => reason)).toEqual(['unsupported'])
    })

    it('concat: the frames go out one by one', async () => {
      const world = new World()
      const bad = new FakeConnection({ codec: codec('concat', value) })
      await play(world, bad, buffered())
      expect(world.faults).toContain("concat of codec 'fake'")
      // All up to its end, and nothing of it.
      expect(bad.seqs()).toEqual(Array.from({ length: world.published - 2 }, (_, i) => i + 1))
    })

    it('gap: its client is not told of a loss, which is counted', async () => {
      const world = new World()
      const bad = new FakeConnection({ ...WINDOW, codec: codec('gap', value) })
      await play(world, bad, bestEffort())
      // No notice at all is an answer.
      if (kind !== 'answers nothing') expect(world.faults).toContain("gap of codec 'fake'")
      expect([bad.gaps(), world.hub.getConnectionStats().dropped > 0]).toEqual([[], true])
    })

    it('carries: the message counts as one that its client cannot be sent', async () => {
      const world = new World()
      world.addHealthy('one')
      world.connect('bad', new FakeConnection({ codec: codec('carries', value) }), buffered())
      const { matched, unsupported } = world.hub.routeData('t', Buffer.from('x'))
      world.scheduler.settle()
      expect([matched, unsupported, world.faults]).toEqual([2, 1, ["carries of codec 'fake'"]])
    })

    it('direct: what is for its client alone is refused', async () => {
      const world = new World()
      const bad = new FakeConnection({ codec: codec('direct', value) })
      await play(world, bad, buffered())
      if (kind !== 'answers nothing') expect(world.faults).toContain("direct of codec 'fake'")
      expect(bad.directs()).toEqual([])
    })
  })

  describe.each([
    ['that throws', { get: broken }],
    ['that rejects', { get: rejected }],
    ['that is a BigInt', { value: 5n }],
    ['that is a symbol', { value: Symbol('five') }],
    ['that is NaN', { value: Number.NaN }],
    ['that is endless', { value: Number.POSITIVE_INFINITY }],
    ['that is a text', { value: '5' }],
    ['that is negative', { value: -1e9 }],
    ['that is null', { value: null }],
  ])('objectBytes %s', (_, descriptor) => {
    it('counts as absent: the limit of memory holds for everybody', async () => {
      const world = new World()
      const codec = Object.defineProperty({ ...fakeCodec }, 'objectBytes', descriptor)
      await play(world, new FakeConnection({ ...WINDOW, codec }), buffered())
      expect(new Set(world.faults)).toEqual(new Set(["objectBytes of codec 'fake'"]))
    })
  })

  it('carries (read): it is asked of each message, and its client loses none', async () => {
    const world = new World()
    const bad = new FakeConnection({ codec: breaking({ ...fakeCodec, carries: () => true }, 'carries', 'read') })
    await play(world, bad, buffered())
    expect(new Set(world.faults)).toEqual(new Set(["carries of codec 'fake'"]))
    expect(bad.seqs()).toEqual(Array.from({ length: world.published - 2 }, (_, i) => i + 1))
  })

  it('name: the fault is told without it', async () => {
    const world = new World()
    const bad = new FakeConnection({ codec: breaking({ ...fakeCodec, concat: broken }, 'name', 'read') })
    await play(world, bad, buffered())
    expect(world.faults).toContain("concat of codec 'unnamed'")
  })

  it('is told once for a batch, however many messages it has', () => {
    const world = new World()
    world.connect('bad', new FakeConnection({ codec: codec('encode') }), buffered())
    world.publish(100)
    expect(world.faults).toEqual(["encode of codec 'fake'"])
  })

  it('two clients of one tick: a third that comes later in the list still gets the next messages', () => {
    const world = new World({ policy: bestEffort() })
    world.addHealthy('one')
    world.connect('bad', new FakeConnection({ codec: codec('concat') }))
    world.addHealthy('two')
    for (let i = 0; i < 4; i++) world.publish(2)
    world.check()
    expect(world.hub.getConnectionStats().pending).toBe(0)
  })
})

describe('a connection that throws', () => {
  const measured = dropSlow({ measure: 'wire', timeoutMs: 50, floorRate: 1e9 })
  const cases: [
    keyof Connection & string,
    'call' | 'read' | 'reject',
    FakeConnectionOptions,
    DeliveryPolicy | undefined,
    string,
  ][] = [
    ['write', 'call', {}, buffered(), 'lost'],
    ['write', 'reject', {}, buffered(), 'lost'],
    ['unacknowledged', 'call', WINDOW, measured, 'slow'],
    ['roundTrip', 'call', WINDOW, measured, 'slow'],
    ['unacknowledged', 'call', WINDOW, priority(), 'ended'],
    ['ping', 'call', {}, buffered(), 'ended'],
    ['ping', 'read', {}, buffered(), 'ended'],
    ['ping', 'reject', {}, buffered(), 'ended'],
    ['close', 'call', {}, buffered(), 'ended'],
    ['close', 'reject', {}, buffered(), 'ended'],
    ['holdLittle', 'call', {}, latest(), 'ended'],
    ['holdLittle', 'reject', {}, latest(), 'ended'],
    ['address', 'read', {}, buffered(), 'ended'],
    ['circuit', 'read', {}, buffered(), 'ended'],
  ]

  it.each(cases)('%s (%s)', async (member, how, options, policy, reason) => {
    const world = new World()
    const ends: unknown[] = []
    world.hub.events.on('unregister', ({ id, reason }) => ends.push([id, reason]))
    const bad: Connection = new FakeConnection(options)
    breaking(bad, member, how)
    // Of one that cannot be closed the hub must not write any more; the fake itself must not mind.
    await play(world, bad as FakeConnection, policy)
    expect(world.faults.filter(where => where === `${member} of fake`)).toHaveLength(1)
    expect(ends).toEqual([['bad', reason]])
  })

  const junk = [5n, Symbol('five'), Number.NaN, '5', -1, null, Promise.resolve(5)]
  const amounts = (['unacknowledged', 'roundTrip'] as const).flatMap(member =>
    junk.map(value => [member, value] as const),
  )
  it.each(amounts)('%s answers %o: it counts as unknown, and its client is closed as slow', async (member, value) => {
    const world = new World()
    const bad = Object.defineProperty(new FakeConnection(WINDOW), member, { value: () => value })
    await play(world, bad, measured)
    expect([world.faults, bad.closedFor]).toEqual([[`${member} of fake`], 'slow'])
  })

  it.each(['address', 'circuit'])('%s is no text that the hub knows: it counts as unknown', member => {
    for (const value of [5n, Symbol('five'), {}]) {
      const world = new World()
      world.connect('bad', Object.defineProperty(new FakeConnection(), member, { value }))
      expect(world.hub.getClient('bad')).toMatchObject({ address: undefined, circuit: undefined })
      expect(world.hub.getConnectionStats().circuits).toEqual({ closed: 0, open: 0, 'half-open': 0 })
      world.publish(1)
      expect(world.faults).toEqual([`${member} of fake`])
    }
  })

  it.each(['call', 'reject'] as const)('send (%s): the message fails, and its client is lost', async how => {
    const world = new World()
    const bad = new FakeRequestConnection({ confirms: false })
    breaking(bad, 'send', how)
    await play(world, bad, buffered())
    expect(world.faults).toEqual(['send of fake'])
  })

  it.each(['protocol', 'codec', 'confirms'] as const)(
    '%s (read): it is not registered, and who had the id stays',
    member => {
      const world = new World()
      world.addHealthy('one')
      const bad = new FakeConnection()
      breaking(bad, member, 'read')
      const refusal = /broken|connection cannot be read/
      expect(() => world.hub.registerClient('one', bad)).toThrow(refusal)
      expect(() => world.hub.registerClient('bad', bad)).toThrow(refusal)
      world.publish(2)
      world.check()
      expect(world.hub.getConnectionStats().clients).toBe(1)
    },
  )
})

describe('a connection that answers a ping with nonsense', () => {
  const nonsense: [string, () => unknown][] = [
    ['NaN', () => Number.NaN],
    ['1', () => 1],
    ['yes', () => 'yes'],
    ['a promise', () => Promise.resolve(true)],
    ['a promise that rejects', rejected],
    ['an object', () => ({})],
  ]
  it.each(nonsense)('%s: its peer is not there, and a fault names the protocol', async (_, answerOf) => {
    const world = new World()
    const bad = new FakeConnection()
    const ping = (answer: (active: boolean) => void) => answer(answerOf() as boolean)
    world.connect('bad', Object.assign(bad, { ping }) as FakeConnection)
    expect(await world.hub.isActive('bad')).toBe(false)
    const confirmed = world.hub.send('bad', 'x', { confirm: true })
    world.scheduler.settle()
    await expect(confirmed).rejects.toMatchObject({ code: 'CONNECTION_STALE' })
    expect(world.faults).toEqual(['ping of fake'])
  })
})

describe('a policy that throws', () => {
  /** All that a policy has, over one that defers. */
  const whole = (): DeliveryPolicy => ({
    name: 'own',
    backlog: { kind: 'log', bytes: 1e6, messages: 1000, overflow: 'close' },
    measure: 'queue',
    confirm: false,
    stepwise: false,
    open: () => ({}),
    admit: link => (link.writable ? 'send' : 'defer'),
    wake: () => 'wait',
    describe: () => ({ name: 'own' }),
  })
  const members: [keyof DeliveryPolicy & string, 'call' | 'read' | 'reject'][] = [
    ['open', 'call'],
    ['open', 'reject'],
    ['admit', 'call'],
    ['admit', 'reject'],
    ['wake', 'call'],
    ['wake', 'reject'],
    ['describe', 'call'],
    ['describe', 'reject'],
    ['measure', 'read'],
    ['confirm', 'read'],
    ['stepwise', 'read'],
  ]

  it.each(members)('%s (%s)', async (member, how) => {
    const world = new World()
    await play(world, new FakeConnection(WINDOW), breaking(whole(), member, how))
    expect(world.faults).toContain("policy 'own'")
  })

  it.each(['open', 'admit', 'wake', 'describe', 'name', 'backlog'] as const)(
    '%s (read): the call rejects the policy, and nothing changes',
    member => {
      const world = new World()
      world.addHealthy('one')
      const bad = new FakeConnection()
      bad.client = world.hub.registerClient('bad', bad)
      const policy = breaking(whole(), member, 'read')
      const refusal = expect.objectContaining({ code: 'POLICY_INVALID' })
      expect(() => world.hub.subscribe('bad', 't', { policy })).toThrow(refusal)
      expect(() => world.hub.setDeliveryPolicy('t', policy)).toThrow(refusal)
      expect(() => world.hub.setClientPolicy('bad', policy)).toThrow(refusal)
      world.publish(3)
      world.check()
      expect(world.hub.getDeliveryPolicy('t').name).toBe('buffered')
      expect(bad.seqs()).toEqual([])
    },
  )

  const noTimes = [5n, Symbol('five'), Number.NaN, '5', null, undefined, {}]
  it.each(noTimes)('sets wakeAt to %o: it is asked again, and the others never notice', async value => {
    const world = new World()
    let asked = 0
    const wake: DeliveryPolicy['wake'] = link => {
      asked++
      link.wakeAt = value as number
      return 'wait'
    }
    await play(world, new FakeConnection(WINDOW), { ...whole(), wake })
    expect([asked > 1, new Set(world.faults)]).toEqual([true, new Set(["policy 'own'"])])
  })

  it.each([
    ['messages', 5n, 'got one whose backlog.messages is 5: it must be a number of at least 0'],
    ['bytes', Number.NaN, 'got one whose backlog.bytes is NaN: it must be a number of at least 0'],
    ['overflow', 'burst', 'got one whose backlog.overflow is "burst": it must be one of "drop-oldest"'],
  ])('backlog.%s is wrong: the call rejects the policy', (part, value, why) => {
    const policy = { ...whole(), backlog: { ...whole().backlog, [part]: value } } as DeliveryPolicy
    const world = new World()
    expect(() => world.hub.setDeliveryPolicy('t', policy)).toThrow(why)
  })

  const circular: { name: string; self?: unknown } = { name: 'own' }
  circular.self = circular
  const noDescriptions = [
    ['no object', 5n],
    ['a list', []],
    ['an object without a name', {}],
    ['a circle', circular],
    ['a BigInt inside', { name: 'own', bytes: 5n }],
  ] as [string, { name: string }][]

  it.each(noDescriptions)('describe answers %s: its name stands for it, and a fault is told', (_, description) => {
    const world = new World()
    const policy = { ...whole(), describe: () => description }
    world.connect('bad', new FakeConnection(), policy)
    expect(world.hub.explainPolicy('bad', 't').policy).toEqual({ name: 'own' })
    world.hub.setDeliveryPolicy('t', policy)
    const told = [...world.hub.getActiveClients(), ...world.hub.getTopics(), world.hub.getConnectionStats()]
    expect(JSON.stringify(told)).toContain('"policy":{"name":"own"}')
    world.publish(1)
    // Once, however many clients have it and however often they are listed.
    expect(world.faults).toEqual(["policy 'own'"])
  })

  it.each(members)('%s (%s), as the policy of the topic itself', (member, how) => {
    const world = new World()
    world.addHealthy('own-wish')
    world.connect('bad', new FakeConnection(WINDOW))
    world.hub.setDeliveryPolicy('t', breaking(whole(), member, how))
    for (let i = 0; i < 5; i++) {
      world.publish(3)
      world.scheduler.advance(100)
      world.check()
    }
    world.look()
    expect(world.faults.length).toBeGreaterThan(0)
  })

  it('describe answers a circle: a rule and a topic are told with its name', () => {
    const policy = { ...whole(), describe: () => circular }
    const spec = openTopics({ policy }).resolve('t')
    expect([describeRule({ policy }).policy, describeSpec(spec, policy).policy]).toEqual([
      { name: 'own' },
      { name: 'own' },
    ])
  })

  const decorators: [string, (inner: DeliveryPolicy) => DeliveryPolicy][] = [
    ['rate-limit', inner => rateLimit({ messages: 1000 }, inner)],
    ['priority', inner => priority({}, inner)],
  ]

  const calls = members.filter(([, how]) => how !== 'read')
  describe.each(decorators)('inside of %s', (name, decorate) => {
    it.each(calls)('%s (%s)', async (member, how) => {
      const world = new World()
      await play(world, new FakeConnection(WINDOW), decorate(breaking(whole(), member, how)))
      expect(world.faults).toContain(`policy '${name}+own'`)
    })
  })

  describe.each(decorators)('inside of %s', (name, decorate) => {
    it.each(noDescriptions)('describe answers %s: a fault is told', (_, description) => {
      const world = new World()
      world.connect('bad', new FakeConnection(), decorate({ ...whole(), describe: () => description }))
      expect(world.hub.explainPolicy('bad', 't').policy).toEqual({ name: `${name}+own` })
      world.scheduler.settle()
      expect(new Set(world.faults)).toEqual(new Set([`policy '${name}+own'`]))
    })
  })

  it.each(decorators)('once, inside of %s: it loses one message, and no more', (_, decorate) => {
    const world = new World()
    let calls = 0
    const inner = { ...whole(), admit: () => (++calls === 2 ? broken() : 'send') } satisfies DeliveryPolicy
    const bad = new FakeConnection()
    world.connect('bad', bad, decorate(inner))
    for (let i = 0; i < 8; i++) world.publish(1)
    expect(bad.seqs()).toEqual([1, 3, 4, 5, 6, 7, 8])
    expect(world.hub.getSubscription('bad', 't')).toMatchObject({ delivered: 7, dropped: 1, pending: 0 })
  })

  it.each(decorators)('once in wake, inside of %s: its link goes on', (_, decorate) => {
    const world = new World()
    let calls = 0
    const wake = () => (++calls === 1 ? broken() : ('wait' as const))
    const bad = new FakeConnection(WINDOW)
    world.connect('bad', bad, decorate({ ...whole(), wake } satisfies DeliveryPolicy))
    for (let i = 0; i < 8; i++) world.publish(1, 300)
    world.scheduler.advance(500)
    for (let i = 0; i < 8; i++) {
      bad.read()
      world.scheduler.advance(100)
    }
    expect(calls).toBeGreaterThan(1)
    expect(bad.seqs()).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
  })

  it('a state that the inner policy replaces is its own, inside of rate-limit', () => {
    const world = new World()
    const seen: unknown[] = []
    const inner: DeliveryPolicy = {
      ...whole(),
      open: () => 0,
      admit(link) {
        seen.push(link.state)
        link.state = (link.state as number) + 1
        return 'send'
      },
    }
    world.connect('one', new FakeConnection(), rateLimit({ messages: 1000 }, inner))
    for (let i = 0; i < 3; i++) world.publish(1)
    expect(seen).toEqual([0, 1, 2])
  })

  it('described, where a topic allows only some: it is not allowed, and a publisher to a new topic never notices', () => {
    const world = new World({ topics: openTopics({ allowedPolicies: ['latest'] }) })
    const bad = new FakeConnection()
    bad.client = world.hub.registerClient('bad', bad)
    world.hub.subscribePattern('bad', '**', { policy: breaking(whole(), 'describe', 'call') })
    world.publish(2)
    expect([bad.seqs(), world.faults]).toEqual([[1, 2], ["policy 'own'"]])
    world.hub.refreshTopics()
    world.publish(1)
    expect(bad.seqs()).toEqual([1, 2, 3])
  })
})

describe('a policy without a description, where a topic allows only some', () => {
  const circle: Record<string, unknown> = { name: 'latest' }
  circle.inner = circle
  it.each<[string, () => unknown]>([
    ['a circle', () => circle],
    ['a BigInt', () => ({ name: 'latest', bytes: 5n })],
    ['an error', broken],
    ['a promise that rejects', rejected],
  ])('%s: the call refuses it, and a standing order tells a fault', (_, describe) => {
    const policy = { ...latest(), describe } as DeliveryPolicy
    const world = new World({ topics: openTopics({ allowedPolicies: ['latest'] }) })
    const bad = new FakeConnection()
    bad.client = world.hub.registerClient('bad', bad)
    const refusal = expect.objectContaining({ code: 'POLICY_INVALID', message: expect.stringContaining("'latest'") })
    expect(() => world.hub.subscribe('bad', 'a', { policy })).toThrow(refusal)
    world.hub.subscribe('bad', 'a')
    expect(() => world.hub.setClientPolicy('bad', policy)).toThrow(refusal)
    world.hub.subscribePattern('bad', '**', { policy })
    world.publish(1)
    expect([bad.seqs(), world.faults]).toEqual([[1], ["policy 'latest'"]])
  })
})

describe('an observer that throws', () => {
  it.each([broken, rejected])('watcher (%o): what happens to its client goes on', async watcher => {
    const world = new World()
    world.addHealthy('before')
    world.connect('bad', new FakeConnection(WINDOW), buffered())
    world.addHealthy('after')
    world.hub.watch('bad', watcher)
    await world.run(new FakeConnection())
    expect(new Set(world.faults)).toEqual(new Set(['watcher']))
  })

  const events: (keyof HubEvents)[] = [
    ...(['register', 'unregister', 'subscribe', 'unsubscribe', 'gap', 'session', 'wish'] as const),
    ...(['subscribePattern', 'unsubscribePattern'] as const),
  ]
  it.each(events)('handler of %s: the others hear it, and the call succeeds', event => {
    const world = new World()
    let heard = 0
    world.hub.events.on(event, broken)
    // biome-ignore lint/nursery/noMisusedPromises: what the hub does about a handler that rejects is the question
    world.hub.events.on(event, () => Promise.reject(new Error('later')))
    world.hub.events.on(event, () => void heard++)
    world.addHealthy('before')
    const bad = new FakeConnection({ window: 10 })
    world.connect('bad', bad, bestEffort())
    world.addHealthy('after')
    world.hub.subscribe('bad', 't', { policy: bestEffort() })
    for (let i = 0; i < 5; i++) world.publish(2)
    bad.read()
    world.scheduler.advance(100)
    world.hub.setSession('bad', { user: undefined })
    world.hub.subscribePattern('bad', 'x/*')
    world.hub.unsubscribePattern('bad', 'x/*')
    world.hub.unregisterClient('bad')
    world.scheduler.advance(100)
    world.check()
    expect(heard).toBeGreaterThan(0)
    expect(world.faults).toContain(`listener of '${event}'`)
  })

  it('handler of fault: it is not told of its own', () => {
    const world = new World()
    world.hub.events.on('fault', broken)
    world.connect('bad', new FakeConnection({ codec: { ...fakeCodec, encode: broken } }))
    world.addHealthy('one')
    world.publish(2)
    world.check()
    expect(world.faults).toEqual(["encode of codec 'fake'"])
  })

  it('settled of post, inside of a flush: the rest of the flush goes on', () => {
    const world = new World()
    world.connect('bad', new FakeConnection())
    world.addHealthy('one')
    const payload = Buffer.from('x')
    const direct = new Direct({ id: '1', payload, contentType: 'text/plain', correlationId: undefined })
    world.hub.post('bad', direct, broken)
    world.publish(3)
    world.check()
    expect([world.faults, world.hub.getConnectionStats().pending]).toEqual([['settled of post'], 0])
  })

  it('begun: the caller hears it, and the subscription is not there', () => {
    const world = new World()
    world.addHealthy('one')
    const bad = new FakeConnection()
    bad.client = world.hub.registerClient('bad', bad)
    expect(() => world.hub.subscribe('bad', 't', { begun: broken })).toThrow('broken')
    expect(world.hub.getSubscription('bad', 't')).toBeUndefined()
    world.publish(2)
    world.check()
    expect(bad.seqs()).toEqual([])
  })
})

describe('a topic registry that throws', () => {
  const failing = (error: Error): TopicRegistry & { fails: boolean } => {
    const topics = openTopics()
    return {
      fails: false,
      resolve(name) {
        if (this.fails || name === 'bad') throw error
        return topics.resolve(name)
      },
    }
  }

  it('resolve: whoever names the topic hears it', () => {
    const topics = failing(new Error('broken'))
    const world = new World({ topics })
    world.addHealthy('one')
    expect(() => world.hub.subscribe('one', 'bad')).toThrow('broken')
    expect(() => world.hub.routeData('bad', Buffer.from('x'))).toThrow('broken')
    expect(() => world.hub.history('bad')).toThrow('broken')
    world.publish(2)
    world.check()
  })

  it('resolve, when the rules have changed: topics stay as they are, and a fault is told', () => {
    const topics = failing(new Error('broken'))
    const world = new World({ topics })
    world.addHealthy('one')
    topics.fails = true
    world.hub.refreshTopics()
    world.publish(2)
    world.check()
    expect(world.faults).toEqual(['topic registry'])
  })

  it('resolve, when the rules say that there is no such topic any more: it ends', () => {
    const topics = failing(new HubError('TOPIC_UNKNOWN', 'topic: there is none'))
    const world = new World({ topics })
    world.addHealthy('one')
    topics.fails = true
    world.hub.refreshTopics()
    expect(world.hub.getSubscription('one', 't')).toBeUndefined()
    expect(world.faults).toEqual([])
  })

  const junk: [string, unknown, string][] = [
    ['nothing', undefined, 'it must be an object, got undefined'],
    ['a promise', Promise.resolve(), 'resolve must answer at once, got a promise'],
    ['a promise that rejects', rejected, 'resolve must answer at once, got a promise'],
    ['another topic', { name: 't' }, 'name must be "bad", got "t"'],
    ['no limit', { name: 'bad' }, 'maxMessageBytes must be a number of at least 0, got undefined'],
    ['no history', { name: 'bad', maxMessageBytes: 9 }, 'history must be an object, got undefined'],
    [
      'half a history',
      { name: 'bad', maxMessageBytes: 9, history: { messages: 1, bytes: Number.NaN, ageMs: 1 } },
      'history.bytes must be a number of at least 0, got NaN',
    ],
    [
      'a wrong policy',
      { ...openTopics().resolve('bad'), policy: 'latest' },
      'policy must be a delivery policy, got the name',
    ],
    ['a wrong priority', { ...openTopics().resolve('bad'), priority: 5 }, 'priority must be one of "high", "normal"'],
    ['a getter that throws', breaking({ name: 'bad' }, 'name', 'read'), 'name cannot be read: its getter throws'],
  ]
  const junkOf = (answer: unknown): unknown => (typeof answer === 'function' ? answer() : answer)
  it.each(junk)('resolve that answers %s: whoever names the topic is told the field', (_, answer, why) => {
    const good = openTopics()
    const world = new World({
      topics: { resolve: name => (name === 'bad' ? junkOf(answer) : good.resolve(name)) as TopicSpec },
    })
    world.addHealthy('one')
    const told = expect.objectContaining({
      code: 'INTERNAL',
      message: expect.stringContaining(`topic registry: the answer for "bad": ${why}`),
    })
    for (const call of [
      () => world.hub.subscribe('one', 'bad'),
      () => world.hub.routeData('bad', Buffer.from('x')),
      () => world.hub.resolveTopic('bad'),
    ]) {
      expect(call).toThrow(told)
    }
    world.publish(2)
    world.check()
  })

  it('resolve that answers junk when the rules have changed: topics stay as they are, and a fault is told', () => {
    const good = openTopics()
    let isJunk = false
    const world = new World({ topics: { resolve: name => (isJunk ? {} : good.resolve(name)) as TopicSpec } })
    world.addHealthy('one')
    isJunk = true
    world.hub.refreshTopics()
    world.publish(2)
    world.check()
    expect(world.faults).toEqual(['topic registry'])
  })

  it.each([
    ['at once', broken],
    ['later', rejected as () => Promise<never> & string],
  ])('check (%s): the publisher is refused', (_, fails) => {
    const world = new World({ topics: openTopics({}, { checked: { check: fails } }) })
    world.addHealthy('one')
    expect(() => world.hub.routeData('checked', Buffer.from('x'))).toThrow(/failed on it/)
    world.publish(2)
    world.check()
  })
})

describe('a broker that throws', () => {
  const local = (): Broker & { sink?: Parameters<Broker['start']>[0] } => ({
    name: 'own',
    start(sink) {
      this.sink = sink
    },
    publish(publication) {
      return this.sink!(publication)
    },
    join() {},
    leave() {},
    close() {},
  })
  const later = async (): Promise<never> => broken()

  it.each([
    ['at once', broken],
    ['later', later],
  ])('join and leave (%s): the subscription is there and gone again, and its handlers hear of it', async (_, fails) => {
    const world = new World({ broker: { ...local(), join: fails, leave: fails } })
    const events: string[] = []
    for (const event of ['subscribe', 'unsubscribe', 'unregister'] as const) {
      world.hub.events.on(event, () => void events.push(event))
    }
    world.addHealthy('one')
    world.publish(2)
    world.check()
    world.hub.unsubscribe('one', 't')
    world.hub.subscribe('one', 't')
    world.hub.unregisterClient('one')
    world.scheduler.settle()
    await new Promise(setImmediate)
    expect(world.healthy[0]!.closedFor).toBe('peer')
    expect(world.faults).toEqual(['broker join', 'broker leave', 'broker join', 'broker leave'])
    expect(events).toEqual(['subscribe', 'unsubscribe', 'subscribe', 'unsubscribe', 'unregister'])
  })

  it('publish: the publisher hears it', async () => {
    const world = new World({ broker: { ...local(), publish: broken } })
    expect(() => world.hub.publishBytes('t', Buffer.from('x'))).toThrow('broken')
    const slow = new World({ broker: { ...local(), publish: later } })
    await expect(slow.hub.publishBytes('t', Buffer.from('x'))).rejects.toThrow('broken')
  })

  it('start: at once, there is no hub; later, a fault is told', async () => {
    expect(() => new World({ broker: { ...local(), start: broken } })).toThrow('broken')
    const world = new World({ broker: { ...local(), start: later } })
    await new Promise(setImmediate)
    expect(world.faults).toEqual(['broker start'])
  })

  it.each([
    ['at once', broken],
    ['later', later],
    // biome-ignore lint/suspicious/noThenProperty: a promise of another library is the question
    ['in a promise of another library', () => ({ then: (_: unknown, failed: (error: unknown) => void) => failed(0) })],
  ] as [string, () => Promise<void>][])('close (%s): the hub is closed, and a fault is told', async (_, fails) => {
    const world = new World({ broker: { ...local(), close: fails } })
    world.addHealthy('one')
    await world.hub.close()
    expect(world.healthy[0]!.closedFor).toBe('shutdown')
    expect(world.faults).toEqual(['broker close'])
    const other = new World({ broker: { ...local(), close: fails } })
    const { outcome } = await other.hub.shutdown()
    expect([outcome, other.faults]).toEqual(['drained', ['broker close']])
  })

  it.each(['close', 'shutdown'] as const)('close (never ends): %s ends in time, and a fault is told', async how => {
    const world = new World({ broker: { ...local(), close: () => new Promise<void>(() => {}) } })
    const ms = how === 'close' ? 10_000 : 500
    let isOver = false
    const ended = how === 'close' ? world.hub.close() : world.hub.shutdown({ deadlineMs: ms })
    void ended.then(() => {
      isOver = true
    })
    await new Promise(setImmediate)
    world.scheduler.advance(ms - 1)
    await new Promise(setImmediate)
    expect([isOver, world.faults]).toEqual([false, []])
    world.scheduler.advance(1)
    await new Promise(setImmediate)
    world.scheduler.settle()
    await new Promise(setImmediate)
    expect([isOver, world.faults, world.scheduler.timers]).toEqual([true, ['broker close'], 0])
  })

  it('close (never ends): the fault has whole milliseconds', async () => {
    const world = new World({ broker: { ...local(), close: () => new Promise<void>(() => {}) } })
    const told: unknown[] = []
    world.hub.events.on('fault', ({ error }) => told.push((error as Error).message))
    const ended = world.hub.close(546.7412)
    world.scheduler.advance(547)
    await ended
    expect(told).toEqual(['broker: close has not ended after 547 ms'])
  })

  it('close (never ends): the signal of a shutdown ends the waiting', async () => {
    const world = new World({ broker: { ...local(), close: () => new Promise<void>(() => {}) } })
    const cut = new AbortController()
    const ended = world.hub.shutdown({ signal: cut.signal })
    await new Promise(setImmediate)
    cut.abort()
    await new Promise(setImmediate)
    world.scheduler.settle()
    expect(await ended).toMatchObject({ outcome: 'drained' })
    world.scheduler.advance(30_000)
    await new Promise(setImmediate)
    expect(world.faults).toEqual(['broker close'])
  })
})
