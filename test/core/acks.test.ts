import { describe, expect, it } from 'vitest'
import type { HubError } from '../../src/core/errors.ts'
import type { DeliveryPolicy } from '../../src/core/policy.ts'
import type { HubOptions } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { dropSlow } from '../../src/policies/drop-slow.ts'
import { latest } from '../../src/policies/latest.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import { reliable } from '../../src/policies/reliable.ts'
import { type FakeConnection, type FakeConnectionOptions, fakeCodec } from '../../src/testing/fake-connection.ts'
import { held } from './held.ts'
import { sendingWorld } from './sending.ts'

const MIB = 1024 * 1024
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i)

function setUp(policy: DeliveryPolicy = reliable({ ackMs: 1000 }), options: HubOptions = {}) {
  const world = sendingWorld({
    policy,
    topics: openTopics({ history: { messages: 0, bytes: 0, ageMs: 0 } }),
    ...options,
  })
  const { hub, scheduler } = world
  const told: string[] = []
  hub.events.on('gap', ({ gap }) => told.push(`${gap.from}-${gap.to} ${gap.count} ${gap.reason}`))
  const join = (id = 'one', fake: FakeConnectionOptions = {}): FakeConnection => {
    const connection = world.connect(id, fake)
    hub.subscribe(id, 't')
    return connection
  }
  const publish = (count = 1, topic = 't'): void => {
    for (let i = 0; i < count; i++) world.publish(topic)
    scheduler.settle()
    check()
  }
  /** Of which a flush takes two when it reads on. */
  const large = (count: number): void => {
    for (let i = 0; i < count; i++) hub.routeData('t', new Uint8Array(40 * 1024).fill(120))
    scheduler.settle()
    check()
  }
  const ack = (seq: number, id = 'one', topic = 't'): number => {
    const { epoch } = hub.getTopic(topic)!.position
    const settled = hub.acknowledge(id, topic, { epoch, seq })
    scheduler.settle()
    check()
    return settled
  }
  const advance = (ms: number): void => {
    scheduler.advance(ms)
    check()
  }
  const link = (id = 'one', topic = 't') => hub.getSubscription(id, topic)!
  /** What is left of a link's messages: delivered, dropped, pending, and those of the pending that are unconfirmed. */
  const account = (id = 'one', topic = 't'): number[] => {
    const { delivered, dropped, pending, unconfirmed } = link(id, topic)
    return [delivered, dropped, pending, unconfirmed]
  }
  /** I6, for each link and in sum. */
  function check(): void {
    const sum = { pending: 0, unconfirmed: 0 }
    for (const client of hub.getActiveClients()) {
      for (const { published, delivered, dropped, pending, unconfirmed } of client.subscriptions) {
        expect(delivered + dropped + pending).toBe(published)
        expect(unconfirmed).toBeLessThanOrEqual(pending)
        sum.pending += pending
        sum.unconfirmed += unconfirmed
      }
    }
    const { pending, unconfirmed } = hub.getConnectionStats()
    expect({ pending, unconfirmed }).toEqual(sum)
    expect(world.faults).toEqual([])
  }
  /** Nothing is kept for anybody, and nobody looks. */
  const atRest = (): void => {
    // What was kept for those who were behind goes with the housekeeping at the latest.
    advance(1050)
    const { keptBytes, queuedBytes, retainedBytes, pending, unconfirmed, behind, positions } = hub.getConnectionStats()
    expect({ queuedBytes, pending, unconfirmed, behind }).toEqual({
      ...{ queuedBytes: 0, pending: 0, unconfirmed: 0, behind: 0 },
    })
    // The positions of topics that nobody uses any more.
    expect(keptBytes).toBe(retainedBytes)
    expect(keptBytes).toBeLessThanOrEqual(positions * 300)
    expect(scheduler.timers).toBe(1)
  }
  return { ...world, join, publish, large, ack, advance, link, account, check, atRest, told }
}

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    return (error as HubError).code
  }
  return 'nothing was thrown'
}

describe('confirmed is delivered', () => {
  it('a message is pending until its receiver confirms it, and delivered from then on', () => {
    const { hub, join, publish, advance, ack, account, atRest } = setUp()
    const one = join()
    publish(3)
    expect(one.seqs()).toEqual([1, 2, 3])
    expect(account()).toEqual([0, 0, 3, 3])
    expect(hub.getConnectionStats()).toMatchObject({ delivered: 0, pending: 3, unconfirmed: 3 })
    expect(hub.getTopic('t')!.delivered).toBe(0)
    expect(hub.getClient('one').sinceSendMs).toBeUndefined()
    advance(500)
    expect(ack(3)).toBe(3)
    expect(account()).toEqual([3, 0, 0, 0])
    advance(20)
    expect(hub.getClient('one').sinceSendMs).toBe(20)
    expect(hub.sinceSend('one')).toBe(20)
    expect(hub.getConnectionStats()).toMatchObject({ delivered: 3, pending: 0, unconfirmed: 0 })
    expect(hub.getTopic('t')!.delivered).toBe(3)
    atRest()
  })

  it('cumulative: in the middle it settles what is before, and the rest goes on waiting', () => {
    const { join, publish, ack, account, atRest } = setUp()
    join()
    publish(5)
    expect(ack(2)).toBe(2)
    expect(account()).toEqual([2, 0, 3, 3])
    expect(ack(4)).toBe(2)
    expect(account()).toEqual([4, 0, 1, 1])
    expect(ack(5)).toBe(1)
    atRest()
  })

  it('of the past, or twice, it settles nothing', () => {
    const { join, publish, ack, account } = setUp()
    join()
    publish(3)
    expect([ack(2), ack(2), ack(1), ack(0)]).toEqual([2, 0, 0, 0])
    expect(account()).toEqual([2, 0, 1, 1])
  })

  it('of the past it does not put off what is due', () => {
    const { join, publish, ack, advance } = setUp()
    const one = join()
    publish(2)
    ack(1)
    advance(900)
    ack(1)
    expect(one.client!.confirmed('t', 0)).toBe(0)
    advance(125)
    expect(one.seqs()).toEqual([1, 2, 2])
  })

  it('of what was never sent it is POSITION_INVALID', () => {
    const { hub, join, publish, account } = setUp()
    join()
    publish(3)
    const { epoch } = hub.getTopic('t')!.position
    for (const seq of [4, 1e9]) {
      expect(codeOf(() => hub.acknowledge('one', 't', { epoch, seq }))).toBe('POSITION_INVALID')
    }
    for (const other of [`${epoch}x`, '']) {
      expect(codeOf(() => hub.acknowledge('one', 't', { epoch: other, seq: 1 }))).toBe('POSITION_INVALID')
    }
    expect(() => hub.acknowledge('one', 't', { epoch, seq: 4 })).toThrow(
      `position: the last of t that one was sent is ${epoch}-3`,
    )
    expect(codeOf(() => hub.acknowledge('nobody', 't', { epoch, seq: 1 }))).toBe('CONNECTION_NOT_FOUND')
    expect(codeOf(() => hub.acknowledge('one', 'other', { epoch, seq: 1 }))).toBe('NOT_SUBSCRIBED')
    expect(codeOf(() => hub.acknowledge('one', '..', { epoch, seq: 1 }))).toBe('TOPIC_INVALID')
    expect(account()).toEqual([0, 0, 3, 3])
  })

  it('of what is published and not sent yet it is POSITION_INVALID as well', () => {
    const { hub, join, publish, ack, account } = setUp(reliable({ window: 2 }))
    const one = join()
    publish(5)
    expect(one.seqs()).toEqual([1, 2])
    expect(codeOf(() => ack(3))).toBe('POSITION_INVALID')
    expect(account()).toEqual([0, 0, 5, 2])
    expect(hub.getClient('one').subscriptions[0]!.state).toBe('behind')
  })

  it('where nothing waits for it, it settles nothing and says so; the future is invalid there too', () => {
    const { join, publish, ack, account } = setUp(bestEffort())
    join()
    publish(3)
    expect(ack(3)).toBe(0)
    expect(codeOf(() => ack(4))).toBe('POSITION_INVALID')
    expect(account()).toEqual([3, 0, 0, 0])
  })

  it('by the transport it is silent: nonsense settles nothing and breaks nothing', () => {
    const { join, publish, account, ack, atRest, check } = setUp()
    const one = join()
    publish(3)
    for (const seq of [4, Number.NaN, -1, 0, Number.POSITIVE_INFINITY, undefined as never]) {
      expect(one.client!.confirmed('t', seq)).toBe(0)
    }
    expect(one.client!.confirmed('other', 1)).toBe(0)
    check()
    expect(account()).toEqual([0, 0, 3, 3])
    expect(one.client!.confirmed('t', 2)).toBe(2)
    publish(1)
    expect(ack(4)).toBe(2)
    atRest()
  })

  it('inside of the write of the very message', () => {
    const { join, publish, account, atRest } = setUp()
    const one = join()
    const write = one.write.bind(one)
    one.write = (frame, more) => {
      const result = write(frame, more)
      for (const seq of one.seqs()) one.client!.confirmed('t', seq)
      return result
    }
    publish(3)
    expect(account()).toEqual([3, 0, 0, 0])
    publish(1)
    expect(account()).toEqual([4, 0, 0, 0])
    atRest()
  })

  it('two topics of one client, of which one waits', () => {
    const { hub, join, publish, ack, account, atRest } = setUp(bestEffort())
    hub.setDeliveryPolicy('t', reliable({ ackMs: 1000 }))
    join()
    hub.subscribe('one', 'u')
    publish(2)
    publish(2, 'u')
    expect(account('one', 't')).toEqual([0, 0, 2, 2])
    expect(account('one', 'u')).toEqual([2, 0, 0, 0])
    expect(ack(2)).toBe(2)
    expect(ack(2, 'one', 'u')).toBe(0)
    atRest()
  })

  it('two clients of one topic wait each for itself, and what they wait for is kept once', () => {
    const { hub, join, publish, ack, account, atRest } = setUp()
    join('one')
    join('two')
    publish(4)
    expect(hub.getConnectionStats()).toMatchObject({
      ...{ keptBytes: 4 * held(1, { places: 2 }), retainedBytes: 4 * held(1, { places: 2 }), queuedBytes: 0 },
    })
    ack(4, 'one')
    expect(account('one')).toEqual([4, 0, 0, 0])
    expect(account('two')).toEqual([0, 0, 4, 4])
    expect(hub.getConnectionStats().keptBytes).toBe(4 * held(1))
    ack(3, 'two')
    expect(hub.getConnectionStats().keptBytes).toBe(held(1))
    ack(4, 'two')
    atRest()
  })

  it('what the protocol cannot carry is lost and told, and the rest is waited for', () => {
    const { join, publish, ack, account, told, atRest, advance } = setUp()
    const codec = {
      ...fakeCodec,
      encode: (message: Parameters<typeof fakeCodec.encode>[0]) =>
        message.seq % 2 === 0 ? null : fakeCodec.encode(message),
    }
    const one = join('one', { codec })
    publish(5)
    expect(one.seqs()).toEqual([1, 3, 5])
    expect(account()).toEqual([0, 2, 3, 3])
    publish(1)
    expect(account()).toEqual([0, 3, 3, 3])
    expect(ack(3)).toBe(2)
    advance(2000)
    expect(one.seqs()).toEqual([1, 3, 5, 5])
    expect(ack(5)).toBe(1)
    expect(account()).toEqual([3, 3, 0, 0])
    expect(told).toEqual(['1-5 2 unsupported', '6-6 1 unsupported'])
    atRest()
  })
})

describe('sent again', () => {
  it('at its time, all that is not confirmed, in order and under the same numbers', () => {
    const { join, publish, ack, advance, account, atRest } = setUp()
    const one = join()
    publish(4)
    ack(1)
    advance(999)
    expect(one.seqs()).toEqual([1, 2, 3, 4])
    // The sweep looks every 25 ms.
    advance(26)
    expect(one.seqs()).toEqual([1, 2, 3, 4, 2, 3, 4])
    expect(account()).toEqual([1, 0, 3, 3])
    ack(4)
    expect(account()).toEqual([4, 0, 0, 0])
    advance(100_000)
    expect(one.seqs()).toHaveLength(7)
    atRest()
  })

  it('what is published meanwhile comes after it', () => {
    const { hub, scheduler, join, publish, advance, ack, atRest, check } = setUp()
    const one = join()
    publish(2)
    advance(990)
    // In the same turn as the sweep that sends again.
    hub.routeData('t', new Uint8Array(1))
    scheduler.advance(35)
    check()
    publish(1)
    expect(one.seqs()).toEqual([1, 2, 3, 1, 2, 3, 4])
    ack(4)
    atRest()
  })

  it('never while newer ones of its topic are about to be written', () => {
    const { hub, scheduler, join, publish, ack, atRest, check } = setUp()
    const one = join()
    publish(2)
    scheduler.advance(990)
    hub.routeData('t', new Uint8Array(1))
    // A subscription seals: the message is in the outbox, and the tick that writes it has not run.
    const two = join('two')
    scheduler.sweepOnly(11)
    check()
    scheduler.settle()
    expect(one.seqs()).toEqual([1, 2, 3])
    scheduler.advance(30)
    expect(one.seqs()).toEqual([1, 2, 3, 1, 2, 3])
    expect(two.seqs()).toEqual([])
    ack(3)
    atRest()
  })

  it('not while the connection has not taken the last write: what is in our hands is not the receiver’s to confirm', () => {
    const { join, publish, advance, ack, account, atRest } = setUp()
    const one = join('one', { window: 0 })
    publish(2)
    publish(1)
    expect(account()).toEqual([0, 0, 3, 2])
    advance(60_000)
    expect(one.seqs()).toEqual([1, 2])
    one.read()
    advance(100)
    // The third goes first, for it was next; then all three again.
    one.read()
    advance(100)
    one.read()
    advance(100)
    expect(one.seqs().slice(0, 3)).toEqual([1, 2, 3])
    one.read()
    ack(3)
    atRest()
  })

  it('a confirmation that comes while it waits to be sent again spares it', () => {
    const { join, publish, advance, ack, account, hub, atRest } = setUp()
    const one = join('one', { window: 300 })
    publish(8)
    one.read()
    advance(1025)
    // Sent again as far as the connection takes it; the confirmation of the first sending comes late.
    const before = one.seqs().length
    expect(before).toBeGreaterThan(8)
    expect(ack(8)).toBeGreaterThan(0)
    one.read()
    advance(5000)
    expect(account()).toEqual([8, 0, 0, 0])
    expect(hub.getConnectionStats().delivered).toBe(8)
    atRest()
  })

  it('confirmed when it is about to be sent again, it is not; and the tries of what comes next begin anew', () => {
    const { scheduler, join, publish, advance, ack, account, atRest } = setUp(reliable({ ackMs: 1000, tries: 1 }))
    const one = join()
    publish(3)
    scheduler.advance(980)
    // The sweep has taken them back, and the tick that reads on has not run.
    scheduler.sweepOnly(21)
    expect(account()).toEqual([0, 0, 3, 0])
    expect(ack(3)).toBe(3)
    expect(account()).toEqual([3, 0, 0, 0])
    expect(one.seqs()).toEqual([1, 2, 3])
    publish(1)
    advance(1025)
    expect(one.seqs()).toEqual([1, 2, 3, 4, 4])
    expect(one.closedFor).toBeUndefined()
    ack(4)
    atRest()
  })

  it('confirmed in part when it is about to be sent again, only the rest is', () => {
    const { hub, scheduler, join, publish, ack, account, atRest } = setUp()
    const one = join()
    publish(3)
    scheduler.advance(980)
    scheduler.sweepOnly(21)
    expect(one.client!.confirmed('t', Number.NaN)).toBe(0)
    expect(account()).toEqual([0, 0, 3, 0])
    expect(hub.getConnectionStats()).toMatchObject({ queuedBytes: 3, keptBytes: 3 * held(1) })
    expect(one.client!.confirmed('t', 2)).toBe(2)
    expect(account()).toEqual([2, 0, 1, 0])
    expect(hub.getConnectionStats()).toMatchObject({ queuedBytes: 1, keptBytes: held(1) })
    scheduler.settle()
    expect(account()).toEqual([2, 0, 1, 1])
    expect(one.seqs()).toEqual([1, 2, 3, 3])
    ack(3)
    atRest()
  })

  it('all that was ever sent can be confirmed while only a part is sent again', () => {
    const { join, large, advance, ack, account, atRest } = setUp()
    const one = join('one', { window: 1024 })
    large(3)
    one.read()
    advance(10)
    one.read()
    advance(1000)
    expect(one.seqs()).toEqual([1, 2, 3, 1, 2])
    expect(ack(3)).toBe(3)
    one.read()
    advance(5000)
    expect(one.seqs()).toEqual([1, 2, 3, 1, 2])
    expect(account()).toEqual([3, 0, 0, 0])
    atRest()
  })

  it('what a rate or the window has not let through yet follows when something is confirmed', () => {
    const { join, publish, advance, ack, account, atRest, hub } = setUp(reliable({ ackMs: 1000, window: 4 }))
    const one = join()
    publish(4)
    hub.setDeliveryPolicy('t', reliable({ ackMs: 1000, window: 2 }))
    advance(1025)
    expect(one.seqs()).toEqual([1, 2, 3, 4, 1, 2])
    expect(account()).toEqual([0, 0, 4, 2])
    expect(ack(2)).toBe(2)
    expect(one.seqs()).toEqual([1, 2, 3, 4, 1, 2, 3, 4])
    ack(4)
    atRest()
  })

  it('a link that is behind sends again first, and loses nothing of what waits', () => {
    const { join, publish, advance, ack, account, atRest } = setUp(reliable({ ackMs: 1000, window: 3 }))
    const one = join()
    publish(10)
    advance(1025)
    expect(one.seqs()).toEqual([1, 2, 3, 1, 2, 3])
    ack(2)
    expect(one.seqs().slice(6)).toEqual([4, 5])
    ack(5)
    ack(8)
    ack(10)
    expect(account()).toEqual([10, 0, 0, 0])
    expect(one.seqs().slice(6)).toEqual(range(4, 10))
    atRest()
  })

  it('while a rate still holds back what was to be sent again before, all of it again, in order', () => {
    const { join, publish, advance, ack, account, atRest } = setUp(
      rateLimit({ messages: 3, burst: 1 }, reliable({ ackMs: 100, tries: 50 })),
    )
    const one = join()
    publish(3)
    advance(2100)
    const seqs = one.seqs()
    expect(seqs.slice(0, 3)).toEqual([1, 2, 3])
    expect(seqs.length).toBeGreaterThan(7)
    // Never a step that is not the next one, or back to the first.
    for (let i = 1; i < seqs.length; i++) expect([1, (seqs[i - 1]! % 3) + 1]).toContain(seqs[i])
    ack(3)
    expect(account()).toEqual([3, 0, 0, 0])
    atRest()
  })

  it('what is to be sent again takes no room from what was never sent', () => {
    const { join, publish, large, advance, account, ack, atRest } = setUp(
      reliable({ ackMs: 1000, bytes: 120 * 1024, window: 10 }),
    )
    const one = join('one', { window: 1024 })
    large(3)
    one.read()
    advance(10)
    one.read()
    advance(1000)
    // The third waits to be sent again: with what comes now that is more than may wait, but that is not the receiver's fault.
    expect(one.seqs()).toEqual([1, 2, 3, 1, 2])
    large(3)
    advance(30)
    expect(one.closedFor).toBeUndefined()
    expect(account()).toEqual([0, 0, 6, 2])
    for (let i = 0; i < 5; i++) {
      one.read()
      advance(10)
      ack(Math.max(...one.seqs()))
    }
    expect(one.seqs()).toEqual([1, 2, 3, 1, 2, 3, 4, 5, 6])
    one.read()
    atRest()
    publish(1)
    expect(account()).toEqual([6, 0, 1, 1])
  })

  it('nor does it of the room that a client has over all its topics', () => {
    const { hub, scheduler, join, advance } = setUp(reliable({ ackMs: 1000, bytes: 200 * 1024, window: 10 }), {
      limits: { maxQueuedBytesPerClient: 250 * 1024 },
    })
    const one = join('one', { window: 1024 })
    hub.subscribe('one', 'u')
    const publish = (count: number): void => {
      for (let i = 0; i < count; i++)
        for (const topic of ['t', 'u']) hub.routeData(topic, new Uint8Array(40 * 1024).fill(120))
      scheduler.settle()
    }
    for (let i = 0; i < 4; i++) {
      publish(1)
      one.read()
      scheduler.settle()
    }
    expect(one.seqs()).toHaveLength(8)
    one.read()
    // 320 KiB are to be sent again, and most of it waits for the connection.
    advance(1000)
    advance(100)
    expect(one.closedFor).toBeUndefined()
    publish(2)
    advance(100)
    expect(one.closedFor).toBeUndefined()
    publish(2)
    advance(100)
    expect(one.closedFor).toBe('slow')
  })

  it('by number as by bytes', () => {
    const { join, large, publish, advance } = setUp(reliable({ ackMs: 1000, window: 5 }))
    const one = join('one', { window: 1024 })
    large(2)
    publish(3)
    for (let i = 0; i < 3; i++) {
      one.read()
      advance(10)
    }
    advance(1000)
    expect(one.seqs()).toEqual([1, 2, 3, 4, 5, 1, 2])
    // Three wait to be sent again, and as many as may wait under any policy.
    publish(10_000)
    advance(30)
    expect(one.closedFor).toBeUndefined()
    publish(5)
    advance(30)
    expect(one.closedFor).toBe('slow')
  })

  it('by number, and no more than the last time', () => {
    const { scheduler, join, large, publish, advance, account } = setUp(reliable({ ackMs: 1000, window: 5 }))
    const one = join('one', { window: 1024 })
    const sendTwice = (small: number): void => {
      large(2)
      publish(small)
      for (let i = 0; i < 3; i++) {
        one.read()
        advance(10)
      }
      advance(1000)
    }
    sendTwice(3)
    for (let i = 0; i < 3; i++) {
      one.read()
      scheduler.settle()
    }
    one.client!.confirmed('t', 5)
    expect(account()).toEqual([5, 0, 0, 0])
    sendTwice(1)
    expect(one.seqs().slice(-2)).toEqual([6, 7])
    // One of three is left.
    publish(10_003)
    advance(30)
    expect(one.closedFor).toBe('slow')
  })

  it('once all of it was sent again and confirmed there is no more room than before', () => {
    const { hub, scheduler, join, advance, check } = setUp(reliable({ ackMs: 1000, bytes: 400 * 1024, window: 10 }), {
      limits: { maxQueuedBytesPerClient: 410 * 1024 },
    })
    const one = join('one', { window: 1024, acknowledges: true })
    hub.subscribe('one', 'u')
    const publish = (count: number): void => {
      for (let i = 0; i < count; i++)
        for (const topic of ['t', 'u']) hub.routeData(topic, new Uint8Array(40 * 1024).fill(120))
      scheduler.settle()
    }
    const readAll = (): void => {
      for (let i = 0; i < 10; i++) {
        one.read()
        scheduler.settle()
      }
    }
    publish(2)
    const { client } = one
    one.client = undefined
    one.read()
    one.client = client
    client!.drained()
    advance(1000)
    readAll()
    check()
    expect(hub.getConnectionStats().pending).toBe(0)
    expect(one.seqs().length).toBeGreaterThan(4)
    publish(1)
    publish(5)
    advance(50)
    expect(one.closedFor).toBe('slow')
  })

  it('and what was never sent keeps to its own bound', () => {
    const { hub, join, large, advance } = setUp(reliable({ ackMs: 1000, bytes: 120 * 1024, window: 10 }))
    const one = join('one', { window: 1024 })
    large(3)
    one.read()
    advance(10)
    one.read()
    advance(1000)
    for (let i = 0; i < 7; i++) hub.routeData('t', new Uint8Array(40 * 1024).fill(120))
    advance(30)
    expect(one.closedFor).toBe('slow')
  })

  it('under a rate limit at the rate', () => {
    const { join, publish, advance, ack, account, atRest } = setUp(
      rateLimit({ messages: 10, burst: 0.1 }, reliable({ ackMs: 1000 })),
    )
    const one = join()
    publish(3)
    advance(250)
    expect(one.seqs()).toEqual([1, 2, 3])
    expect(account()).toEqual([0, 0, 3, 3])
    advance(1500)
    expect(one.seqs()).toEqual([1, 2, 3, 1, 2, 3])
    ack(3)
    atRest()
  })
})

describe('the end of a link with unconfirmed messages', () => {
  it.each(['unsubscribe', 'unregister', 'replace', 'close'] as const)('%s: they are lost as closed', how => {
    const { hub, join, publish, advance, atRest, check } = setUp(reliable({ ackMs: 1000, window: 3 }))
    const one = join()
    publish(5)
    advance(1025)
    if (how === 'unsubscribe') hub.unsubscribe('one', 't')
    else if (how === 'unregister') hub.unregisterClient('one')
    else if (how === 'replace') join('one')
    else one.client!.close('idle')
    check()
    const { delivered, dropped, drops } = hub.getConnectionStats()
    expect({ delivered, dropped, drops }).toEqual({
      ...{ delivered: 0, dropped: 5 },
      drops: [{ policy: 'reliable', reason: 'closed', count: 5 }],
    })
    expect(one.client!.confirmed('t', 3)).toBe(0)
    expect(one.client!.failed('t', 3)).toBe(false)
    atRest()
  })

  it('a confirmation of the last life of a subscription does not count for the next', () => {
    const { hub, join, publish, account, ack } = setUp()
    const one = join()
    publish(3)
    hub.unsubscribe('one', 't')
    hub.subscribe('one', 't')
    expect(ack(3)).toBe(0)
    publish(1)
    expect(one.client!.confirmed('t', 3)).toBe(0)
    expect(account()).toEqual([0, 0, 1, 1])
    expect(ack(4)).toBe(1)
  })
})

describe('a policy that changes', () => {
  it('from reliable: what was sent counts as delivered, and nothing of it is sent again', () => {
    const { hub, join, publish, account, advance, atRest, check } = setUp(bestEffort())
    hub.setDeliveryPolicy('t', reliable({ ackMs: 1000 }))
    const one = join()
    publish(3)
    hub.setDeliveryPolicy('t', bestEffort())
    check()
    expect(account()).toEqual([3, 0, 0, 0])
    advance(5000)
    expect(one.seqs()).toEqual([1, 2, 3])
    atRest()
  })

  it('to reliable: what was sent before is done, what comes is waited for', () => {
    const { hub, join, publish, ack, account, atRest } = setUp(bestEffort())
    join()
    publish(3)
    hub.setDeliveryPolicy('t', reliable())
    expect(account()).toEqual([3, 0, 0, 0])
    // Somebody who confirms all that it gets need not know of the change.
    expect(ack(3)).toBe(0)
    expect(codeOf(() => ack(4))).toBe('POSITION_INVALID')
    publish(1)
    expect(account()).toEqual([3, 0, 1, 1])
    expect(ack(4)).toBe(1)
    atRest()
  })

  it('to reliable, what was sent before is not in its window', () => {
    const { hub, join, large, publish, account } = setUp(bestEffort())
    join()
    large(3)
    hub.setDeliveryPolicy('t', reliable({ bytes: 10, window: 2 }))
    publish(2)
    expect(account()).toEqual([3, 0, 2, 2])
  })

  it('to reliable, what waits in the outbox or in the link was not sent yet, and nobody can confirm it', () => {
    const { hub, scheduler, join, publish, account, check, ack, atRest } = setUp(
      buffered({ messages: 50, overflow: 'drop-newest' }),
    )
    const one = join('one', { window: 0 })
    const { epoch } = hub.getTopic('t')!.position
    const confirmable = (): number => {
      for (let seq = 10; ; seq--) {
        if (codeOf(() => hub.acknowledge('one', 't', { epoch, seq })) === 'nothing was thrown') return seq
      }
    }
    publish(2)
    publish(3)
    hub.setDeliveryPolicy('t', reliable())
    expect(confirmable()).toBe(2)
    check()
    for (let i = 0; i < 3; i++) {
      one.read()
      scheduler.settle()
    }
    expect(confirmable()).toBe(5)
    hub.setDeliveryPolicy('t', bestEffort())
    hub.routeData('t', new Uint8Array(1))
    // A subscription seals.
    join('two')
    hub.setDeliveryPolicy('t', reliable())
    expect(confirmable()).toBe(5)
    scheduler.settle()
    expect(ack(6)).toBe(1)
    expect(account()).toEqual([6, 0, 0, 0])
    one.read()
    atRest()
  })

  it('to reliable inside of the very write: the message is waited for, and can be confirmed', () => {
    const { hub, join, publish, account, ack, atRest } = setUp(bestEffort())
    const one = join()
    const write = one.write.bind(one)
    one.write = (frame, more) => {
      hub.setDeliveryPolicy('t', reliable())
      return write(frame, more)
    }
    publish(1)
    expect(account()).toEqual([0, 0, 1, 1])
    expect(ack(1)).toBe(1)
    atRest()
  })

  it('to and from reliable while messages are in the outbox', () => {
    const { hub, scheduler, join, account, check } = setUp(bestEffort())
    join()
    const queue = (): void => {
      hub.routeData('t', new Uint8Array(1))
      hub.subscribe('one', 'seals')
      hub.unsubscribe('one', 'seals')
      hub.setDeliveryPolicy('t', hub.getDeliveryPolicy('t'))
      check()
    }
    queue()
    hub.setDeliveryPolicy('t', reliable())
    check()
    scheduler.settle()
    check()
    expect(account()).toEqual([0, 0, 1, 1])
    queue()
    hub.setDeliveryPolicy('t', bestEffort())
    check()
    scheduler.settle()
    expect(account()).toEqual([2, 0, 0, 0])
  })

  const successors: [string, DeliveryPolicy][] = [
    ['best-effort', bestEffort()],
    ['buffered', buffered()],
    ['drop-oldest', buffered({ messages: 50, overflow: 'drop-oldest' })],
    ['drop-newest', buffered({ messages: 50, overflow: 'drop-newest' })],
    ['drop-slow', dropSlow()],
    ['a rate limit', rateLimit({ messages: 100 }, buffered())],
    ['reliable with another window', reliable({ window: 50 })],
  ]
  it.each(successors.flatMap(([name, next]) => [3, 7].map(early => [name, early, next] as const)))(
    'while some are sent again and others wait, to %s (%d of 7 published before): all arrive, in order',
    (_, early, next) => {
      const { hub, join, large, advance, account, check, ack, atRest } = setUp(reliable({ ackMs: 1000, window: 3 }))
      const one = join('one', { window: 1024 })
      // Behind the window, in the topic's log; else, published later, in the link's own list.
      large(early)
      one.read()
      advance(10)
      one.read()
      advance(1000)
      // A flush takes two of the three, and then the connection is full.
      expect(one.seqs()).toEqual([1, 2, 3, 1, 2])
      large(7 - early)
      expect(account()).toEqual([0, 0, 7, 2])
      hub.setDeliveryPolicy('t', next)
      check()
      for (let i = 0; i < 20; i++) {
        one.read()
        advance(100)
        check()
      }
      expect(one.seqs()).toEqual([1, 2, 3, ...range(1, 7)])
      expect(one.gaps()).toEqual([])
      if (next.confirm) ack(7)
      expect(account()).toEqual([7, 0, 0, 0])
      atRest()
    },
  )

  it('what waits to be sent again has holes where something was lost before, and these are not lost once more', () => {
    const codec = {
      ...fakeCodec,
      encode: (message: Parameters<typeof fakeCodec.encode>[0]) =>
        message.seq === 4 ? null : fakeCodec.encode(message),
    }
    const { hub, join, large, publish, advance, account, check, atRest } = setUp(reliable({ ackMs: 1000, window: 4 }))
    const one = join('one', { window: 1024, codec })
    large(2)
    publish(5)
    for (let i = 0; i < 3; i++) {
      one.read()
      advance(10)
    }
    one.read()
    advance(1000)
    expect(one.seqs()).toEqual([1, 2, 3, 5, 1, 2])
    expect(account()).toEqual([0, 1, 6, 2])
    hub.setDeliveryPolicy('t', buffered())
    for (let i = 0; i < 5; i++) {
      check()
      one.read()
      advance(10)
    }
    expect(one.seqs()).toEqual([1, 2, 3, 5, 1, 2, 3, 5, 6, 7])
    expect(account()).toEqual([6, 1, 0, 0])
    atRest()
  })

  it('while some are sent again and others wait behind the window, to latest: the newest arrives, the rest is counted', () => {
    const { hub, join, large, advance, account, check, atRest } = setUp(reliable({ ackMs: 1000, window: 3 }))
    const one = join('one', { window: 1024 })
    large(7)
    one.read()
    advance(10)
    one.read()
    advance(1000)
    hub.setDeliveryPolicy('t', latest())
    check()
    for (let i = 0; i < 10; i++) {
      one.read()
      advance(100)
      check()
    }
    expect(one.seqs()).toEqual([1, 2, 3, 1, 2, 7])
    const [delivered, dropped, pending] = account()
    expect([delivered! + dropped!, pending]).toEqual([7, 0])
    expect(one.gaps().reduce((sum, { count }) => sum + count!, 0)).toBe(dropped)
    atRest()
  })

  it('a resumed subscription waits for the confirmation of what is replayed, and not for what is not sent', () => {
    const topics = openTopics({ history: { messages: 100, bytes: MIB, ageMs: 60_000 } })
    const { hub, join, publish, ack, account, advance, link } = setUp(reliable({ ackMs: 1000, window: 4 }), { topics })
    publish(10)
    const one = join()
    hub.unsubscribe('one', 't')
    const { epoch } = hub.getTopic('t')!.position
    hub.subscribe('one', 't', { after: { epoch, seq: 3 } })
    expect(codeOf(() => hub.acknowledge('one', 't', { epoch, seq: 5 }))).toBe('POSITION_INVALID')
    // What it had when it came back is nothing new.
    expect(ack(3)).toBe(0)
    expect(one.seqs()).toEqual([4, 5, 6, 7])
    expect(account()).toEqual([0, 0, 7, 4])
    expect(codeOf(() => ack(8))).toBe('POSITION_INVALID')
    advance(1025)
    expect(one.seqs()).toEqual([4, 5, 6, 7, 4, 5, 6, 7])
    ack(7)
    publish(1)
    expect(one.seqs().slice(8)).toEqual([8, 9, 10, 11])
    ack(11)
    expect(account()).toEqual([8, 0, 0, 0])
    expect(link().published).toBe(8)
  })
})

describe('a connection that confirms, under a policy that does not ask', () => {
  const policies: [string, DeliveryPolicy][] = [
    ['best-effort', bestEffort()],
    ['buffered', buffered()],
    ['drop-slow', dropSlow()],
    ['latest', latest()],
    ['a rate limit', rateLimit({ messages: 1000 }, bestEffort())],
  ]
  it.each(policies)('%s: taken is not delivered; confirmed is', (_, policy) => {
    const { join, publish, account, advance, atRest } = setUp(policy)
    const one = join('one', { confirms: true })
    publish(3)
    expect(account()).toEqual([0, 0, 3, 3])
    advance(60_000)
    expect(one.seqs()).toEqual([1, 2, 3])
    expect(one.client!.confirmed('t', 1)).toBe(1)
    expect(one.client!.confirmed('t', 3)).toBe(2)
    expect(account()).toEqual([3, 0, 0, 0])
    atRest()
  })

  it.each(policies)('%s: failed is lost, counted, and told', (_, policy) => {
    const { hub, join, publish, account, advance, atRest, check, told } = setUp(policy)
    const one = join('one', { confirms: true })
    publish(3)
    expect(one.client!.confirmed('t', 1)).toBe(1)
    expect(one.client!.failed('t', 2)).toBe(false)
    check()
    expect(account()).toEqual([1, 1, 1, 1])
    expect(one.client!.failed('t', 2)).toBe(false)
    expect(account()).toEqual([1, 1, 1, 1])
    expect(one.client!.confirmed('t', 3)).toBe(1)
    check()
    advance(50)
    expect(one.gaps()).toMatchObject([{ from: 2, to: 2, count: 1, reason: 'failed' }])
    expect(told).toEqual(['2-2 1 failed'])
    expect(hub.getConnectionStats().drops).toEqual([{ policy: policy.name, reason: 'failed', count: 1 }])
    expect(hub.getClient('one').drops).toEqual({ failed: 1 })
    atRest()
  })

  it('of what it never had it can say nothing', () => {
    const { join, publish, account, check } = setUp(bestEffort())
    const one = join('one', { confirms: true })
    publish(2)
    for (const seq of [0, 3, Number.NaN]) expect(one.client!.failed('t', seq)).toBe(false)
    expect(one.client!.failed('other', 1)).toBe(false)
    check()
    expect(account()).toEqual([0, 0, 2, 2])
  })
})

describe('a connection that confirms, under reliable', () => {
  it('failed: it is sent again at its time, and nothing newer is sent before', () => {
    const { join, publish, account, advance, check, atRest } = setUp()
    const one = join('one', { confirms: true })
    publish(3)
    expect(one.client!.confirmed('t', 1)).toBe(1)
    advance(400)
    expect(one.client!.failed('t', 2)).toBe(true)
    check()
    publish(1)
    expect(one.seqs()).toEqual([1, 2, 3])
    expect(account()).toEqual([1, 0, 3, 2])
    // From the failure on.
    advance(999)
    expect(one.seqs()).toEqual([1, 2, 3])
    advance(26)
    expect(one.seqs()).toEqual([1, 2, 3, 2, 3, 4])
    for (const seq of [2, 3, 4]) expect(one.client!.confirmed('t', seq)).toBe(1)
    expect(account()).toEqual([4, 0, 0, 0])
    atRest()
  })

  it('what it took after the failed one and confirms does not settle that', () => {
    const { hub, scheduler, join, publish, account, advance, check, atRest } = setUp()
    const one = join('one', { confirms: true })
    publish(2)
    hub.routeData('t', new Uint8Array(1))
    // A subscription seals: 3 is in the outbox when 1 fails, and goes out after that.
    join('two')
    expect(one.client!.failed('t', 1)).toBe(true)
    scheduler.settle()
    expect(one.seqs()).toEqual([1, 2, 3])
    expect(one.client!.confirmed('t', 3)).toBe(0)
    check()
    expect(account()).toEqual([0, 0, 3, 3])
    advance(1050)
    expect(one.seqs()).toEqual([1, 2, 3, 1, 2, 3])
    for (const seq of [1, 2, 3]) expect(one.client!.confirmed('t', seq)).toBe(1)
    expect(account()).toEqual([3, 0, 0, 0])
    atRest()
  })

  it('but its receiver may say that it has it after all', () => {
    const { join, publish, account, ack, advance, atRest } = setUp()
    const one = join('one', { confirms: true })
    publish(3)
    expect(one.client!.failed('t', 1)).toBe(true)
    expect(ack(3)).toBe(3)
    expect(account()).toEqual([3, 0, 0, 0])
    publish(1)
    expect(one.seqs()).toEqual([1, 2, 3, 4])
    expect(one.client!.confirmed('t', 4)).toBe(1)
    advance(5000)
    atRest()
  })

  it('what is not waited for cannot fail', () => {
    const { join, publish, account } = setUp()
    const one = join('one', { confirms: true })
    publish(2)
    one.client!.confirmed('t', 1)
    expect(one.client!.failed('t', 1)).toBe(false)
    expect(one.client!.failed('t', 3)).toBe(false)
    publish(1)
    expect(one.seqs()).toEqual([1, 2, 3])
    expect(account()).toEqual([1, 0, 2, 2])
  })

  it('failed, and then the policy no longer asks: what the connection gave up is sent again at once', () => {
    const { hub, scheduler, join, publish, account, atRest } = setUp()
    const one = join('one', { confirms: true })
    publish(3)
    expect(one.client!.failed('t', 2)).toBe(true)
    hub.setDeliveryPolicy('t', buffered())
    scheduler.settle()
    expect(one.seqs()).toEqual([1, 2, 3, 1, 2, 3])
    one.client!.confirmed('t', 3)
    expect(account()).toEqual([3, 0, 0, 0])
    atRest()
  })
})

describe('memory', () => {
  it('what waits to be confirmed counts towards what the hub keeps, and the client with most of it goes first', () => {
    const { hub, scheduler, join, publish, atRest, ack } = setUp(reliable({ ackMs: 60_000, window: 1000 }), {
      // When one has gone, what the other waits for fits in seven eighths of it.
      limits: { maxRetainedBytes: 120 * held(1) },
    })
    const [a, b] = [join('a'), join('b')]
    hub.subscribe('b', 'u')
    publish(100)
    for (let i = 0; i < 10; i++) hub.routeData('u', new Uint8Array(500))
    scheduler.settle()
    expect([a.closedFor, b.closedFor]).toEqual([undefined, 'slow'])
    expect(hub.getConnectionStats().keptBytes).toBe(100 * held(1))
    ack(100, 'a')
    atRest()
  })

  it('many small messages take more than few large ones, and their client goes first', () => {
    const limits = { maxRetainedBytes: 500_000, maxQueuedBytesPerClient: MIB }
    const { hub, scheduler, join } = setUp(reliable({ ackMs: 60_000, window: 1000 }), { limits })
    const many = join('many')
    const large = join('large')
    hub.unsubscribe('large', 't')
    hub.subscribe('large', 'u')
    for (let i = 0; i < 1000; i++) hub.routeData('t', new Uint8Array(1))
    hub.routeData('u', new Uint8Array(200_000))
    scheduler.settle()
    expect([many.closedFor, large.closedFor]).toEqual(['slow', undefined])
    expect(hub.getConnectionStats().keptBytes).toBe(held(200_000))
  })

  it('sent again it is not counted twice', () => {
    const { hub, join, publish, advance, ack, atRest } = setUp()
    join('one')
    join('two')
    publish(10)
    expect(hub.getConnectionStats().keptBytes).toBe(10 * held(1, { places: 2 }))
    advance(1025)
    expect(hub.getConnectionStats().keptBytes).toBe(10 * held(1, { places: 2 }))
    ack(10, 'one')
    ack(10, 'two')
    atRest()
  })
})
