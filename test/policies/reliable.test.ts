import { describe, expect, it } from 'vitest'
import { openTopics } from '../../src/open-topics.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import { MAX_ACK_MS, type ReliableOptions, reliable } from '../../src/policies/reliable.ts'
import type { FakeConnection, FakeConnectionOptions } from '../../src/testing/fake-connection.ts'
import { sendingWorld } from '../core/sending.ts'

const KIB = 1024
const SWEEP_MS = 25

function setUp(options: ReliableOptions, fake: FakeConnectionOptions = {}) {
  const world = sendingWorld({
    policy: reliable(options),
    topics: openTopics({ history: { messages: 0, bytes: 0, ageMs: 0 } }),
  })
  const { hub, scheduler } = world
  const gaps: string[] = []
  hub.events.on('gap', ({ gap }) => gaps.push(`${gap.from}-${gap.to} ${gap.count} ${gap.reason}`))
  const one = world.connect('one', fake)
  hub.subscribe('one', 't')
  const publish = (count = 1, bytes = 1): void => {
    for (let i = 0; i < count; i++) hub.routeData('t', new Uint8Array(bytes).fill(120))
    scheduler.settle()
  }
  const ack = (seq: number): void => {
    one.client!.confirmed('t', seq)
    scheduler.settle()
  }
  const link = () => hub.getSubscription('one', 't')!
  return { ...world, one, publish, ack, link, gaps }
}

/** When the peer got message 1, on the scheduler's clock, in steps of a ms. */
function arrivals(
  { scheduler, one }: { scheduler: { now(): number; advance(ms: number): void }; one: FakeConnection },
  forMs: number,
): number[] {
  const times: number[] = []
  let seen = one.seqs().filter(seq => seq === 1).length
  for (let i = 0; i < forMs; i++) {
    scheduler.advance(1)
    const now = one.seqs().filter(seq => seq === 1).length
    if (now > seen) times.push(scheduler.now())
    seen = now
  }
  return times
}

describe('reliable: when it is sent again', () => {
  it('after ackMs, then twice, four, eight times that, and then the client is slow', () => {
    const world = setUp({ ackMs: 1000, tries: 3 })
    world.publish()
    const times = arrivals(world, 20_000)
    expect(times).toHaveLength(3)
    const waits = times.map((time, i) => time - (times[i - 1] ?? 0))
    for (const [i, wait] of waits.entries()) {
      expect(wait).toBeGreaterThanOrEqual(1000 * 2 ** i)
      expect(wait).toBeLessThanOrEqual(1000 * 2 ** i + SWEEP_MS)
    }
    expect(world.one.closedFor).toBe('slow')
    expect(world.hub.getConnectionStats()).toMatchObject({
      closes: { slow: 1 },
      drops: [{ policy: 'reliable', reason: 'closed', count: 1 }],
    })
  })

  it('the client is closed when the wait after the last try is over, and not with it', () => {
    const { one, publish, scheduler } = setUp({ ackMs: 1000, tries: 1 })
    publish()
    scheduler.advance(1000 + SWEEP_MS)
    expect(one.seqs()).toEqual([1, 1])
    scheduler.advance(2000 - SWEEP_MS - 1)
    expect(one.closedFor).toBeUndefined()
    scheduler.advance(1 + SWEEP_MS)
    expect(one.closedFor).toBe('slow')
  })

  it('tries 0: never sent again', () => {
    const { one, publish, scheduler } = setUp({ ackMs: 1000, tries: 0 })
    publish()
    scheduler.advance(1000 + SWEEP_MS)
    expect(one.seqs()).toEqual([1])
    expect(one.closedFor).toBe('slow')
  })

  it('no wait is longer than five minutes', () => {
    expect(MAX_ACK_MS).toBe(5 * 60_000)
    const { one, publish, scheduler } = setUp({ ackMs: MAX_ACK_MS / 2, tries: 4 })
    publish()
    let due = MAX_ACK_MS / 2
    for (const copies of [2, 3, 4, 5]) {
      scheduler.advance(due - 1 - scheduler.now())
      expect(one.seqs()).toHaveLength(copies - 1)
      scheduler.advance(1 + SWEEP_MS)
      expect(one.seqs()).toHaveLength(copies)
      due += MAX_ACK_MS
    }
  })

  it('a confirmation of some begins the wait for the rest, and its tries, anew', () => {
    const { one, publish, ack, scheduler } = setUp({ ackMs: 1000, tries: 2 })
    publish(2)
    scheduler.advance(3100)
    expect(one.seqs()).toEqual([1, 2, 1, 2, 1, 2])
    ack(1)
    scheduler.advance(999)
    expect(one.seqs()).toHaveLength(6)
    scheduler.advance(1 + SWEEP_MS)
    expect(one.seqs()).toEqual([1, 2, 1, 2, 1, 2, 2])
    expect(one.closedFor).toBeUndefined()
  })

  it('sent later, due later: each wait is that of the oldest', () => {
    const { one, publish, ack, scheduler } = setUp({ ackMs: 1000 })
    publish()
    scheduler.advance(900)
    publish()
    ack(1)
    scheduler.advance(900)
    expect(one.seqs()).toEqual([1, 2])
    scheduler.advance(100 + SWEEP_MS)
    expect(one.seqs()).toEqual([1, 2, 2])
    ack(2)
    publish()
    scheduler.advance(999)
    expect(one.seqs()).toEqual([1, 2, 2, 3])
  })

  it('skip: the oldest is lost, told and counted, and the rest goes on', () => {
    const { one, publish, ack, scheduler, link, gaps, hub } = setUp({ ackMs: 1000, tries: 1, giveUp: 'skip' })
    publish(3)
    scheduler.advance(1000 + SWEEP_MS)
    expect(one.seqs()).toEqual([1, 2, 3, 1, 2, 3])
    scheduler.advance(2000 + SWEEP_MS)
    expect(one.seqs()).toEqual([1, 2, 3, 1, 2, 3, 2, 3])
    expect(one.closedFor).toBeUndefined()
    expect(gaps).toEqual(['1-1 1 unconfirmed'])
    expect(one.received.map(each => each.kind).slice(6)).toEqual(['gap', 'message', 'message'])
    expect(link()).toMatchObject({ delivered: 0, dropped: 1, pending: 2, unconfirmed: 2 })
    // The next one has had its tries with the first.
    scheduler.advance(2000 - 3 * SWEEP_MS)
    expect(link().dropped).toBe(1)
    scheduler.advance(3 * SWEEP_MS)
    expect(link()).toMatchObject({ delivered: 0, dropped: 2, pending: 1 })
    expect(one.seqs()).toEqual([1, 2, 3, 1, 2, 3, 2, 3, 3])
    ack(3)
    expect(link()).toMatchObject({ delivered: 1, dropped: 2, pending: 0 })
    expect(hub.getConnectionStats().drops).toEqual([{ policy: 'reliable', reason: 'unconfirmed', count: 2 }])
  })

  it('skip of the only one: told without anything else to send', () => {
    const { one, publish, scheduler, link, gaps, kept } = setUp({ ackMs: 1000, tries: 0, giveUp: 'skip' })
    publish()
    scheduler.advance(1000 + 2 * SWEEP_MS)
    expect(gaps).toEqual(['1-1 1 unconfirmed'])
    expect(one.gaps()).toHaveLength(1)
    expect(link()).toMatchObject({ delivered: 0, dropped: 1, pending: 0 })
    expect(kept()).toEqual({ queued: 0, kept: 0 })
    scheduler.advance(100)
    expect(scheduler.timers).toBe(1)
  })

  it('a message given up and confirmed after all stays lost: it was told', () => {
    const { publish, ack, scheduler, link } = setUp({ ackMs: 1000, tries: 0, giveUp: 'skip' })
    publish(2)
    scheduler.advance(1000 + SWEEP_MS)
    ack(1)
    expect(link()).toMatchObject({ delivered: 0, dropped: 1, pending: 1 })
    ack(2)
    expect(link()).toMatchObject({ delivered: 1, dropped: 1, pending: 0 })
  })
})

describe('reliable: who is not waited for', () => {
  it('a topic on which all is confirmed has nothing to give up, whatever another one of the client waits for', () => {
    const { hub, scheduler, one, publish, ack } = setUp({ ackMs: 1000, tries: 0 })
    hub.subscribe('one', 'u')
    publish()
    scheduler.advance(10)
    ack(1)
    scheduler.advance(800)
    hub.routeData('u', new Uint8Array(1))
    scheduler.advance(900)
    expect(one.closedFor).toBeUndefined()
    one.client!.confirmed('u', 1)
    scheduler.advance(5000)
    expect(one.closedFor).toBeUndefined()
  })

  it('a client whose connection is full: what comes waits in the log, as under any policy', () => {
    const { hub, one, publish, link, scheduler } = setUp({ ackMs: 1000, tries: 0 }, { window: 0 })
    publish()
    publish(5)
    expect(link()).toMatchObject({ state: 'behind', unconfirmed: 1, pending: 6 })
    expect(hub.getTopic('t')!.behind).toBe(1)
    scheduler.advance(60_000)
    expect(one.closedFor).toBeUndefined()
  })
})

describe('reliable: how much may be unconfirmed', () => {
  it('so many messages, exactly, however they come', () => {
    for (const together of [1, 2, 3, 7]) {
      const { one, publish, ack, link, scheduler } = setUp({ window: 5 })
      for (let i = 0; i < 21; i += together) publish(Math.min(together, 21 - i))
      expect(one.seqs()).toEqual([1, 2, 3, 4, 5])
      expect(link()).toMatchObject({ pending: 21, unconfirmed: 5 })
      ack(2)
      expect(one.seqs()).toEqual([1, 2, 3, 4, 5, 6, 7])
      ack(7)
      expect(link()).toMatchObject({ unconfirmed: 5, pending: 14 })
      ack(12)
      ack(17)
      ack(21)
      scheduler.settle()
      expect(one.seqs()).toEqual(Array.from({ length: 21 }, (_, i) => i + 1))
      expect(link()).toMatchObject({ delivered: 21, pending: 0, state: 'live' })
      publish(together)
      expect(one.seqs()).toHaveLength(21 + Math.min(together, 5))
    }
  })

  it('so many bytes, exactly, however they come', () => {
    for (const together of [1, 2, 6]) {
      const { one, publish, ack, link } = setUp({ bytes: 10 * KIB })
      for (let i = 0; i < 6; i += together) publish(together, 3 * KIB)
      expect(one.seqs()).toEqual([1, 2, 3])
      ack(1)
      expect(one.seqs()).toEqual([1, 2, 3, 4])
      expect(link().unconfirmed).toBe(3)
      ack(4)
      expect(one.seqs()).toEqual([1, 2, 3, 4, 5, 6])
    }
  })

  it('a burst of twice as much is no reason to close: one half goes, the other waits', () => {
    for (const [messages, closed] of [
      [20, undefined],
      [21, 'slow'],
    ] as const) {
      const { one, publish, scheduler, ack, link } = setUp({ bytes: 10 * KIB })
      publish(messages, KIB)
      scheduler.advance(50)
      expect(one.closedFor).toBe(closed)
      if (closed !== undefined) continue
      expect(one.seqs()).toHaveLength(10)
      ack(10)
      ack(20)
      expect(link()).toMatchObject({ delivered: 20, dropped: 0, pending: 0 })
    }
  })

  it('also of what one tick sends in several batches', () => {
    const { hub, scheduler, one, link } = setUp({ bytes: 10 * KIB })
    for (let i = 0; i < 6; i++) {
      hub.routeData('t', new Uint8Array(3 * KIB))
      // A membership change seals what is pending: a batch each, and none of them written yet.
      hub.subscribe('one', 'other')
      hub.unsubscribe('one', 'other')
      hub.setDeliveryPolicy('t', hub.getDeliveryPolicy('t'))
    }
    scheduler.settle()
    expect(one.seqs()).toEqual([1, 2, 3])
    expect(link().unconfirmed).toBe(3)
  })

  it('one message larger than all of that goes alone', () => {
    const { one, publish, ack } = setUp({ bytes: KIB })
    publish(1, 900)
    publish(1, 1020)
    expect(one.seqs()).toEqual([1])
    ack(1)
    expect(one.seqs()).toEqual([1, 2])
    ack(2)
    const larger = setUp({ bytes: KIB })
    larger.publish(1, 2 * KIB)
    expect(larger.one.seqs()).toEqual([1])
  })

  it('what may wait to be sent is bounded as well: more closes the client as slow', () => {
    const { one, publish, scheduler, hub } = setUp({ window: 1, bytes: 10 * KIB })
    publish()
    publish(10, KIB)
    scheduler.advance(50)
    expect(one.closedFor).toBeUndefined()
    publish(1, KIB)
    scheduler.advance(50)
    expect(one.closedFor).toBe('slow')
    expect(hub.getConnectionStats().keptBytes).toBe(0)
  })

  it('one that confirms nothing costs the others nothing', () => {
    const { hub, scheduler, one, connect, link } = setUp({ window: 4, ackMs: 1000, tries: 100 })
    const good = connect('good', { acknowledges: true })
    hub.subscribe('good', 't')
    for (let i = 0; i < 200; i++) {
      hub.routeData('t', new Uint8Array(100).fill(120))
      scheduler.advance(10)
      good.read()
    }
    expect(good.seqs()).toEqual(Array.from({ length: 200 }, (_, i) => i + 1))
    expect(hub.getSubscription('good', 't')).toMatchObject({ delivered: 200, dropped: 0, pending: 0, state: 'live' })
    expect(new Set(one.seqs())).toEqual(new Set([1, 2, 3, 4]))
    expect(link()).toMatchObject({ delivered: 0, pending: 200, unconfirmed: 4 })
  })

  it('under a rate limit the window holds too', () => {
    const { hub, scheduler, one, publish, ack } = setUp({})
    hub.setDeliveryPolicy('t', rateLimit({ messages: 1000 }, reliable({ window: 3 })))
    publish(10)
    scheduler.advance(100)
    expect(one.seqs()).toEqual([1, 2, 3])
    ack(3)
    scheduler.advance(100)
    expect(one.seqs()).toEqual([1, 2, 3, 4, 5, 6])
  })
})

describe('reliable: what it says of itself', () => {
  it('with its defaults', () => {
    expect(reliable().describe()).toEqual({
      name: 'reliable',
      window: 256,
      ackMs: 30_000,
      tries: 5,
      giveUp: 'close',
      bytes: KIB * KIB,
    })
    expect(reliable()).toMatchObject({
      confirm: true,
      stepwise: true,
      backlog: { kind: 'log', bytes: KIB * KIB, messages: 10_000, overflow: 'close' },
    })
    expect(Object.isFrozen(reliable())).toBe(true)
  })

  it('waits 30 s for a confirmation by default', () => {
    const { one, publish, scheduler } = setUp({})
    publish()
    scheduler.advance(29_999)
    expect(one.seqs()).toEqual([1])
    scheduler.advance(1 + SWEEP_MS)
    expect(one.seqs()).toEqual([1, 1])
  })
})
