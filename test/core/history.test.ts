import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Position } from '../../src/core/ids.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { runs } from '../property-runs.ts'

const text = ({ payload }: { payload: Uint8Array }) => Buffer.from(payload).toString()

describe('history', () => {
  let hub: Hub
  let clock: ManualScheduler
  const publish = (...texts: string[]): Position[] => texts.map(each => hub.routeData('a', Buffer.from(each)).position)

  beforeEach(() => {
    clock = new ManualScheduler()
    hub = createHub({ scheduler: clock, topics: openTopics({ history: { messages: 3, bytes: 100, ageMs: 10_000 } }) })
  })

  it('of a topic that nobody has used is empty, and whoever resumes from it has missed nothing that is known', () => {
    expect(hub.history('a')).toEqual({ position: { epoch: '', seq: 0 }, messages: [], recovered: false })
    expect(() => hub.history('a//b')).toThrow(expect.objectContaining({ code: 'TOPIC_INVALID' }))
    // Asking makes no topic.
    expect(hub.getConnectionStats().topics).toBe(0)
  })

  it('has messages with the documented fields alone, which are not those that the hub counts', () => {
    publish('1')
    clock.settle()
    const fields = ['topic', 'epoch', 'seq', 'payload', 'contentType', 'key', 'correlationId', 'publisher', 'at']
    const [message] = hub.history('a').messages
    expect(Object.keys(message!)).toEqual(fields)
    Object.assign(message!, { keepers: 100, seq: 9 })
    publish('2', '3', '4', '5')
    clock.settle()
    expect(hub.history('a').messages.map(({ seq }) => seq)).toEqual([3, 4, 5])
    clock.advance(11_000)
    expect(hub.getTopic('a')?.retained ?? { bytes: 0 }).toMatchObject({ bytes: 0 })
  })

  it('keeps a small payload without the large buffer that it is a slice of', () => {
    const chunk = Buffer.alloc(64 * 1024, 'x')
    hub.routeData('a', chunk.subarray(100, 110))
    hub.routeData('a', chunk.subarray(200, 205))
    clock.settle()
    const { messages } = hub.history('a')
    expect(messages.map(text)).toEqual(['x'.repeat(10), 'x'.repeat(5)])
    expect(messages.map(({ payload }) => payload.buffer.byteLength)).toEqual([10, 5])
  })

  it('is what the topic keeps, and says whether that is all', () => {
    const [first, second] = publish('1', '2', '3')
    clock.settle()
    expect(hub.history('a')).toMatchObject({ position: { seq: 3 }, recovered: true })
    expect(hub.history('a', { after: first! }).messages.map(text)).toEqual(['2', '3'])
    publish('4', '5')
    clock.settle()
    expect(hub.history('a').messages.map(text)).toEqual(['3', '4', '5'])
    expect(hub.history('a').recovered).toBe(false)
    expect(hub.history('a', { after: first! })).toMatchObject({ recovered: false })
    expect(hub.history('a', { after: second! })).toMatchObject({ recovered: true })
    expect(hub.history('a', { after: second! }).messages.map(text)).toEqual(['3', '4', '5'])
  })

  it('has what was published in this very turn', () => {
    const [first] = publish('1')
    clock.settle()
    publish('2')
    expect(hub.history('a', { after: first! })).toMatchObject({ recovered: true, position: { seq: 2 } })
    expect(hub.history('a', { after: first! }).messages.map(text)).toEqual(['2'])
  })

  it('holds no more than its bounds, also before the turn ends', () => {
    const [first, second] = publish('1', '2', '3')
    clock.settle()
    publish('4', '5')
    expect(hub.history('a').messages.map(text)).toEqual(['3', '4', '5'])
    expect(hub.history('a', { after: first! })).toMatchObject({ recovered: false })
    expect(hub.history('a', { after: second! })).toMatchObject({ recovered: true })
    publish('x'.repeat(60), 'y'.repeat(60))
    expect(hub.history('a').messages.map(text)).toEqual(['y'.repeat(60)])
    publish('z'.repeat(101))
    expect(hub.history('a')).toMatchObject({ messages: [], recovered: false })
  })

  it('at most so many: the oldest, or with reverse the newest', () => {
    const [first] = publish('1', '2', '3')
    const texts = (options: object) => hub.history('a', options).messages.map(text)
    expect(texts({ limit: 2 })).toEqual(['1', '2'])
    expect(texts({ limit: 2, reverse: true })).toEqual(['3', '2'])
    expect(texts({ limit: 1, after: first! })).toEqual(['2'])
    expect(texts({ limit: 0 })).toEqual([])
    expect(hub.history('a', { limit: 1, after: first! }).recovered).toBe(true)
    for (const limit of [-1, 1.5, Number.NaN]) {
      expect(() => hub.history('a', { limit })).toThrow(expect.objectContaining({ code: 'REQUEST_INVALID' }))
    }
  })

  it.each([
    ['of another epoch', (at: Position) => ({ ...at, epoch: 'other' })],
    ['of the future', (at: Position) => ({ ...at, seq: 4 })],
  ])('after a position %s is all that is kept, and not all that was missed', (_, change) => {
    const [first] = publish('1', '2', '3')
    clock.settle()
    const after = change(first!)
    expect(hub.history('a', { after })).toMatchObject({ recovered: false, position: { seq: 3 } })
    expect(hub.history('a', { after }).messages.map(text)).toEqual(['1', '2', '3'])
    const connection = new FakeConnection()
    hub.registerClient('c', connection)
    expect(hub.subscribe('c', 'a', { after })).toMatchObject({ recovered: false, position: { seq: 3 } })
    clock.settle()
    expect(connection.texts()).toEqual([])
    expect(connection.gaps()).toMatchObject([{ count: null, reason: 'epoch' }])
  })

  it.each([
    ['another topic', () => hub.subscribe('c', 'z')],
    ['a pattern', () => hub.subscribePattern('c', 'y/*')],
  ])('beyond the bound of one client reaches a steady reader, also beside %s', (_, besides) => {
    const topics = openTopics({ history: { messages: 100, bytes: 1_000_000, ageMs: 60_000 } })
    const policy = buffered({ bytes: 10_000 })
    hub = createHub({ scheduler: clock, topics, policy, limits: { maxQueuedBytesPerClient: 10_000 } })
    for (let i = 0; i < 20; i++) publish('x'.repeat(4000))
    clock.settle()
    const connection = new FakeConnection({ window: 5000 })
    connection.client = hub.registerClient('c', connection)
    besides()
    hub.subscribe('c', 'a', { after: 'oldest' })
    for (let reads = 0; reads < 40; reads++) {
      clock.advance(100)
      connection.read()
    }
    expect([connection.closedFor, connection.seqs('a').length]).toEqual([undefined, 20])
  })

  it.each([-1, 1.5, Number.NaN, 2 ** 53, '1' as never])('refuses a position whose seq is %s', seq => {
    const after = { ...publish('1')[0]!, seq }
    hub.registerClient('c', new FakeConnection())
    for (const call of [() => hub.history('a', { after }), () => hub.subscribe('c', 'a', { after })]) {
      expect(call).toThrow(/^after must be .*a position \{ epoch, seq \}.*, got an object$/)
    }
  })

  it('of a topic that keeps none: whoever has everything is told so, whoever has not as well', () => {
    hub = createHub({ scheduler: clock, topics: openTopics({ history: { messages: 0, bytes: 0, ageMs: 0 } }) })
    const [first, second] = publish('1', '2')
    expect(hub.history('a', { after: second! })).toMatchObject({ messages: [], recovered: true })
    expect(hub.history('a', { after: first! })).toMatchObject({ messages: [], recovered: false })
    clock.settle()
    expect(hub.history('a', { after: second! })).toMatchObject({ messages: [], recovered: true })
    expect(hub.history('a', { after: first! })).toMatchObject({ messages: [], recovered: false })
  })

  it('is resumed whole from the last message before it, and not from one earlier', () => {
    const [first, second] = publish('1', '2', '3', '4', '5')
    clock.settle()
    hub.registerClient('c', new FakeConnection())
    expect(hub.subscribe('c', 'a', { after: second! }).recovered).toBe(true)
    hub.unsubscribe('c', 'a')
    expect(hub.subscribe('c', 'a', { after: first! }).recovered).toBe(false)
  })

  it('of a topic that keeps none is resumed whole from its last message', () => {
    hub = createHub({ scheduler: clock, topics: openTopics({ history: { messages: 0, bytes: 0, ageMs: 0 } }) })
    const [, second] = publish('1', '2')
    clock.settle()
    hub.registerClient('c', new FakeConnection())
    expect(hub.subscribe('c', 'a', { after: second! }).recovered).toBe(true)
  })

  it('is no more than its bounds, whatever is kept for those who are behind', () => {
    const slow = new FakeConnection({ window: 0 })
    slow.client = hub.registerClient('slow', slow)
    hub.subscribe('slow', 'a')
    for (const each of ['0', '1', '2', '3', '4', '5']) {
      publish(each)
      clock.settle()
    }
    expect(hub.getTopic('a')!.retained.messages).toBeGreaterThan(3)
    expect(hub.history('a').messages.map(text)).toEqual(['3', '4', '5'])
    expect(hub.history('a').recovered).toBe(false)
  })
})

describe('the seam of what is kept and what is live', () => {
  const TOPICS = ['a', 'b/c']
  const topic = fc.constantFrom(...TOPICS)
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('publish' as const), topic, size: fc.constantFrom(1, 30) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('turn' as const) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(20, 2000, 70_000) }) },
    // A client leaves and comes back where it was, by name, beside a pattern or not.
    { weight: 3, arbitrary: fc.record({ do: fc.constant('resume' as const), topic, pattern: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('ask' as const),
        topic,
        back: fc.integer({ min: -2, max: 9 }),
        limit: fc.option(fc.nat({ max: 5 }), { nil: undefined }),
        reverse: fc.boolean(),
        right: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('burden' as const) }) },
  )

  type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

  /** A topic as it is told: everything that was published in this epoch. */
  interface Told {
    readonly epoch: string
    readonly texts: string[]
  }

  /** One client that comes and goes, and what it should have seen. */
  class World {
    readonly clock = new ManualScheduler()
    readonly hub = createHub({
      scheduler: this.clock,
      topics: openTopics({ history: { messages: 4, bytes: 80, ageMs: 60_000 } }, { 'b/c': { lingerMs: 15 } }),
    })
    readonly #told = new Map<string, Told>()
    #burdened = false
    #number = 0
    #connection: FakeConnection | undefined
    /** Of its present subscriptions: what of the topic it had caught up with when it joined, and how much had come by then. */
    readonly #joined = new Map<string, { from: number; epoch: string; came: number }>()

    #came(name: string) {
      const received = this.#connection?.received ?? []
      return received.flatMap(each => (each.kind === 'message' && each.topic === name ? [each] : []))
    }

    /** What was published to the topic in its present life; nothing, if it has none. */
    #texts(name: string): string[] {
      const told = this.#told.get(name)
      return told !== undefined && this.hub.getTopic(name)?.position.epoch === told.epoch ? told.texts : []
    }

    publish(name: string, size: number): void {
      const text = `${this.#number++}`.padEnd(size, '.')
      const { epoch, seq } = this.hub.routeData(name, Buffer.from(text)).position
      if (this.#told.get(name)?.epoch !== epoch) this.#told.set(name, { epoch, texts: [] })
      this.#told.get(name)!.texts.push(text)
      expect(seq).toBe(this.#told.get(name)!.texts.length)
    }

    leave(): void {
      if (this.#connection) this.hub.unregisterClient('c')
      this.#connection = undefined
      this.#joined.clear()
    }

    /** It comes back where it was. */
    resume(name: string, pattern: boolean): void {
      const { hub } = this
      const last = this.#came(name).at(-1)
      const after = last && { epoch: last.epoch, seq: last.seq }
      this.leave()
      this.#connection = new FakeConnection()
      this.#connection.client = hub.registerClient('c', this.#connection)
      if (pattern) hub.subscribePattern('c', '**', { policy: bestEffort() })
      const kept = hub.history(name, { after })
      const { recovered, position } = hub.subscribe('c', name, { after })
      const found = after !== undefined && after.epoch === position.epoch
      // Where nobody is behind, the topic keeps its history and no more.
      if (!this.#burdened) expect(recovered).toBe(found && kept.recovered)
      this.clock.settle()
      this.clock.advance(15)
      const came = this.#came(name).map(({ seq }) => seq)
      if (found) {
        expect(position).toEqual(after)
        this.#checkWhole(name, after.seq, came, recovered)
      } else {
        expect({ came, recovered }).toEqual({ came: [], recovered: false })
      }
      this.#joined.set(name, { from: this.#texts(name).length, epoch: position.epoch, came: came.length })
    }

    /** Everything after the position came, or was told as lost: in order and once. */
    #checkWhole(name: string, after: number, came: readonly number[], recovered: boolean): void {
      const span = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i)
      const gaps = this.#connection!.gaps().filter(({ topic }) => topic === name)
      const lost = gaps.flatMap(({ from, to }) => span(from, to))
      expect([...lost, ...came]).toEqual(span(after + 1, this.#texts(name).length))
      expect(lost.length === 0).toBe(recovered)
    }

    /** Somebody who cannot take anything, so that topics keep more than their history. */
    burden(): void {
      if (this.#burdened) return
      this.#burdened = true
      const stuck = new FakeConnection({ window: 0 })
      stuck.client = this.hub.registerClient('stuck', stuck)
      for (const name of TOPICS) this.hub.subscribe('stuck', name)
    }

    ask(name: string, back: number, right: boolean, options: { limit: number | undefined; reverse: boolean }): void {
      const position = this.hub.getTopic(name)?.position
      if (position === undefined) return
      const all = this.#texts(name)
      const seq = all.length - back
      if (seq < 0) return
      const after = { epoch: right ? position.epoch : 'wrong', seq }
      const everything = this.hub.history(name, { after })
      const known = right && seq <= all.length
      const texts = everything.messages.map(text)
      // Always the end of what was published, without a hole, and never what the asker has.
      expect(texts).toEqual(all.slice(all.length - texts.length))
      if (known) expect(texts.length).toBeLessThanOrEqual(back)
      expect(everything.recovered).toBe(known && texts.length === back)
      expect(everything.position).toEqual(position)
      const { limit, reverse } = options
      const some = this.hub.history(name, { after, limit, reverse })
      const ordered = options.reverse ? [...texts].reverse() : texts
      expect(some.messages.map(text)).toEqual(ordered.slice(0, options.limit ?? ordered.length))
      expect(some.recovered).toBe(everything.recovered)
    }

    /** What came since it was caught up is what was published since, whether by name or by pattern. */
    checkLive(whole: boolean): void {
      for (const [name, { from, epoch, came }] of this.#joined) {
        const told = this.#told.get(name)
        if (told?.epoch !== epoch) continue
        const since = this.#came(name).slice(came)
        const owed = told.texts.slice(from)
        expect(since.map(each => each.text)).toEqual(whole ? owed : owed.slice(0, since.length))
      }
    }

    play(action: Step): void {
      if (action.do === 'publish') this.publish(action.topic, action.size)
      else if (action.do === 'turn') this.clock.turn()
      else if (action.do === 'wait') this.clock.advance(action.ms)
      else if (action.do === 'leave') this.leave()
      else if (action.do === 'resume') this.resume(action.topic, action.pattern)
      else if (action.do === 'burden') this.burden()
      else this.ask(action.topic, action.back, action.right, action)
      this.checkLive(false)
    }
  }

  it('is exact: all that was missed and then what comes, once; recovered if and only if nothing is missing', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), steps => {
        const world = new World()
        for (const step of steps) world.play(step)
        world.clock.settle()
        world.clock.advance(15)
        world.checkLive(true)
      }),
      runs(500),
    )
  })

  it('keeps what its bounds say: a model of messages, bytes and age', () => {
    const sizes = fc.array(fc.tuple(fc.constantFrom(1, 10, 40), fc.constantFrom(0, 0, 400, 5000)), { maxLength: 30 })
    fc.assert(
      fc.property(sizes, fc.constantFrom(1, 3, 100), fc.constantFrom(0, 45, 1000), (all, messages, bytes) => {
        const clock = new ManualScheduler()
        const ageMs = 4000
        const hub = createHub({ scheduler: clock, topics: openTopics({ history: { messages, bytes, ageMs } }) })
        // Somebody is there, so that the topic stays when it keeps nothing.
        hub.registerClient('c', new FakeConnection())
        hub.subscribe('c', 'a')
        let kept: { size: number; at: number }[] = []
        const sum = () => kept.reduce((total, { size }) => total + size, 0)
        for (const [size, ms] of all) {
          hub.routeData('a', new Uint8Array(size))
          kept.push({ size, at: clock.now() })
          clock.settle()
          while (kept.length > messages || sum() > bytes) kept.shift()
          clock.advance(ms)
          // Age is looked at with the next message, and once a second.
          const looked = Math.floor(clock.now() / 1000) * 1000
          kept = kept.filter(({ at }) => looked - at < ageMs || at > looked)
          expect(hub.history('a').messages.map(({ payload }) => payload.byteLength)).toEqual(
            kept.map(({ size }) => size),
          )
        }
      }),
      runs(300),
    )
  })
})
