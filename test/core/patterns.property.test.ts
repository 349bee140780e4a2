import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { parseTopicName } from '../../src/core/ids.ts'
import { matches, parsePattern } from '../../src/core/patterns.ts'
import type { Session } from '../../src/core/sessions.ts'
import { DEFAULT_HISTORY, type Priority } from '../../src/core/topics.ts'
import { createHub } from '../../src/hub.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { expectPositionsAlone } from '../positions-alone.ts'
import { runs } from '../property-runs.ts'

const TOPICS = ['a', 'a/b', 'a/c', 'b/c', 'a/b/c']
const PATTERNS = ['*', '**', 'a/*', '*/c', 'a/**', 'a/b', '*/*', '*/b/*']
const CLIENTS: readonly [string, Session][] = [
  ['c0', {}],
  ['c1', { user: 'ann' }],
  ['c2', { backend: true }],
]
const RULES = [
  {},
  { wildcards: false },
  { subscribe: 'users', wildcards: true },
  { subscribe: 'nobody' },
  { priority: 'bulk' as Priority, lingerMs: 20 },
  'unknown',
] as const

const client = fc.nat({ max: CLIENTS.length - 1 })
const topic = fc.constantFrom(...TOPICS)
const pattern = fc.constantFrom(...PATTERNS)
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant('publish' as const), topic }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('subscribe' as const), client, topic }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('unsubscribe' as const), client, topic }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('order' as const), client, pattern }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cancel' as const), client, pattern }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('rule' as const), topic, rule: fc.nat({ max: RULES.length - 1 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('refresh' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('gone' as const), client }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(0, 30, 1500, 61_500, 130_000) }),
  },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

/** A hub whose clients take everything, and who of them was owed what. */
class World {
  readonly clock = new ManualScheduler()
  /** What the registry would say now; the hub may not have been told. */
  readonly rules = new Map<string, (typeof RULES)[number]>()
  readonly hub = createHub({
    scheduler: this.clock,
    topics: {
      resolve: input => {
        const name = parseTopicName(input)
        const rule = this.rules.get(name) ?? {}
        if (rule === 'unknown') throw new HubError('TOPIC_UNKNOWN', `topic: ${name} is unknown`)
        return { name, history: DEFAULT_HISTORY, maxMessageBytes: 1000, ...rule }
      },
    },
  })
  readonly connections: FakeConnection[] = []
  /** By client and topic: what it is owed, in order. A client that comes back is owed nothing of before. */
  owed: Map<string, string[]>[] = []
  readonly faults: unknown[] = []
  number = 0

  constructor() {
    this.hub.events.on('fault', ({ error }) => this.faults.push(error))
    for (const index of CLIENTS.keys()) this.connect(index)
  }

  connect(index: number): void {
    const [id, session] = CLIENTS[index]!
    const connection = new FakeConnection()
    this.connections[index] = connection
    this.owed[index] = new Map()
    connection.client = this.hub.registerClient(id, connection, { session })
  }

  id(index: number): string {
    if (this.connections[index]!.closedFor !== undefined) this.connect(index)
    return CLIENTS[index]![0]
  }

  /** A refusal by rule is no fault. */
  allow<T>(act: () => T, ...codes: string[]): T | undefined {
    try {
      return act()
    } catch (error) {
      expect(codes).toContain((error as HubError).code ?? error)
      return undefined
    }
  }

  owe(index: number, topic: string, text: string): void {
    const { owed } = this
    owed[index]!.set(topic, [...(owed[index]!.get(topic) ?? []), text])
  }

  /** Each message that a client was owed came once, in order of its topic, and nothing else came. */
  checkReceived(): void {
    this.clock.settle()
    this.clock.advance(30)
    for (const [index, connection] of this.connections.entries()) {
      if (connection.closedFor !== undefined) continue
      for (const topic of TOPICS) {
        const came = connection.received.flatMap(each =>
          each.kind === 'message' && each.topic === topic ? [each.text] : [],
        )
        expect({ index, topic, came }).toEqual({ index, topic, came: this.owed[index]!.get(topic) ?? [] })
      }
      expect(connection.gaps()).toEqual([])
    }
  }

  /** I6, and the counts of orders: what each says that it matches is what is there for it. */
  checkBooks(): void {
    let patterns = 0
    for (const { id, subscriptions, patterns: orders } of this.hub.getActiveClients()) {
      patterns += orders.length
      const named = orders.map(({ pattern }) => pattern)
      for (const pattern of named) {
        const there = subscriptions.filter(each => each.pattern === pattern).length
        expect(this.hub.subscribePattern(id, pattern).topics).toBe(there)
      }
      for (const { published, delivered, dropped, pending, pattern } of subscriptions) {
        expect(delivered + dropped + pending).toBe(published)
        if (pattern !== undefined) expect(named).toContain(pattern)
      }
    }
    expect(this.hub.getConnectionStats().patterns).toBe(patterns)
  }

  /** What is named and what patterns bring is told apart to the end: by the limit, which counts the named alone. */
  checkNamed(index: number): void {
    const id = this.id(index)
    const named = this.hub.getClient(id).subscriptions.filter(({ pattern }) => pattern === undefined).length
    this.hub.setLimits({ maxSubscriptionsPerClient: named + 1 })
    this.hub.subscribe(id, 'fresh/1/2/3/4')
    expect(() => this.hub.subscribe(id, 'fresh/1/2/3/5')).toThrow(/subscriptions of one client/)
    this.hub.unsubscribe(id, 'fresh/1/2/3/4')
    this.hub.setLimits({ maxSubscriptionsPerClient: 100 })
  }

  checkNothingLeft(): void {
    this.hub.events.removeAllListeners()
    for (const [id] of CLIENTS) this.hub.unregisterClient(id)
    this.clock.advance(130_000)
    const nothing = { topics: 0, subscriptions: 0, patterns: 0, clients: 0, pending: 0 }
    expect(this.hub.getConnectionStats()).toMatchObject(nothing)
    expectPositionsAlone(this.hub)
    expect(this.clock.timers).toBe(1)
    expect(this.faults).toEqual([])
  }
}

/** The model: plain sets, and for each question a search through all of them. */
class Model {
  readonly named = CLIENTS.map(() => new Set<string>())
  readonly orders = CLIENTS.map(() => new Set<string>())

  isOpen(world: World, index: number, topic: string): boolean {
    const rule = world.rules.get(topic) ?? {}
    if (rule === 'unknown') return false
    const { subscribe = 'anyone' } = rule as { subscribe?: string }
    const [, session] = CLIENTS[index]!
    return subscribe === 'anyone' || session.backend === true || (subscribe === 'users' && session.user !== undefined)
  }

  isMember(world: World, index: number, topic: string): boolean {
    if (this.named[index]!.has(topic)) return true
    const rule = world.rules.get(topic) ?? {}
    if (!this.isOpen(world, index, topic) || rule === 'unknown') return false
    const { wildcards = !('subscribe' in rule) } = rule as { wildcards?: boolean }
    const name = parseTopicName(topic)
    return wildcards && [...this.orders[index]!].some(pattern => matches(parsePattern(pattern), name))
  }
}

function play(world: World, model: Model, step: Step): void {
  const { hub } = world
  switch (step.do) {
    case 'publish': {
      const text = `${world.number++}`
      const result = world.allow(() => hub.routeData(step.topic, Buffer.from(text)), 'TOPIC_UNKNOWN')
      const members = [...CLIENTS.keys()].filter(index => model.isMember(world, index, step.topic))
      if (result === undefined) expect(members).toEqual([])
      else expect(result.matched).toBe(members.length)
      for (const index of members) world.owe(index, step.topic, text)
      break
    }
    case 'subscribe':
      // The gate would not let it through.
      if (!model.isOpen(world, step.client, step.topic)) break
      if (world.allow(() => hub.subscribe(world.id(step.client), step.topic))) {
        model.named[step.client]!.add(step.topic)
      }
      break
    case 'unsubscribe':
      expect(hub.unsubscribe(world.id(step.client), step.topic)).toBe(model.named[step.client]!.delete(step.topic))
      break
    case 'order':
      hub.subscribePattern(world.id(step.client), step.pattern)
      model.orders[step.client]!.add(step.pattern)
      break
    case 'cancel':
      expect(hub.unsubscribePattern(world.id(step.client), step.pattern)).toBe(
        model.orders[step.client]!.delete(step.pattern),
      )
      break
    case 'rule':
      // Told at once: what the registry says of topics that are not in use is heard as it is.
      world.rules.set(step.topic, RULES[step.rule]!)
      hub.refreshTopics()
      for (const index of CLIENTS.keys()) {
        if (!model.isOpen(world, index, step.topic)) model.named[index]!.delete(step.topic)
      }
      break
    case 'refresh':
      hub.refreshTopics()
      break
    case 'gone':
      world.checkReceived()
      hub.unregisterClient(CLIENTS[step.client]![0])
      model.named[step.client]!.clear()
      model.orders[step.client]!.clear()
      break
    case 'wait':
      world.clock.advance(step.ms)
  }
}

function checkMembers(world: World, model: Model): void {
  for (const [index, [id]] of CLIENTS.entries()) {
    if (world.connections[index]!.closedFor !== undefined) continue
    const there = world.hub.getClient(id).subscriptions.map(each => each.topic as string)
    const members = TOPICS.filter(topic => world.hub.getTopic(topic) && model.isMember(world, index, topic))
    expect(there.sort()).toEqual(members.sort())
    // Nobody loses what he named.
    for (const topic of model.named[index]!) expect(there).toContain(topic)
  }
}

const RUNS = runs(500)

describe('names and patterns of topics (I2, I6)', () => {
  it('each client gets each message of what it named or a pattern of its matches, once and in order', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), steps => {
        const world = new World()
        const model = new Model()
        for (const step of steps) {
          play(world, model, step)
          checkMembers(world, model)
          world.checkBooks()
        }
        world.checkReceived()
        for (const index of CLIENTS.keys()) world.checkNamed(index)
        world.checkNothingLeft()
      }),
      RUNS,
    )
  })

  it('holds against what the hub itself has told, where handlers of its events change everything', () => {
    const hook = fc.record({
      event: fc.constantFrom(
        ...(['subscribe', 'unsubscribe', 'subscribePattern', 'unsubscribePattern', 'unregister'] as const),
      ),
      steps: fc.array(step, { minLength: 1, maxLength: 3 }),
    })
    const actions = fc.array(fc.oneof({ weight: 3, arbitrary: step }, { weight: 1, arbitrary: hook }), {
      maxLength: 50,
    })
    fc.assert(
      fc.property(actions, all => {
        const world = new World()
        const { hub } = world
        /** Who is on which topic, as its events say: `client topic`. */
        const told = new Set<string>()
        hub.events.on('subscribe', ({ id, topic }) => told.add(`${id} ${topic}`))
        hub.events.on('unsubscribe', ({ id, topic }) => told.delete(`${id} ${topic}`))
        let depth = 0
        const act = (step: Step): void => {
          // A handler that causes itself has to end somewhere.
          if (depth >= 4) return
          // No handler moves the clock: the one that is on its way would come back to an earlier time.
          if (depth > 0 && step.do === 'wait') return
          depth++
          try {
            tell(world, step)
          } finally {
            depth--
          }
        }
        for (const action of all) {
          if ('event' in action) hub.events.once(action.event, () => action.steps.forEach(act))
          else act(action)
          world.checkBooks()
          const there = [...hub.getActiveClients()].flatMap(({ id, subscriptions }) =>
            subscriptions.map(({ topic }) => `${id} ${topic}`),
          )
          expect([...told].sort()).toEqual(there.sort())
        }
        world.checkReceived()
        world.checkNothingLeft()
      }),
      RUNS,
    )
  })
})

/**
 * As `play`, without a model: whoever is on a topic when a message is routed is owed it. Not whoever was told so: while a topic ends, its
 * clients are told one after the other, and a handler of the first may publish to the name before the last has heard.
 */
function tell(world: World, step: Step): void {
  const { hub } = world
  switch (step.do) {
    case 'publish': {
      const text = `${world.number++}`
      if (!world.allow(() => hub.routeData(step.topic, Buffer.from(text)), 'TOPIC_UNKNOWN')) return
      for (const [index, [id]] of CLIENTS.entries()) {
        const open = world.connections[index]!.closedFor === undefined
        if (open && hub.getSubscription(id, step.topic)) world.owe(index, step.topic, text)
      }
      break
    }
    case 'subscribe':
      world.allow(() => hub.subscribe(world.id(step.client), step.topic), 'TOPIC_UNKNOWN', 'CONNECTION_NOT_FOUND')
      break
    case 'unsubscribe':
      hub.unsubscribe(world.id(step.client), step.topic)
      break
    case 'order':
      hub.subscribePattern(world.id(step.client), step.pattern)
      break
    case 'cancel':
      hub.unsubscribePattern(world.id(step.client), step.pattern)
      break
    case 'rule':
      world.rules.set(step.topic, RULES[step.rule]!)
      hub.refreshTopics()
      break
    case 'refresh':
      hub.refreshTopics()
      break
    case 'gone':
      hub.unregisterClient(CLIENTS[step.client]![0])
      break
    case 'wait':
      world.clock.advance(step.ms)
  }
}
