import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import type { Position, TopicName } from '../../src/core/ids.ts'
import type { HubLimits } from '../../src/core/limits.ts'
import type { Gap } from '../../src/core/message.ts'
import { POSITION_MS } from '../../src/core/positions.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import type { TopicRule } from '../../src/topics/rule.ts'
import { runs } from '../property-runs.ts'
import { held } from './held.ts'

let scheduler: ManualScheduler
let hub: Hub
let connections: number
const start = (limits: Partial<HubLimits> = {}, rules: Readonly<Record<string, TopicRule>> = {}): void => {
  scheduler = new ManualScheduler()
  hub = createHub({ scheduler, limits, topics: openTopics({}, rules) })
  connections = 0
}
beforeEach(() => start())

const publish = (topic: string, times = 1): void => {
  for (let i = 0; i < times; i++) hub.routeData(topic, Buffer.from('x'))
  scheduler.settle()
}
/** A client that begins after a position, by name or by pattern, and what it is told. */
function join(name: string, after?: Position) {
  const id = `c${++connections}`
  const connection = new FakeConnection()
  hub.registerClient(id, connection)
  const subscription = name.includes('*')
    ? hub.subscribePattern(id, name, { after })
    : hub.subscribe(id, name, { after })
  scheduler.settle()
  return { connection, recovered: 'recovered' in subscription && subscription.recovered, leave: () => leave(id) }
}
const leave = (id: string): void => void hub.unregisterClient(id)
const gapsOf = ({ received }: FakeConnection) =>
  received.flatMap(each => (each.kind === 'gap' ? [`${each.gap.from}-${each.gap.to} ${each.gap.count}`] : []))
/** The history is over after 60 s, and the topic with it. */
const away = (ms = 62_000): void => {
  scheduler.advance(ms)
  expect(hub.getConnectionStats().topics).toBe(0)
}

describe('a position outlives the history of its topic', () => {
  it.each([0, 1, 7])('nothing was missed after %i messages: recovered, and it goes on from there', count => {
    hub.subscribe(hub.registerClient('first', new FakeConnection()).id, 'a')
    publish('a', count)
    const position = hub.positionOf('a')!
    leave('first')
    away()
    expect(hub.positionOf('a')).toEqual(position)
    expect(hub.history('a', { after: position })).toEqual({ position, messages: [], recovered: true })
    const back = join('a', position)
    publish('a')
    expect(back.recovered).toBe(true)
    expect([back.connection.seqs('a'), gapsOf(back.connection)]).toEqual([[count + 1], []])
  })

  it('something was missed that is gone: not recovered, and told with its exact count', () => {
    publish('a', 3)
    const position = hub.positionOf('a')!
    publish('a', 4)
    away()
    expect(hub.history('a', { after: position })).toMatchObject({ messages: [], recovered: false })
    const back = join('a', position)
    publish('a')
    expect(back.recovered).toBe(false)
    expect([gapsOf(back.connection), back.connection.seqs('a')]).toEqual([['4-7 4'], [8]])
  })

  it('by pattern, too: nothing is told where nothing was missed, and else the exact count', () => {
    publish('n/a', 3)
    const position = hub.positionOf('n/a')!
    away()
    const whole = join('n/*', position)
    publish('n/a')
    expect([gapsOf(whole.connection), whole.connection.seqs('n/a')]).toEqual([[], [4]])
    whole.leave()
    away()
    const missed = join('n/*', position)
    expect(gapsOf(missed.connection)).toEqual(['4-4 1'])
    publish('n/a')
    expect([gapsOf(missed.connection), missed.connection.seqs('n/a')]).toEqual([['4-4 1'], [5]])
    const other = join('m/*', position)
    expect(gapsOf(other.connection)).toEqual([])
  })

  it('by pattern, a loss in the other topics is told as well, with a count that nobody knows', () => {
    for (const topic of ['n/a', 'n/b', 'n/c', 'm/d']) publish(topic, 3)
    const position = hub.positionOf('n/a')!
    publish('n/a', 2)
    away()
    publish('n/c')
    const { connection } = join('n/*', position)
    const gaps = connection.received.flatMap(each => (each.kind === 'gap' ? [each.gap] : []))
    expect(gaps.sort((a, b) => (a.topic < b.topic ? -1 : 1))).toEqual([
      { topic: 'n/a', from: 4, to: 5, count: 2, reason: 'trimmed' },
      { topic: 'n/b', from: 1, to: 3, count: null, reason: 'epoch' },
      { topic: 'n/c', from: 1, to: 4, count: null, reason: 'epoch' },
    ])
    publish('n/b')
    expect(connection.seqs('n/b')).toEqual([4])
  })

  it('by pattern, so many forgotten topics as the pattern has room for, that of the position and the newest first', () => {
    start({ maxTopicsPerPattern: 3 })
    publish('n/0', 1)
    const position = hub.positionOf('n/0')!
    publish('n/0', 1)
    away()
    for (let n = 1; n < 6; n++) {
      publish(`n/${n}`)
      away()
    }
    const { connection } = join('n/*', position)
    const told = connection.received.flatMap(each => (each.kind === 'gap' ? [each.gap.topic] : []))
    expect(told.sort()).toEqual(['n/0', 'n/4', 'n/5'])
  })

  it('by pattern, nothing is told of a topic that the client may not see', () => {
    start({}, { 'n/hidden': { subscribe: 'nobody' }, 'n/named': { wildcards: false } })
    for (const topic of ['n/a', 'n/hidden', 'n/named']) publish(topic)
    const position = { epoch: 'another', seq: 1 }
    away()
    const { connection } = join('n/*', position)
    expect(gapsOf(connection)).toEqual(['1-1 null'])
    expect(hub.getConnectionStats()).toMatchObject({ topics: 1, positions: 2 })
  })

  it('a topic that only patterns hold keeps its position while it is quiet', () => {
    const { connection } = join('n/*')
    publish('n/a', 2)
    away(125_000)
    publish('n/a')
    const places = connection.received.flatMap(each => (each.kind === 'message' ? [`${each.epoch}-${each.seq}`] : []))
    const { epoch } = hub.positionOf('n/a')!
    expect(places).toEqual([1, 2, 3].map(seq => `${epoch}-${seq}`))
  })

  it('for an hour; the next life is another one, and no position of the old one is taken for one of it', () => {
    publish('a', 3)
    const position = hub.positionOf('a')!
    away()
    scheduler.advance(POSITION_MS - 5000)
    expect(hub.positionOf('a')).toEqual(position)
    scheduler.advance(5000)
    expect(hub.positionOf('a')).toBe(undefined)
    publish('a', 5)
    const back = join('a', position)
    expect([back.recovered, gapsOf(back.connection)]).toEqual([false, ['1-5 null']])
  })

  it('the hour begins anew with each use', () => {
    publish('a')
    away()
    scheduler.advance(POSITION_MS - 60_000)
    publish('a')
    away()
    scheduler.advance(POSITION_MS - 60_000)
    expect(hub.positionOf('a')?.seq).toBe(2)
  })
})

describe('positions are bounded', () => {
  it('by number: as many as there may be topics, and the oldest go first', () => {
    start({ maxTopics: 3 })
    for (let n = 0; n < 5; n++) {
      publish(`t/${n}`)
      away()
    }
    expect(hub.getConnectionStats().positions).toBe(3)
    expect([0, 1, 2, 3, 4].map(n => hub.positionOf(`t/${n}`)?.seq)).toEqual([undefined, undefined, 1, 1, 1])
  })

  it('and do not count as topics: there is room for as many as before', () => {
    start({ maxTopics: 3 })
    for (const name of ['a', 'b', 'c']) publish(name)
    away()
    for (const name of ['d', 'e', 'f']) publish(name)
    expect(hub.getConnectionStats()).toMatchObject({ topics: 3, positions: 3 })
    expect(() => publish('g')).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }))
  })

  it('their bytes are counted, and given back', () => {
    for (let n = 0; n < 100; n++) publish(`t/${n}`)
    away()
    const { keptBytes, retainedBytes, positions } = hub.getConnectionStats()
    expect([positions, retainedBytes]).toEqual([100, keptBytes])
    expect(keptBytes / 100).toBeGreaterThan(150)
    scheduler.advance(POSITION_MS)
    expect(hub.getConnectionStats()).toMatchObject({ keptBytes: 0, positions: 0 })
    publish('t/1')
    away()
    publish('t/1')
    expect(hub.getConnectionStats()).toMatchObject({ keptBytes: held(1), positions: 0 })
  })

  it('where memory is short they go before any client does', () => {
    start({ maxRetainedBytes: 30_000 })
    for (let n = 0; n < 90; n++) publish(`t/${n}`)
    away()
    expect(hub.getConnectionStats().keptBytes).toBeGreaterThan(15_000)
    const slow = new FakeConnection({ window: 10 })
    hub.registerClient('slow', slow)
    hub.subscribe('slow', 'big')
    hub.routeData('big', Buffer.alloc(12_000, 'x'))
    scheduler.settle()
    expect([hub.getConnectionStats().positions, slow.closedFor]).toEqual([0, undefined])
  })
})

describe('whoever comes back', () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ do: fc.constant('publish' as const), topic: fc.nat(2), count: fc.nat(4) }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('come' as const), topic: fc.nat(2), pattern: fc.boolean() }) },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('go' as const), topic: fc.nat(2) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('wait' as const),
        ms: fc.constantFrom(1000, 62_000, 130_000, POSITION_MS),
      }),
    },
  )

  /** A reader of one topic: where it is, by all that it was told. */
  class Reader {
    readonly topic: TopicName
    position: Position | undefined
    /** Its position is of another life of the topic: what it missed is unknown. */
    #elsewhere = false
    #here: ReturnType<typeof join> | undefined
    #read = 0

    constructor(topic: number) {
      this.topic = `t/${topic}` as TopicName
    }

    come(pattern: boolean): void {
      if (this.#here) return
      this.#elsewhere = this.position !== undefined && this.position.epoch !== hub.positionOf(this.topic)?.epoch
      // Who has no position yet begins now.
      this.#here = join(pattern && this.position ? 't/*' : this.topic, this.position)
      this.#read = 0
      this.position ??= hub.positionOf(this.topic)
    }

    go(): void {
      this.follow()
      this.#here?.leave()
      this.#here = undefined
    }

    follow(): void {
      if (this.#here === undefined) return
      const { received } = this.#here.connection
      for (const each of received.slice(this.#read)) {
        if (each.kind === 'gap' && each.gap.topic === this.topic) this.#missed(each.gap)
        if (each.kind === 'message' && each.topic === this.topic) this.#got(each)
      }
      this.#read = received.length
      const { seq } = hub.positionOf(this.topic) ?? { seq: 0 }
      if (!this.#elsewhere && seq > 0) expect(this.position?.seq).toBe(seq)
    }

    #missed({ from, to, count }: Gap): void {
      expect(this.#here!.recovered).toBe(false)
      if (this.#elsewhere) expect([from, count]).toEqual([1, null])
      else expect([from, count]).toEqual([this.position!.seq + 1, to - from + 1])
      this.position = { epoch: hub.positionOf(this.topic)!.epoch, seq: to }
      this.#elsewhere = false
    }

    #got({ epoch, seq }: Position): void {
      const { position } = this
      // A pattern's client may be there longer than a quiet topic's life.
      if (position !== undefined && !this.#elsewhere) expect(seq).toBe(epoch === position.epoch ? position.seq + 1 : 1)
      this.position = { epoch, seq }
      this.#elsewhere = false
    }
  }

  it('has each message, or was told of its loss: all of it exactly, but after the end of a life', () => {
    const play = (steps: readonly (typeof step extends fc.Arbitrary<infer T> ? T : never)[]): void => {
      start({ maxTopics: 6 })
      const readers = [0, 1, 2].map(topic => new Reader(topic))
      for (const each of steps) {
        if (each.do === 'wait') scheduler.advance(each.ms)
        else if (each.do === 'publish') publish(readers[each.topic]!.topic, each.count)
        else if (each.do === 'go') readers[each.topic]!.go()
        else readers[each.topic]!.come(each.pattern)
        scheduler.settle()
        for (const reader of readers) reader.follow()
      }
    }
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), steps => play(steps)),
      runs(300),
    )
  })
})
