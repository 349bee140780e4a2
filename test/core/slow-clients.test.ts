import { describe, expect, it } from 'vitest'
import type { CloseReason } from '../../src/core/connection.ts'
import { FRAME_BYTES } from '../../src/core/ledger.ts'
import type { DeliveryPolicy } from '../../src/core/policy.ts'
import { createHub, type HubOptions } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { dropSlow } from '../../src/policies/drop-slow.ts'
import { latest } from '../../src/policies/latest.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import { FakeConnection as Fake, type FakeConnectionOptions } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { type Pace, PacedReader } from '../../src/testing/pace.ts'
import { expectPositionsAlone } from '../positions-alone.ts'
import { held } from './held.ts'

const KIB = 1024
const MIB = 1024 * KIB
const strict = { floorRate: Number.POSITIVE_INFINITY }
const rawCodec = {
  name: 'raw',
  encode: ({ payload }: { payload: Uint8Array }) => payload,
  concat: (frames: readonly Uint8Array[], bytes: number) => Buffer.concat(frames, bytes),
}

function setUp(policy: DeliveryPolicy, options: HubOptions = {}) {
  const scheduler = new ManualScheduler()
  const hub = createHub({ scheduler, policy, topics: openTopics({ maxMessageBytes: 16 * MIB }), ...options })
  const ended = new Map<string, { at: number; reason: CloseReason }>()
  hub.events.on('unregister', ({ id, reason }) => ended.set(id, { at: scheduler.now(), reason }))
  const connect = (id: string, fake: FakeConnectionOptions = {}, topics: readonly string[] = ['t']): Fake => {
    const connection = new Fake({ codec: rawCodec, receiveBuffer: 0, ...fake })
    connection.client = hub.registerClient(id, connection)
    for (const topic of topics) hub.subscribe(id, topic)
    return connection
  }
  const publish = (bytes: number, topic = 't') => hub.routeData(topic, new Uint8Array(bytes))
  /** Publishes so many bytes every so many ms, for so long. */
  const stream = (bytes: number, everyMs: number, forMs: number) => {
    for (let at = 0; at < forMs; at += everyMs) {
      publish(bytes)
      scheduler.advance(everyMs)
    }
  }
  const read = (connection: Fake, pace: Pace) => new PacedReader(connection, scheduler, pace)
  return { scheduler, hub, ended, connect, publish, stream, read }
}

describe('slow by what waits in this process', () => {
  it('a message that waits no longer than the timeout is in time, one that waits longer is not, and it takes two looks', () => {
    const { scheduler, ended, connect, publish } = setUp(dropSlow({ timeoutMs: 250, ...strict }))
    const one = connect('one', { window: 0 })
    publish(10)
    scheduler.advance(250)
    one.read()
    publish(10)
    scheduler.advance(275)
    expect(ended.size).toBe(0)
    scheduler.advance(25)
    expect(ended.get('one')).toEqual({ at: 550, reason: 'slow' })
    expect(one.closedFor).toBe('slow')
  })

  it('what was read between the two looks saves the client', () => {
    const { scheduler, ended, connect, publish } = setUp(dropSlow({ timeoutMs: 250, ...strict }))
    const one = connect('one', { window: 0 })
    publish(10)
    scheduler.advance(280)
    one.read()
    scheduler.advance(1000)
    expect(ended.size).toBe(0)
  })

  it('trickling does not help: the age is that of the oldest message, not of the last progress', () => {
    const { ended, connect, stream, read } = setUp(dropSlow({ timeoutMs: 250, bytes: 64 * MIB, ...strict }))
    const one = connect('one', { window: 16 * KIB })
    using _ = read(one, { kind: 'rate', bytesPerSecond: 20 * KIB })
    stream(16 * KIB, 20, 1000)
    expect(ended.get('one')?.reason).toBe('slow')
    expect(ended.get('one')?.at).toBeLessThanOrEqual(600)
  })

  it('nor does taking a piece each time in time: what waits behind it grows old', () => {
    const { ended, connect, stream, read } = setUp(dropSlow({ timeoutMs: 250, bytes: 64 * MIB, ...strict }))
    const one = connect('one', { window: 0 })
    using _ = read(one, { kind: 'pauses', readMs: 10, pauseMs: 190 })
    stream(16 * KIB, 20, 2000)
    expect(ended.get('one')?.reason).toBe('slow')
  })

  it('a message counts from when it came, but not from before its reader fell behind', () => {
    const history = { messages: 1000, bytes: MIB, ageMs: 60_000 }
    const { scheduler, hub, ended, connect, publish } = setUp(dropSlow({ timeoutMs: 250, ...strict }), {
      topics: openTopics({ history, maxMessageBytes: MIB }),
    })
    publish(100 * KIB)
    scheduler.advance(10_000)
    const one = connect('one', { window: 0 }, [])
    hub.subscribe('one', 't', { after: 'oldest' })
    scheduler.advance(200)
    expect(ended.size).toBe(0)
    expect(hub.getClient('one').waitedMs).toBe(200)
    one.read()
    scheduler.advance(1000)
    expect(ended.size).toBe(0)
    expect(one.unread).toBe(0)
  })

  it('a large message and what is ahead of it may take as long as the floor rate needs', () => {
    const { scheduler, ended, connect, publish, read } = setUp(dropSlow({ bytes: 8 * MIB, floorRate: MIB }))
    const one = connect('one', { window: 64 * KIB })
    using _ = read(one, { kind: 'rate', bytesPerSecond: 1_000_000 })
    publish(MIB)
    scheduler.advance(5000)
    expect(ended.size).toBe(0)
    for (let i = 0; i < 16; i++) publish(64 * KIB)
    scheduler.advance(5000)
    expect(ended.size).toBe(0)
    expect(one.unread).toBe(0)
  })

  it('the same under the strict rule is slow', () => {
    const { scheduler, ended, connect, publish, read } = setUp(dropSlow({ bytes: 8 * MIB, ...strict }))
    using _ = read(connect('one', { window: 64 * KIB }), { kind: 'rate', bytesPerSecond: 1_000_000 })
    publish(MIB)
    scheduler.advance(5000)
    expect(ended.get('one')?.reason).toBe('slow')
  })

  it('a client that stops in the middle of a large message is found when that has had its time', () => {
    const { scheduler, ended, connect, publish } = setUp(dropSlow({ floorRate: MIB, timeoutMs: 250, bytes: 8 * MIB }))
    connect('one', { window: 64 * KIB })
    publish(MIB)
    scheduler.advance(1250)
    expect(ended.size).toBe(0)
    scheduler.advance(75)
    expect(ended.get('one')?.reason).toBe('slow')
  })

  it('nor does an allowance that it did not need: what comes after a large message is judged alone', () => {
    const { scheduler, ended, connect, publish } = setUp(dropSlow({ floorRate: MIB, bytes: 8 * MIB }))
    const one = connect('one', { window: 0 })
    publish(4 * MIB)
    scheduler.advance(300)
    one.read()
    publish(KIB)
    scheduler.advance(400)
    expect(ended.get('one')?.reason).toBe('slow')
  })

  it('what it took a while ago earns no time for what waits now', () => {
    const { hub, scheduler, ended, connect, publish, stream, read } = setUp(
      dropSlow({ floorRate: MIB, bytes: 8 * MIB }),
    )
    const one = connect('one', { window: 16 * KIB })
    using script = read(one, { kind: 'rate', bytesPerSecond: MIB })
    // A backlog that it works off slowly: it is never caught up in all the three seconds.
    for (let i = 0; i < 10; i++) publish(32 * KIB)
    stream(20_900, 20, 3000)
    expect(ended.size).toBe(0)
    expect(hub.getClient('one').queuedBytes).toBeGreaterThan(128 * KIB)
    script.follow({ kind: 'stalled' })
    const stalled = scheduler.now()
    stream(20_900, 20, 2000)
    expect(ended.get('one')?.reason).toBe('slow')
    expect(ended.get('one')!.at - stalled).toBeLessThanOrEqual(700)
  })

  it('what the connection took at once in between counts as taken', () => {
    const { scheduler, ended, connect, publish } = setUp(dropSlow({ floorRate: MIB, bytes: 8 * MIB }))
    const one = connect('one', { window: 192 * KIB })
    for (let i = 0; i < 48; i++) publish(64 * KIB)
    for (let i = 0; i < 20; i++) {
      scheduler.advance(200)
      one.read(256 * KIB)
    }
    expect(ended.size).toBe(0)
    expect(one.unread).toBe(0)
  })

  it('a client that ends inside of its own write leaves nothing in the books', () => {
    const { hub, scheduler, connect, publish } = setUp(dropSlow())
    const one = connect('one')
    one.answer = () => {
      hub.unregisterClient('one', 'lost')
      return 'full'
    }
    publish(10 * KIB, 'u')
    hub.subscribe('one', 'u')
    publish(10 * KIB, 'u')
    scheduler.settle()
    const { keptBytes, retainedBytes, queuedBytes } = hub.getConnectionStats()
    expect({ keptBytes, queuedBytes }).toEqual({ keptBytes: retainedBytes, queuedBytes: 0 })
  })

  it('a rate limit in between does not make its client slow', () => {
    const policy = rateLimit({ messages: 1 }, dropSlow({ timeoutMs: 250 }))
    const { ended, connect, stream, scheduler } = setUp(policy)
    const one = connect('one')
    stream(10, 20, 2000)
    expect(ended.size).toBe(0)
    scheduler.advance(1000)
    expect(one.writes).toBeGreaterThan(1)
    expect(one.writes).toBeLessThan(6)
  })

  it('nor is the time that a rate held a message back the client’s', () => {
    const policy = rateLimit({ messages: 5, burst: 0.2 }, dropSlow({ timeoutMs: 250, ...strict }))
    const { ended, connect, publish, scheduler } = setUp(policy)
    const one = connect('one', { window: 0 })
    for (let i = 0; i < 40; i++) publish(10)
    for (let i = 0; i < 200; i++) {
      scheduler.advance(50)
      one.read()
    }
    expect([ended.size, one.writes]).toEqual([0, 40])
  })

  it('and a rate limit sends when the rate allows, not when the policy below it wants to look', () => {
    const { connect, publish, scheduler } = setUp(
      rateLimit({ messages: 20, burst: 0.05 }, dropSlow({ timeoutMs: 1000 })),
    )
    const one = connect('one')
    for (let i = 0; i < 30; i++) publish(10)
    scheduler.advance(1000)
    expect(one.writes).toBeGreaterThanOrEqual(19)
  })

  it('a client that is slow on the wire is found under a rate limit, too', () => {
    const { ended, connect, stream } = setUp(rateLimit({ messages: 1000 }, dropSlow({ measure: 'wire' })))
    connect('one')
    stream(10, 20, 1000)
    expect(ended.get('one')?.reason).toBe('slow')
  })

  it('but a client that is slow under a rate limit is', () => {
    const { ended, connect, stream } = setUp(rateLimit({ messages: 1000 }, dropSlow({ timeoutMs: 250 })))
    connect('one', { window: 0 })
    stream(10, 20, 1000)
    expect(ended.get('one')?.reason).toBe('slow')
  })
})

describe('our own loop', () => {
  it('the time in which it was blocked is nobody’s fault but ours', () => {
    const { scheduler, ended, connect, publish } = setUp(dropSlow({ timeoutMs: 250, ...strict }))
    const one = connect('one', { window: 0 })
    publish(10)
    scheduler.advance(100)
    scheduler.block(400)
    // Two sweeps later it would be out.
    scheduler.advance(75)
    expect(ended.size).toBe(0)
    expect(one.closedFor).toBeUndefined()
    scheduler.advance(150)
    expect(ended.get('one')?.reason).toBe('slow')
  })

  it('and so is a stall before the client had anything to take', () => {
    const { scheduler, ended, connect, publish } = setUp(dropSlow({ timeoutMs: 250, ...strict }))
    connect('one', { window: 0 })
    publish(10)
    scheduler.block(400)
    scheduler.advance(200)
    expect(ended.size).toBe(0)
    scheduler.advance(125)
    expect(ended.size).toBe(1)
  })

  it('also when it had been behind before, and had caught up', () => {
    const { scheduler, ended, connect, publish } = setUp(dropSlow({ timeoutMs: 250, ...strict }))
    const one = connect('one', { window: 0 })
    publish(10)
    scheduler.advance(100)
    one.read()
    scheduler.advance(100)
    publish(10)
    scheduler.block(400)
    scheduler.advance(200)
    expect(ended.size).toBe(0)
  })

  it('also when a write had emptied its connection at once', () => {
    const { scheduler, ended, connect, publish } = setUp(dropSlow({ timeoutMs: 250, ...strict }))
    const one = connect('one', { window: 15 })
    publish(20)
    scheduler.settle()
    publish(10)
    scheduler.advance(100)
    one.read()
    scheduler.advance(100)
    publish(20)
    scheduler.block(400)
    scheduler.advance(200)
    expect(ended.size).toBe(0)
  })

  it('only the part of a stall in which the client had something to take is excused', () => {
    const { scheduler, ended, connect, publish } = setUp(dropSlow({ timeoutMs: 250, ...strict }), {
      topics: openTopics({ maxMessageBytes: MIB, history: { messages: 0, bytes: 0, ageMs: 0 } }),
    })
    // Somebody waits, so the sweep runs and can come late.
    connect('first', { window: 0 }, ['u'])
    publish(10, 'u')
    scheduler.settle()
    connect('one', { window: 0 })
    // 300 ms inside of one turn, with a write in the middle: so much is published that it goes at once.
    scheduler.elapse(200)
    publish(300 * KIB)
    scheduler.elapse(100)
    scheduler.block(0)
    const flushed = scheduler.now() - 100
    scheduler.advance(1000)
    expect(ended.get('one')!.at - flushed).toBeLessThanOrEqual(75 + 350 + 25)
  })

  it('two looks without a poll of the network between them are one', () => {
    const { scheduler, ended, connect, publish } = setUp(dropSlow({ timeoutMs: 100, ...strict }))
    const one = connect('one', { window: 0 })
    publish(10)
    scheduler.settle()
    scheduler.sweepOnly(500)
    // It had taken everything long ago; we just did not get to hear of it.
    one.read()
    scheduler.advance(1000)
    expect(ended.size).toBe(0)
  })
})

describe('slow by what the peer’s host has not confirmed', () => {
  const wire = { measure: 'wire' as const, timeoutMs: 250 }

  it('finds a stalled client whose connection takes everything', () => {
    const { ended, connect, stream } = setUp(dropSlow(wire))
    const healthy = connect('healthy')
    connect('stalled')
    for (let i = 0; i < 40; i++) {
      stream(16 * KIB, 20, 20)
      healthy.read()
    }
    expect([...ended.keys()]).toEqual(['stalled'])
    expect(ended.get('stalled')!.at).toBeGreaterThanOrEqual(250)
    expect(ended.get('stalled')!.at).toBeLessThanOrEqual(600)
  })

  it('under queue, or where nobody can tell, it stays, and the API says what it is judged by', () => {
    const { hub, ended, connect, stream } = setUp(dropSlow(wire))
    connect('mute', { tellsUnacknowledged: false })
    connect('queue', {}, [])
    hub.subscribe('queue', 't', { policy: dropSlow() })
    const wired = connect('wire')
    stream(KIB, 20, 200)
    expect(hub.getClient('mute')).toMatchObject({ unacknowledged: undefined, subscriptions: [{ measured: 'queue' }] })
    expect(hub.getClient('queue')).toMatchObject({ subscriptions: [{ measured: 'queue' }] })
    expect(hub.getClient('wire')).toMatchObject({ unacknowledged: 10 * KIB, subscriptions: [{ measured: 'wire' }] })
    wired.read()
    stream(KIB, 20, 2000)
    expect([...ended.keys()]).toEqual(['wire'])
  })

  it('a subscription that measures its queue does not judge by the wire, whatever another one of its client does', () => {
    const { hub, ended, connect, stream } = setUp(dropSlow({ timeoutMs: 100 }))
    connect('one')
    hub.subscribe('one', 'u', { policy: dropSlow({ measure: 'wire', timeoutMs: 10_000 }) })
    stream(KIB, 20, 2000)
    expect(ended.size).toBe(0)
  })

  it('a receive buffer hides a thin stream until it is full, and no longer', () => {
    const { ended, connect, stream } = setUp(dropSlow(wire))
    connect('one', { receiveBuffer: 64 * KIB })
    stream(800, 50, 4000)
    expect(ended.size).toBe(0)
    stream(800, 50, 1000)
    expect(ended.get('one')!.at).toBeGreaterThanOrEqual(4096 + 250)
    expect(ended.get('one')!.at).toBeLessThanOrEqual(4096 + 500)
  })

  it('a host that has vanished is found though it had confirmed much', () => {
    const { ended, connect, stream, read, scheduler } = setUp(dropSlow(wire))
    const one = connect('one', { receiveBuffer: MIB })
    using script = read(one, { kind: 'eager' })
    stream(KIB, 20, 1000)
    script.follow({ kind: 'half-open' })
    const gone = scheduler.now()
    stream(KIB, 20, 1000)
    expect(ended.get('one')?.reason).toBe('slow')
    expect(ended.get('one')!.at - gone).toBeLessThanOrEqual(600)
  })

  it('a client that confirms late, but always within the timeout, stays', () => {
    const { ended, connect, stream, read } = setUp(dropSlow({ ...wire, ...strict }))
    using _ = read(connect('one'), { kind: 'pauses', readMs: 20, pauseMs: 180 })
    stream(4 * KIB, 20, 10_000)
    expect(ended.size).toBe(0)
  })

  it('the shortest round trip is taken off: nobody can confirm faster', () => {
    const { ended, connect, stream, read } = setUp(dropSlow({ ...wire, ...strict }))
    using _far = read(connect('far', { roundTripMs: 300 }), { kind: 'pauses', readMs: 20, pauseMs: 400 })
    using _near = read(connect('near'), { kind: 'pauses', readMs: 20, pauseMs: 400 })
    stream(KIB, 20, 5000)
    expect([...ended.keys()]).toEqual(['near'])
  })

  it('looks at nobody when nothing is in flight, and leaves no timer behind', () => {
    const { scheduler, hub, connect, publish } = setUp(dropSlow(wire))
    const one = connect('one')
    const before = scheduler.timers
    publish(10)
    scheduler.advance(50)
    expect(scheduler.timers).toBe(before + 1)
    one.read()
    scheduler.advance(200)
    expect(scheduler.timers).toBe(before)
    publish(10)
    scheduler.advance(50)
    hub.setDeliveryPolicy('t', bestEffort())
    one.read()
    scheduler.advance(200)
    expect(scheduler.timers).toBe(before)
  })

  it('forgets a client of which the last such subscription has left, and knows it again when one comes back', () => {
    const { scheduler, hub, ended, connect, publish, stream } = setUp(dropSlow(wire))
    connect('one')
    const before = scheduler.timers
    publish(10)
    scheduler.advance(50)
    hub.unsubscribe('one', 't')
    scheduler.advance(600)
    expect(scheduler.timers).toBe(before)
    hub.subscribe('one', 't')
    stream(10, 20, 600)
    expect(ended.get('one')?.reason).toBe('slow')
  })

  it('a client that confirms nothing at all gets no time for what came behind the oldest', () => {
    const { ended, connect, stream, read } = setUp(dropSlow({ ...wire, floorRate: 100 * KIB }))
    // 100 KiB/s: as fast as the floor, so it stays; then it stops.
    const one = connect('one', { receiveBuffer: 0 })
    using script = read(one, { kind: 'rate', bytesPerSecond: 100 * KIB })
    stream(2 * KIB, 20, 3000)
    expect(ended.size).toBe(0)
    script.follow({ kind: 'stalled' })
    stream(2 * KIB, 20, 2000)
    expect(ended.get('one')!.at).toBeLessThanOrEqual(3000 + 200 + 250 + 20 + 75)
  })

  it('a client that works off what is ahead at the floor rate has the time for it', () => {
    const { ended, connect, publish, scheduler, read } = setUp(dropSlow({ ...wire, floorRate: 100 * KIB }))
    using _ = read(connect('one'), { kind: 'rate', bytesPerSecond: 100 * KIB })
    for (let i = 0; i < 100; i++) {
      publish(KIB)
      scheduler.settle()
    }
    scheduler.advance(3000)
    expect(ended.size).toBe(0)
  })

  it('a large write that was confirmed earns no time for the small ones after it', () => {
    const { ended, connect, publish, scheduler, stream } = setUp(dropSlow({ ...wire, floorRate: MIB }))
    const one = connect('one')
    publish(MIB)
    scheduler.advance(100)
    one.read()
    // Two looks later it is forgotten.
    for (let i = 0; i < 30; i++) {
      stream(10, 20, 20)
      one.read()
    }
    const stalled = scheduler.now()
    stream(64 * KIB, 20, 1500)
    expect(ended.get('one')!.at - stalled).toBeLessThanOrEqual(200 + 250 + 65 + 75)
  })

  it('bytes that are not from here, such as the head of a response, make nobody late', () => {
    const { ended, connect, publish, scheduler, read } = setUp(dropSlow({ ...wire, floorRate: MIB }))
    const one = connect('one')
    const own = one.unacknowledged.bind(one)
    one.unacknowledged = () => (own() ?? 0) + (one.unread > 0 ? 300 : 0)
    scheduler.advance(5000)
    publish(MIB)
    // The first looks come before it has read anything.
    scheduler.advance(260)
    using _ = read(one, { kind: 'rate', bytesPerSecond: 2 * MIB })
    scheduler.advance(3000)
    expect(ended.size).toBe(0)
  })

  it('an allowance for size holds here too', () => {
    const { ended, connect, publish, scheduler, read } = setUp(dropSlow({ ...wire, floorRate: MIB }))
    using _ = read(connect('one'), { kind: 'rate', bytesPerSecond: MIB })
    publish(2 * MIB)
    scheduler.advance(3000)
    expect(ended.size).toBe(0)
  })

  it('asks a healthy client at most five times a second', () => {
    const { connect, stream } = setUp(dropSlow(wire))
    const one = connect('one', { receiveBuffer: Number.MAX_SAFE_INTEGER })
    let asked = 0
    const ask = one.unacknowledged.bind(one)
    one.unacknowledged = () => {
      asked++
      return ask()
    }
    stream(100, 5, 200)
    asked = 0
    stream(100, 5, 2000)
    expect(asked).toBeGreaterThanOrEqual(10)
    expect(asked).toBeLessThanOrEqual(11)
    asked = 0
    stream(100, 500, 2000)
    expect(asked).toBeLessThanOrEqual(11)
  })

  it('time in which our own loop was blocked does not count here either', () => {
    const { scheduler, ended, connect, publish } = setUp(dropSlow({ ...wire, ...strict }))
    const one = connect('one')
    publish(10)
    // The mark is set at the first look.
    scheduler.advance(210)
    scheduler.block(400)
    // The next looks: without the stall it would be out by now.
    scheduler.advance(230)
    expect(ended.size).toBe(0)
    one.read()
    scheduler.advance(1000)
    expect(ended.size).toBe(0)
  })
})

describe('bytes that may wait for one client, over all its topics', () => {
  const limits = { maxQueuedBytesPerClient: 100 * KIB }

  it('beyond them it is slow, whatever its policy', () => {
    const { scheduler, ended, connect, publish } = setUp(buffered({ bytes: 80 * KIB }), { limits })
    connect('one', { window: 0 }, ['a', 'b'])
    publish(10 * KIB, 'a')
    scheduler.settle()
    for (const topic of ['a', 'b']) publish(44 * KIB, topic)
    scheduler.advance(50)
    expect(ended.size).toBe(0)
    // 98 KiB so far; what its connection has in hand counts as well.
    publish(3 * KIB, 'b')
    scheduler.advance(50)
    expect(ended.get('one')).toMatchObject({ reason: 'slow' })
  })

  it('a policy that would rather drop gives way instead, the largest backlog first, and every loss is counted', () => {
    const policy = buffered({ bytes: 80 * KIB, overflow: 'drop-oldest' })
    const { hub, scheduler, ended, connect, publish } = setUp(policy, { limits })
    const one = connect('one', { window: 0 }, ['a', 'b'])
    publish(KIB, 'a')
    scheduler.settle()
    for (let i = 0; i < 40; i++) publish(KIB, 'a')
    for (let i = 0; i < 70; i++) publish(KIB, 'b')
    scheduler.advance(50)
    expect(ended.size).toBe(0)
    expect(hub.getClient('one').queuedBytes).toBe(100 * KIB)
    expect(hub.getSubscription('one', 'b')).toMatchObject({ dropped: 11, pendingBytes: 59 * KIB })
    expect(hub.getSubscription('one', 'a')).toMatchObject({ dropped: 0, pendingBytes: 40 * KIB })
    expect(hub.getClient('one').drops).toEqual({ overflow: 11 })
    while (one.unread > 0) {
      one.read()
      scheduler.settle()
    }
    expect(hub.getSubscription('one', 'b')).toMatchObject({ delivered: 59, dropped: 11, pending: 0 })
    expect(hub.getSubscription('one', 'a')).toMatchObject({ delivered: 41, dropped: 0, pending: 0 })
  })

  it('drop-newest gives up the newest of its list', () => {
    const policy = buffered({ bytes: 80 * KIB, overflow: 'drop-newest' })
    const { hub, scheduler, connect, publish } = setUp(policy, { limits })
    const one = connect('one', { window: 0 }, ['a', 'b'])
    publish(KIB, 'a')
    scheduler.settle()
    for (let i = 0; i < 60; i++) publish(KIB, 'a')
    for (let i = 0; i < 50; i++) publish(KIB, 'b')
    scheduler.advance(50)
    expect(hub.getClient('one').queuedBytes).toBe(100 * KIB)
    expect(hub.getSubscription('one', 'a')).toMatchObject({ dropped: 11 })
    while (one.unread > 0) {
      one.read()
      scheduler.settle()
    }
    expect(hub.getSubscription('one', 'a')).toMatchObject({ published: 61, delivered: 50, dropped: 11, pending: 0 })
    expect(hub.getSubscription('one', 'b')).toMatchObject({ published: 50, delivered: 50 })
  })

  it('a list of which nothing is left is no list: the client reads on', () => {
    const limits = { maxQueuedBytesPerClient: 10 * KIB }
    const { hub, scheduler, connect, publish } = setUp(buffered({ bytes: 10 * KIB, overflow: 'drop-newest' }), {
      limits,
    })
    const one = connect('one', { window: 10 }, ['a', 'b'])
    publish(9 * KIB, 'a')
    for (const topic of ['a', 'b']) publish(900, topic)
    for (let i = 0; i < 40; i++) {
      publish(400, i % 2 === 0 ? 'a' : 'b')
      scheduler.advance(10)
    }
    for (let i = 0; i < 10; i++) {
      one.read()
      scheduler.advance(50)
    }
    for (const topic of ['a', 'b']) publish(10, topic)
    scheduler.advance(50)
    for (const { published, delivered, dropped, state } of hub.getClient('one').subscriptions) {
      expect({ sum: delivered + dropped, state }).toEqual({ sum: published, state: 'live' })
    }
  })

  it('a policy that allows more on one topic widens it', () => {
    const { hub, scheduler, ended, connect, publish } = setUp(buffered({ bytes: 500 * KIB }), { limits })
    connect('one', { window: 0 }, ['a', 'b'])
    for (const topic of ['a', 'b', 'a', 'b']) publish(100 * KIB, topic)
    scheduler.advance(50)
    expect(ended.size).toBe(0)
    expect(hub.getClient('one').queuedBytes).toBe(400 * KIB)
  })
})

describe('a client that is given what it missed and does not read', () => {
  const history = { messages: 100, bytes: MIB, ageMs: 60_000 }
  const resumed = (policy: DeliveryPolicy) => {
    const world = setUp(policy, { topics: openTopics({ history }) })
    for (let i = 0; i < 20; i++) world.hub.routeData('t', new Uint8Array([i]), { key: 'k' })
    world.scheduler.settle()
    const one = world.connect('one', { window: 0 }, [])
    world.hub.subscribe('one', 't', { after: 'oldest' })
    world.scheduler.settle()
    for (let i = 20; i < 60; i++) world.hub.routeData('t', new Uint8Array([i]), { key: 'k' })
    world.scheduler.settle()
    return { ...world, one, link: () => world.hub.getSubscription('one', 't') }
  }

  it.each([
    ['latest', latest(), { delivered: 2, dropped: 58 }],
    ['drop-oldest', buffered({ messages: 5, overflow: 'drop-oldest' }), { delivered: 25, dropped: 35 }],
    ['drop-newest', buffered({ messages: 5, overflow: 'drop-newest' }), { delivered: 25, dropped: 35 }],
    ['best-effort', bestEffort(), { delivered: 20, dropped: 40 }],
  ] as const)('under %s it loses what that policy says', (_name, policy, expected) => {
    const { one, link, scheduler } = resumed(policy)
    for (let i = 0; i < 10; i++) {
      one.read()
      scheduler.advance(50)
    }
    expect(link()).toMatchObject({ ...expected, published: 60, pending: 0 })
  })

  it('under a policy that closes it is closed', () => {
    const { scheduler, ended } = resumed(buffered({ messages: 5 }))
    scheduler.advance(50)
    expect(ended.get('one')?.reason).toBe('slow')
  })
})

describe('bytes that the hub keeps in all', () => {
  const history = { messages: 1000, bytes: MIB, ageMs: 60_000 }
  const none = { messages: 0, bytes: 0, ageMs: 0 }
  const limits = { maxRetainedBytes: 400 * KIB }

  it('histories go first, the largest first', () => {
    const { hub, scheduler, publish } = setUp(buffered(), { limits, topics: openTopics({ history }) })
    publish(60 * KIB, 'a-small')
    for (let i = 0; i < 4; i++) publish(90 * KIB, 'z-large')
    scheduler.settle()
    expect(hub.getTopic('z-large')?.retained).toEqual({ messages: 0, bytes: 0 })
    expect(hub.getTopic('a-small')?.retained).toEqual({ messages: 1, bytes: held(60 * KIB) })
  })

  it('then the client with most waiting, then the one that waited longest, then by name; always the same', () => {
    const topics = openTopics({ history: none })
    const { hub, scheduler, ended, connect, publish } = setUp(buffered({ overflow: 'drop-oldest' }), { limits, topics })
    for (const id of ['d', 'c', 'b', 'a']) connect(id, { window: 0 }, [id])
    publish(90 * KIB, 'd')
    publish(90 * KIB, 'b')
    scheduler.advance(1)
    publish(90 * KIB, 'a')
    publish(140 * KIB, 'c')
    scheduler.settle()
    expect([...ended.keys()]).toEqual(['c'])
    publish(140 * KIB, 'd')
    scheduler.settle()
    expect([...ended.keys()]).toEqual(['c', 'd'])
    expect(ended.get('d')?.reason).toBe('slow')
    connect('e', { window: 0 }, ['e'])
    publish(90 * KIB, 'e')
    connect('f', { window: 0 }, ['f'])
    publish(90 * KIB, 'f')
    scheduler.settle()
    expect(hub.getConnectionStats().keptBytes).toBe(4 * (held(90 * KIB) + FRAME_BYTES))
    connect('g', { window: 0 }, ['g'])
    publish(100 * KIB, 'g')
    scheduler.settle()
    // The largest first, then the one that waited longest; until an eighth is free again.
    expect([...ended.keys()]).toEqual(['c', 'd', 'g', 'b'])
  })

  it('what was kept only for the one that went goes with it, so that the next may stay', () => {
    const topics = openTopics({ history: none })
    const { hub, scheduler, ended, connect, publish } = setUp(buffered(), { limits, topics })
    connect('far', { window: 0 })
    publish(10 * KIB)
    scheduler.settle()
    for (let i = 0; i < 3; i++) publish(90 * KIB)
    scheduler.settle()
    connect('near', { window: 0 })
    publish(50 * KIB)
    scheduler.settle()
    publish(75 * KIB)
    scheduler.settle()
    expect([...ended.keys()]).toEqual(['far'])
    expect(hub.getConnectionStats().keptBytes).toBe(held(50 * KIB) + held(75 * KIB) + FRAME_BYTES)
  })

  it('lists of a client’s own and newest values count as well', () => {
    const topics = openTopics({ history: none })
    const { hub, scheduler, connect, publish } = setUp(buffered(), { topics })
    connect('own', { window: 0 }, [])
    connect('newest', { window: 0 }, [])
    hub.subscribe('own', 'a', { policy: buffered({ overflow: 'drop-newest' }) })
    hub.subscribe('newest', 'b', { policy: latest() })
    for (const topic of ['a', 'b']) publish(KIB, topic)
    scheduler.settle()
    expect(hub.getConnectionStats().keptBytes).toBe(2 * (held(KIB) + FRAME_BYTES))
    for (let i = 0; i < 5; i++) publish(10 * KIB, 'a')
    for (let i = 0; i < 5; i++) publish(20 * KIB, 'b')
    scheduler.settle()
    expect(hub.getConnectionStats().keptBytes).toBe(2 * (held(KIB) + FRAME_BYTES) + 5 * held(10 * KIB) + held(20 * KIB))
    for (const id of ['own', 'newest']) hub.unregisterClient(id, 'lost')
    scheduler.settle()
    expect(hub.getConnectionStats().keptBytes).toBe(0)
  })

  it('a history that many replay is counted once', () => {
    const topics = openTopics({ history })
    const { hub, scheduler, ended, connect, publish } = setUp(buffered(), { limits, topics })
    for (let i = 0; i < 30; i++) publish(10 * KIB)
    scheduler.settle()
    for (let i = 0; i < 20; i++) {
      const id = `replays-${i}`
      connect(id, { window: 0 }, [])
      hub.subscribe(id, 't', { after: 'oldest' })
    }
    expect(hub.getConnectionStats().keptBytes).toBe(30 * held(10 * KIB, { places: 21 }))
    expect(ended.size).toBe(0)
  })

  it('comes back to nothing, whatever happened to what was kept', () => {
    const topics = openTopics({ history }, { u: { history: none } })
    const { hub, scheduler, connect, publish } = setUp(buffered(), { limits, topics })
    const overflows = ['close', 'drop-oldest', 'drop-newest'] as const
    overflows.forEach((overflow, i) => {
      const policy = buffered({ bytes: 50 * KIB, overflow })
      const ids = ['reads', 'stalls', 'leaves', 'replays'].map(name => `${name}-${i}`)
      const connections = ids.map(id => connect(id, { window: 10 * KIB }, []))
      for (const id of ids) hub.subscribe(id, 't', { policy, after: id.startsWith('replays') ? 'oldest' : undefined })
      for (let n = 0; n < 20; n++) publish(4 * KIB)
      scheduler.advance(10)
      connections[0]!.read(30 * KIB)
      scheduler.advance(10)
      hub.unsubscribe(ids[2]!, 't')
      for (let n = 0; n < 20; n++) publish(4 * KIB)
      scheduler.advance(10)
    })
    expect(hub.getConnectionStats().keptBytes).toBeGreaterThan(0)
    for (const { id } of [...hub.getActiveClients()]) hub.unregisterClient(id, 'lost')
    scheduler.advance(120_000)
    expectPositionsAlone(hub)
    scheduler.advance(3_600_000)
    expect(hub.getConnectionStats().keptBytes).toBe(0)
    // The books agree: so much is free again that nobody has to go.
    const last = connect('last', { window: 0 }, ['u'])
    publish(390 * KIB, 'u')
    scheduler.settle()
    expect(last.closedFor).toBeUndefined()
  })
})
