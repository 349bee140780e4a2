import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Codec } from '../../src/core/message.ts'
import type { DeliveryPolicy } from '../../src/core/policy.ts'
import type { Priority } from '../../src/core/topics.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { latest } from '../../src/policies/latest.ts'
import { priority } from '../../src/policies/priority.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import { reliable } from '../../src/policies/reliable.ts'
import { FakeConnection, type FakeConnectionOptions } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { runs } from '../property-runs.ts'

/** Frames are payloads, so that a byte of one is a byte of the other. */
const plain: Codec = {
  name: 'plain',
  encode: ({ payload }) => payload,
  concat: (frames, bytes) => Buffer.concat(frames, bytes),
}
/** What may be under way. */
const SOCKET = 1000
const RULES = { high: { priority: 'high' }, bulk: { priority: 'bulk' }, loud: { priority: 'bulk' } } as const

/** One written message, and the bytes that the peer had not read by then. */
interface Written {
  readonly topic: string
  readonly number: number
  readonly bytes: number
  readonly ahead: number
}

class Wire extends FakeConnection {
  readonly written: Written[] = []

  constructor(options: FakeConnectionOptions = {}) {
    super({ codec: plain, window: 1e9, ...options })
  }

  override write(frame: Uint8Array, more: boolean) {
    let ahead = this.unread
    for (const line of Buffer.from(frame).toString().split('\n').slice(0, -1)) {
      const [topic, number] = line.split(' ') as [string, string]
      const bytes = line.length + 1
      this.written.push({ topic, number: Number(number), bytes, ahead })
      ahead += bytes
    }
    return super.write(frame, more)
  }

  /** Topics in order of writing, from a place on. */
  topics(from = 0): string[] {
    return this.written.slice(from).map(({ topic }) => topic)
  }
}

let hub: Hub
let clock: ManualScheduler
let numbers: number

beforeEach(() => {
  clock = new ManualScheduler()
  hub = createHub({ scheduler: clock, topics: openTopics({}, RULES), policy: priority({ socketBytes: SOCKET }) })
  numbers = 0
})

function connect(topics: readonly string[], options: FakeConnectionOptions = {}, id = 'c'): Wire {
  const wire = new Wire(options)
  wire.client = hub.registerClient(id, wire)
  for (const topic of topics) hub.subscribe(id, topic)
  return wire
}

function publish(topic: string, bytes: number): number {
  const number = numbers++
  hub.routeData(topic, Buffer.from(`${`${topic} ${number} `.padEnd(bytes - 1, '.')}\n`))
  return number
}

/** One message a tick. */
function each(topic: string, bytes: number, count: number): void {
  for (let i = 0; i < count; i++) {
    publish(topic, bytes)
    clock.settle()
  }
}

/** Its peer reads everything that is there, until nothing more comes. */
function readAll(wire: Wire): void {
  for (let quiet = 0; quiet < 3; ) {
    const before = wire.written.length
    wire.read()
    clock.advance(25)
    quiet = wire.written.length > before ? 0 : quiet + 1
  }
}

describe('a client that is behind', () => {
  it('gets what is control first, then high, normal and bulk, whatever came first', () => {
    const wire = connect(['bulk', 'normal', 'high'], { window: SOCKET })
    each('bulk', 200, 10)
    each('normal', 200, 3)
    each('high', 200, 3)
    const before = wire.written.length
    wire.client!.send(Buffer.from('control 0\n'))
    clock.settle()
    wire.read()
    clock.advance(25)
    readAll(wire)
    const after = wire.topics(before)
    expect(after[0]).toBe('control')
    const rest = after.filter(topic => topic !== 'control')
    expect(rest.lastIndexOf('high')).toBeLessThan(rest.indexOf('normal'))
    expect(rest.lastIndexOf('normal')).toBeLessThan(rest.indexOf('bulk'))
    expect(wire.topics().filter(topic => topic === 'bulk')).toHaveLength(10)
  })

  it('the same where its policies know nothing of priorities, of what waits in this process', () => {
    hub = createHub({ scheduler: clock, topics: openTopics({}, RULES), policy: buffered() })
    const wire = connect(['bulk', 'normal', 'high'], { window: 100 })
    each('bulk', 200, 5)
    for (const topic of ['bulk', 'normal', 'high']) publish(topic, 50)
    clock.settle()
    wire.read()
    clock.settle()
    expect(wire.topics()).toEqual(['bulk', 'high', 'normal', ...Array(5).fill('bulk')])
  })

  it('has no more than so much under way, and a message: of a flood in one turn as well', () => {
    const wire = connect(['bulk', 'normal', 'high'])
    for (let i = 0; i < 50; i++) publish('bulk', 100)
    clock.settle()
    expect(wire.unread).toBe(SOCKET)
    for (let i = 0; i < 50; i++) publish('normal', 100)
    clock.settle()
    expect(wire.unread).toBe(SOCKET)
    for (let i = 0; i < 50; i++) publish('high', 100)
    clock.settle()
    expect(wire.unread).toBe(2 * SOCKET)
    wire.read(100)
    publish('high', 5000)
    clock.settle()
    expect(wire.unread).toBe(2 * SOCKET - 100)
    clock.advance(25)
    expect(wire.unread).toBe(2 * SOCKET)
    readAll(wire)
    expect(wire.written).toHaveLength(151)
  })

  it('gets a large message as soon as there is room for one byte, before small ones of bulk that never end', () => {
    const wire = connect(['bulk', 'normal'])
    each('bulk', 100, 10)
    publish('normal', 3000)
    clock.settle()
    // A little is read between two sweeps, and bulk is quick to take its place; at the sweep there is never room.
    for (let round = 0; round < 20 && !wire.topics().includes('normal'); round++) {
      clock.advance(10)
      wire.read(100)
      publish('bulk', 100)
      clock.settle()
    }
    expect(wire.topics().slice(10)).toEqual(['normal'])
    readAll(wire)
    expect(
      wire
        .topics()
        .slice(11)
        .every(topic => topic === 'bulk'),
    ).toBe(true)
  })

  it('by priority alone: many patterns, or topics of one lane, take turns as before', () => {
    hub = createHub({ scheduler: clock, topics: openTopics({}, RULES), policy: buffered() })
    const wire = connect(['bulk', 'loud'], { window: 100 })
    each('bulk', 200, 1)
    for (let i = 0; i < 3; i++) for (const topic of ['bulk', 'loud']) publish(topic, 60_000)
    clock.settle()
    wire.read()
    clock.settle()
    readAll(wire)
    expect(wire.topics().slice(1)).toEqual(['bulk', 'bulk', 'loud', 'loud', 'bulk', 'loud'])
  })
})

describe('beside other links', () => {
  it('what is held up by its own rate does not hold up what comes after it', () => {
    const wire = connect(['bulk'])
    hub.subscribe('c', 'high', { policy: rateLimit({ messages: 10, burst: 0.1 }, buffered()) })
    each('high', 100, 3)
    each('bulk', 100, 3)
    expect(wire.topics()).toEqual(['high', 'bulk', 'bulk', 'bulk'])
    clock.advance(1000)
    expect(wire.topics().slice(4)).toEqual(['high', 'high'])
  })

  it('what waits for confirmations does not either, and is sent again in its turn', () => {
    const wire = connect(['bulk'])
    hub.subscribe('c', 'high', { policy: priority({ socketBytes: SOCKET }, reliable({ window: 2, ackMs: 1000 })) })
    each('high', 100, 4)
    each('bulk', 100, 2)
    expect(wire.topics()).toEqual(['high', 'high', 'bulk', 'bulk'])
    hub.acknowledge('c', 'high', { ...hub.getTopic('high')!.position, seq: 1 })
    clock.settle()
    expect(wire.written.map(({ number }) => number)).toEqual([0, 1, 4, 5, 2])
    clock.advance(1100)
    expect(wire.written.slice(5).map(({ number }) => number)).toEqual([1, 2])
  })

  it('best-effort has nowhere to wait: what there is no room for is lost, one by one, and told', () => {
    const wire = connect([])
    hub.subscribe('c', 'normal', { policy: priority({ socketBytes: SOCKET }, bestEffort()) })
    for (let i = 0; i < 25; i++) publish('normal', 100)
    clock.settle()
    expect(wire.written).toHaveLength(10)
    expect(hub.getSubscription('c', 'normal')).toMatchObject({ delivered: 10, dropped: 15, pending: 0 })
    expect(hub.getClient('c').drops).toEqual({ behind: 15 })
    publish('normal', 100)
    clock.settle()
    expect(hub.getClient('c').drops).toEqual({ behind: 16 })
  })

  it('what is urgent, or has nowhere to wait, does not wait for the next tick', () => {
    const wire = connect(['bulk', 'high'])
    hub.subscribe('c', 'normal', { policy: bestEffort() })
    each('bulk', 100, 20)
    for (const topic of ['high', 'normal']) publish(topic, 100)
    clock.turn()
    expect(wire.topics(10).sort()).toEqual(['high', 'normal'])
  })

  it('what waits for the socket does not sleep as long as what waits for a confirmation may', () => {
    const wire = connect([])
    hub.subscribe('c', 'normal', { policy: priority({ socketBytes: SOCKET }, reliable({ ackMs: 30_000 })) })
    each('normal', 100, 20)
    clock.advance(100)
    expect(wire.written).toHaveLength(10)
    wire.read()
    clock.advance(25)
    expect(wire.written).toHaveLength(20)
  })

  it('latest gets the newest as soon as there is room', () => {
    const wire = connect([])
    hub.subscribe('c', 'normal', { policy: priority({ socketBytes: SOCKET }, latest()) })
    each('normal', 100, 30)
    wire.read()
    clock.advance(25)
    expect(wire.written.map(({ number }) => number)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 29])
  })

  it('a priority that a topic is given later holds for who is on it already', () => {
    const rules: Record<string, { priority: Priority }> = {}
    hub = createHub({
      scheduler: clock,
      topics: { resolve: name => ({ ...openTopics({}, rules).resolve(name) }) },
      policy: buffered(),
    })
    const wire = connect(['a', 'b'], { window: 100 })
    rules.b = { priority: 'high' }
    hub.refreshTopics()
    expect(hub.getTopic('b')!.priority).toBe('high')
    each('a', 200, 2)
    each('b', 200, 1)
    wire.read()
    clock.settle()
    expect(wire.topics()).toEqual(['a', 'b', 'a'])
  })

  it('where nobody can tell what the peer has, only what waits in this process counts', () => {
    const wire = connect(['bulk'], { tellsUnacknowledged: false })
    each('bulk', 100, 50)
    expect(wire.written).toHaveLength(50)
    for (let i = 0; i < 50; i++) publish('bulk', 100)
    clock.settle()
    expect(wire.written).toHaveLength(60)
    clock.advance(1000)
    expect(wire.written).toHaveLength(100)
  })

  it('the bound is the default where none is said', () => {
    expect(priority().describe()).toMatchObject({ name: 'priority', socketBytes: 65_536, inner: { name: 'buffered' } })
    hub = createHub({ scheduler: clock, topics: openTopics({}, RULES), policy: priority() })
    const wire = connect(['bulk'])
    each('bulk', 10_000, 10)
    expect(wire.written).toHaveLength(7)
  })

  it('sweeps only as long as something waits', () => {
    const wire = connect(['bulk', 'high'])
    each('bulk', 100, 20)
    expect(clock.timers).toBe(2)
    readAll(wire)
    clock.advance(100)
    expect(clock.timers).toBe(1)
    expect(hub.getConnectionStats()).toMatchObject({ pending: 0, behind: 0 })
  })
})

describe('lanes (I1, and what a lower one may not do)', () => {
  const TOPICS = ['high', 'high2', 'normal', 'normal2', 'bulk', 'loud']
  const RANK: Record<string, number> = { high: 0, high2: 0, normal: 1, normal2: 1, bulk: 2, loud: 2 }
  const known = { ...RULES, high2: { priority: 'high' as const } }
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('publish' as const),
        topic: fc.constantFrom(...TOPICS),
        bytes: fc.constantFrom(20, 100, 400, 3000),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('settle' as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('read' as const), bytes: fc.constantFrom(10, 500, 4000) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('advance' as const), ms: fc.constantFrom(5, 25, 60) }) },
  )
  type Step = typeof step extends fc.Arbitrary<infer T> ? T : never
  const inner: Record<string, () => DeliveryPolicy> = {
    buffered: () => buffered(),
    'drop-oldest': () => buffered({ messages: 4, overflow: 'drop-oldest' }),
    'drop-newest': () => buffered({ messages: 4, overflow: 'drop-newest' }),
    latest: () => latest(),
  }

  interface Published {
    readonly topic: string
    readonly number: number
  }

  /** Plays steps, and holds what is written after each against what was waiting before it. */
  class World {
    readonly wire: Wire
    readonly #kernel: boolean
    /** Nothing is given up but what its client never gets. */
    readonly #whole: boolean
    /** What was published before everything was settled the last time, and not written by then. */
    #waiting: Published[] = []
    #fresh: Published[] = []

    constructor(name: string, kernel: boolean) {
      numbers = 0
      clock = new ManualScheduler()
      hub = createHub({
        scheduler: clock,
        topics: openTopics({}, known),
        policy: priority({ socketBytes: SOCKET }, inner[name]!()),
      })
      this.wire = connect(TOPICS, kernel ? {} : { window: 700 })
      this.#kernel = kernel
      this.#whole = name === 'buffered'
    }

    play(action: Step): void {
      if (action.do === 'publish') {
        this.#fresh.push({ topic: action.topic, number: publish(action.topic, action.bytes) })
        return
      }
      const before = this.wire.written.length
      if (action.do === 'read') this.wire.read(action.bytes)
      else if (action.do === 'advance') clock.advance(action.ms)
      clock.settle()
      const now = this.wire.written.slice(before)
      for (const [at, each] of now.entries()) this.#check(each, new Set(now.slice(at + 1).map(({ number }) => number)))
      const written = this.#written()
      this.#waiting = [...this.#waiting, ...this.#fresh].filter(({ number }) => !written.has(number))
      this.#fresh = []
    }

    #written(): Set<number> {
      return new Set(this.wire.written.map(({ number }) => number))
    }

    #check({ topic, ahead }: Written, later: ReadonlySet<number>): void {
      if (this.#kernel) expect(ahead).toBeLessThan(RANK[topic] === 0 ? 2 * SOCKET : SOCKET)
      const urgent = this.#waiting.filter(each => RANK[each.topic]! < RANK[topic]!)
      // Of what can be lost meanwhile only what was written later is known to have waited.
      const written = this.#whole ? this.#written() : undefined
      expect(urgent.filter(({ number }) => later.has(number) || written?.has(number) === false)).toEqual([])
    }

    finish(): void {
      readAll(this.wire)
      for (const topic of TOPICS) {
        const came = this.wire.written.filter(each => each.topic === topic).map(({ number }) => number)
        expect(came).toEqual([...new Set(came)].sort((a, b) => a - b))
      }
      const { pending, behind, dropped, delivered } = hub.getConnectionStats()
      expect({ pending, behind, all: delivered + dropped }).toEqual({ pending: 0, behind: 0, all: numbers })
      if (this.#whole) expect(this.wire.written).toHaveLength(numbers)
    }
  }

  it.each(Object.keys(inner))(
    'over %s: bounded, in order, and nothing overtakes what is more urgent and waits',
    name => {
      fc.assert(
        fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, kernel) => {
          const world = new World(name, kernel)
          for (const step of steps) world.play(step)
          world.finish()
        }),
        runs(200),
      )
    },
  )
})
