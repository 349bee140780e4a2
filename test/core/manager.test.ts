import { describe, expect, it } from 'vitest'
import type { HubError } from '../../src/core/errors.ts'
import type { Message } from '../../src/core/message.ts'
import type { DeliveryPolicy } from '../../src/core/policy.ts'
import { POSITION_MS } from '../../src/core/positions.ts'
import { createHub, type HubOptions } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { dropSlow } from '../../src/policies/drop-slow.ts'
import { latest } from '../../src/policies/latest.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import { FakeConnection, fakeCodec } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { held } from './held.ts'

function setUp(options: HubOptions = {}) {
  const scheduler = new ManualScheduler()
  const hub = createHub({ scheduler, ...options })
  const connect = (id: string, window?: number): FakeConnection => {
    const connection = new FakeConnection(window === undefined ? {} : { window })
    connection.client = hub.registerClient(id, connection)
    return connection
  }
  const publish = (topic: string, text = 'x', key?: string) =>
    hub.routeData(topic, new TextEncoder().encode(text), { key })
  return { scheduler, hub, connect, publish }
}

function codeOf(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    return (error as HubError).code
  }
  return 'nothing was thrown'
}

describe('the message path', () => {
  it('waits for nothing but the tick, and gathers what was published in it into one write per client', () => {
    const { scheduler, hub, connect, publish } = setUp()
    const one = connect('one')
    hub.subscribe('one', 'a')
    hub.subscribe('one', 'b')
    for (let i = 0; i < 10; i++) publish('a')
    publish('b')
    expect(one.received).toEqual([])
    scheduler.turn()
    expect(one.seqs('a')).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    expect(one.seqs('b')).toEqual([1])
    expect(one.writes).toBe(1)
  })

  it('encodes once per codec, however many clients there are', () => {
    const { scheduler, hub, publish } = setUp()
    let encoded = 0
    const codec = {
      ...fakeCodec,
      encode: (message: Message) => {
        encoded++
        return fakeCodec.encode(message)
      },
    }
    for (let i = 0; i < 50; i++) {
      hub.registerClient(`c${i}`, new FakeConnection({ codec }))
      hub.subscribe(`c${i}`, 'a')
    }
    publish('a')
    publish('a')
    scheduler.settle()
    expect(encoded).toBe(2)
    expect(hub.getConnectionStats().delivered).toBe(100)
  })

  it('hands every client the same buffer, and a large message in its own frame', () => {
    const { scheduler, hub } = setUp()
    const frames: Uint8Array[] = []
    for (const id of ['one', 'two']) {
      const connection = new FakeConnection()
      connection.answer = frame => (frames.push(frame) ? 'ok' : 'gone')
      hub.registerClient(id, connection)
      hub.subscribe(id, 'a')
    }
    hub.routeData('a', new Uint8Array(10))
    hub.routeData('a', new Uint8Array(100_000))
    scheduler.settle()
    expect(frames).toHaveLength(4)
    expect(frames[0]).toBe(frames[2])
    expect(frames[1]).toBe(frames[3])
  })

  it('runs a tick at once when a lot of bytes has gathered, so that a burst does not pile up', () => {
    const { hub, connect } = setUp()
    const one = connect('one')
    hub.subscribe('one', 'a')
    for (let i = 0; i < 8; i++) hub.routeData('a', new Uint8Array(64 * 1024))
    expect(one.seqs()).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
  })

  it('tells how many a message was routed to and where it stands', () => {
    const { hub, connect, publish } = setUp()
    connect('one', 0)
    hub.subscribe('one', 'a')
    expect(publish('a')).toMatchObject({ matched: 1, behind: 0, position: { seq: 1 } })
    expect(publish('b')).toMatchObject({ matched: 0, behind: 0 })
  })

  it('brings the publisher its own message through the broker, like everyone', async () => {
    const seen: string[] = []
    const { hub } = setUp({
      broker: {
        name: 'recording',
        start: () => {},
        publish: async ({ topic }) => void seen.push(topic) as undefined,
        join: topic => void seen.push(`+${topic}`),
        leave: topic => void seen.push(`-${topic}`),
        close: () => {},
      },
    })
    hub.registerClient('one', new FakeConnection())
    hub.registerClient('two', new FakeConnection())
    hub.subscribe('one', 'a')
    hub.subscribe('two', 'a')
    await hub.publishBytes('a', new Uint8Array(1))
    hub.unsubscribe('one', 'a')
    hub.unregisterClient('two')
    expect(seen).toEqual(['+a', 'a', '-a'])
  })

  it('tells a broker that fails outside of publish as a fault', async () => {
    const { hub, connect } = setUp({
      broker: {
        name: 'broken',
        start: () => {},
        publish: () => undefined,
        join: async () => Promise.reject(new Error('no broker')),
        leave: () => {},
        close: () => {},
      },
    })
    const faults: string[] = []
    hub.events.on('fault', ({ where }) => faults.push(where))
    connect('one')
    hub.subscribe('one', 'a')
    await new Promise(setImmediate)
    expect(faults).toEqual(['broker join'])
  })
})

describe('an id that is taken again while its older client ends', () => {
  it('passes on in one step: a handler of the older client’s end finds the newer one registered', () => {
    const { hub, connect } = setUp()
    const first = connect('one')
    let nested: FakeConnection | undefined
    hub.events.once('unregister', () => {
      nested = connect('one')
    })
    const second = connect('one')
    expect([first.closedFor, second.closedFor, nested?.closedFor]).toEqual(['replaced', 'replaced', undefined])
    expect([...hub.getActiveClients()]).toHaveLength(1)
  })

  it('belongs to whom the older connection registers in its close, and the other is told', () => {
    const { hub } = setUp()
    const older = new FakeConnection()
    const nested = new FakeConnection()
    hub.registerClient('one', older)
    older.close = () => void hub.registerClient('one', nested)
    expect(codeOf(() => hub.registerClient('one', new FakeConnection()))).toBe('CLIENT_EXISTS')
    expect(nested.closedFor).toBe(undefined)
    expect([...hub.getActiveClients()]).toHaveLength(1)
  })
})

describe('membership (I2)', () => {
  it('gives a newcomer only what is published after it came, in the same tick as well', () => {
    const { scheduler, hub, connect, publish } = setUp()
    const [one, two] = [connect('one'), connect('two')]
    hub.subscribe('one', 'a')
    publish('a')
    hub.subscribe('two', 'a')
    publish('a')
    scheduler.settle()
    expect(one.seqs()).toEqual([1, 2])
    expect(two.seqs()).toEqual([2])
  })

  it('gives a leaver what was published before it left, and nothing after', () => {
    const { scheduler, hub, connect, publish } = setUp()
    const one = connect('one')
    hub.subscribe('one', 'a')
    publish('a')
    expect(hub.unsubscribe('one', 'a')).toBe(true)
    publish('a')
    scheduler.settle()
    expect(one.seqs()).toEqual([1])
    expect(hub.unsubscribe('one', 'a')).toBe(false)
    expect(hub.unsubscribe('nobody', 'a')).toBe(false)
  })

  it('takes a second subscription to the same topic for a change of the wish, not for a second copy', () => {
    const { scheduler, hub, connect, publish } = setUp()
    const one = connect('one')
    hub.subscribe('one', 'a')
    hub.subscribe('one', '/a', { policy: bestEffort() })
    publish('a')
    scheduler.settle()
    expect(one.seqs()).toEqual([1])
    expect(hub.getSubscription('one', 'a')?.policy).toEqual({ name: 'best-effort' })
  })

  it('lets handlers subscribe, leave and publish during a broadcast: nobody is skipped or served twice', () => {
    const { scheduler, hub, connect, publish } = setUp()
    const all = ['c0', 'c1', 'c2', 'c3', 'c4'].map(id => ({ id, connection: connect(id) }))
    for (const { id } of all) hub.subscribe(id, 'a')
    const second = all[1]!.connection
    second.answer = () => {
      second.answer = undefined
      hub.unregisterClient('c3')
      hub.unsubscribe('c0', 'a')
      connect('late')
      hub.subscribe('late', 'a')
      publish('a', 'from inside')
      return 'ok'
    }
    publish('a', 'first')
    scheduler.settle()
    const counts = Object.fromEntries(all.map(({ id, connection }) => [id, connection.seqs()]))
    expect(counts).toMatchObject({ c1: [2], c2: [1, 2], c4: [1, 2] })
    expect([[1], []]).toContainEqual(counts.c0)
    expect(hub.getTopic('a')?.subscribers).toBe(4)
  })

  it('never writes to a client that was ended by an event of the same tick', () => {
    const { scheduler, hub, connect, publish } = setUp()
    const one = connect('one')
    const two = connect('two')
    hub.subscribe('one', 'a')
    hub.subscribe('two', 'a')
    two.answer = () => (hub.unregisterClient('one', 'denied') ? 'ok' : 'full')
    one.answer = () => (hub.unregisterClient('two', 'denied') ? 'ok' : 'full')
    publish('a')
    // FakeConnection throws on a write after close; the outbox would count that as gone, reason lost.
    scheduler.settle()
    expect([one.closedFor, two.closedFor]).toEqual(['denied', 'denied'])
    expect(hub.getConnectionStats().closes).toEqual({ denied: 2 })
  })
})

describe('what happens inside a walk (I4)', () => {
  /** A policy that throws is told as a fault while the fan-out walks: the most awkward place to call the hub from. */
  const broken: DeliveryPolicy = {
    ...bestEffort(),
    name: 'broken',
    admit: () => {
      throw new Error('bug')
    },
  }

  it('does not skip or double anybody when links come and go, and seals nothing out of turn', () => {
    const { scheduler, hub, connect, publish } = setUp()
    const ids = ['c0', 'c1', 'c2', 'c3', 'c4', 'c5']
    const connections = ids.map(id => connect(id))
    for (const id of ids) hub.subscribe(id, 'a', id === 'c3' ? { policy: broken } : {})
    let calls = 0
    hub.events.on('fault', () => {
      if (calls++ > 0) return
      for (const id of ['c0', 'c5', 'c3']) hub.unsubscribe(id, 'a')
      connect('late')
      publish('a', 'from inside')
      hub.subscribe('late', 'a')
      publish('a', 'after the newcomer')
    })
    publish('a', 'first')
    scheduler.settle()
    for (const which of [1, 2, 4])
      expect(connections[which]!.texts()).toEqual(['first', 'from inside', 'after the newcomer'])
    expect(hub.getSubscription('late', 'a')).toMatchObject({ published: 1, delivered: 1 })
    expect(hub.getTopic('a')?.subscribers).toBe(4)
  })

  it('survives that most of those who were not visited yet leave', () => {
    const { scheduler, hub, connect, publish } = setUp()
    const ids = ['c0', 'c1', 'c2', 'c3', 'c4', 'c5', 'c6']
    const connections = ids.map(id => connect(id))
    const rude: DeliveryPolicy = {
      ...bestEffort(),
      admit() {
        for (const id of ['c0', 'c1', 'c2', 'c4']) hub.unsubscribe(id, 'a')
        return 'drop'
      },
    }
    for (const id of ids) hub.subscribe(id, 'a', id === 'c5' ? { policy: rude } : {})
    publish('a')
    scheduler.settle()
    expect(connections.map(connection => connection.seqs().length)).toEqual([0, 0, 0, 1, 0, 0, 1])
    expect(hub.getTopic('a')?.subscribers).toBe(3)
  })

  it('a fault is told after the walk, so that its handler may end whom it likes', () => {
    const { scheduler, hub, connect, publish } = setUp()
    connect('one')
    const two = connect('two')
    hub.subscribe('one', 'a', { policy: broken })
    hub.subscribe('two', 'a')
    hub.events.on('fault', () => {
      hub.unsubscribe('one', 'a')
      hub.routeData('a', new Uint8Array(300_000))
    })
    for (let i = 0; i < 3; i++) publish('a')
    scheduler.settle()
    expect(hub.getConnectionStats()).toMatchObject({ dropped: 3, pending: 0 })
    publish('a')
    scheduler.settle()
    expect(two.seqs()).toEqual([1, 2, 3, 4, 5])
  })

  it('two handlers that end each other’s client end each once, also at the close of the hub', async () => {
    const { hub, connect } = setUp()
    connect('one')
    connect('two')
    const ended: string[] = []
    hub.events.on('unregister', ({ id }) => {
      ended.push(id)
      hub.unregisterClient(id === 'one' ? 'two' : 'one')
    })
    await hub.close()
    expect(ended.sort()).toEqual(['one', 'two'])
    expect(hub.getConnectionStats()).toMatchObject({ clients: 0, clientsByProtocol: { fake: 0 } })
  })

  it('a link that has left has nobody to tell of what its protocol could not carry', () => {
    const { scheduler, hub } = setUp()
    const before = scheduler.timers
    hub.registerClient('one', new FakeConnection({ codec: { ...fakeCodec, encode: () => null } }))
    hub.subscribe('one', 'a')
    hub.routeData('a', new Uint8Array(1))
    hub.unsubscribe('one', 'a')
    scheduler.advance(1000)
    expect(scheduler.timers).toBe(before)
  })

  it('a codec that throws over a gap ends nothing', () => {
    const { scheduler, hub, publish } = setUp()
    const faults: string[] = []
    hub.events.on('fault', ({ where }) => faults.push(where))
    const gap = () => {
      throw new Error('no words')
    }
    const one = new FakeConnection({ window: 0, codec: { ...fakeCodec, gap } })
    one.client = hub.registerClient('one', one)
    hub.subscribe('one', 'a', { policy: bestEffort() })
    for (let i = 0; i < 3; i++) {
      publish('a')
      scheduler.settle()
    }
    one.read()
    scheduler.advance(100)
    publish('a')
    scheduler.settle()
    expect([one.seqs(), faults]).toEqual([[1, 4], ["gap of codec 'fake'"]])
  })

  it('counts what was on its way to a client that ended before the flush', () => {
    const { scheduler, hub, connect, publish } = setUp()
    const [one, two] = [connect('one'), connect('two')]
    hub.subscribe('one', 'a')
    hub.subscribe('two', 'a')
    for (const [connection, other] of [
      [one, 'two'],
      [two, 'one'],
    ] as const) {
      connection.answer = () => (hub.unregisterClient(other, 'lost') ? 'ok' : 'gone')
    }
    publish('a')
    scheduler.settle()
    expect(hub.getConnectionStats()).toMatchObject({ clients: 1, delivered: 1, dropped: 1, pending: 0 })
  })
})

describe('clients', () => {
  it('D7: lets the newest of two with one id win, and ignores the late close of the older', () => {
    const { hub } = setUp()
    const [older, newer] = [new FakeConnection(), new FakeConnection()]
    const handle = hub.registerClient('one', older)
    hub.registerClient('one', newer)
    expect(older.closedFor).toBe('replaced')
    handle.close('peer')
    handle[Symbol.dispose]()
    expect([...hub.getActiveClients()]).toHaveLength(1)
    expect(newer.closedFor).toBeUndefined()
  })

  it('refuses the newer one where that was asked for', () => {
    const { hub, connect } = setUp()
    connect('one')
    expect(codeOf(() => hub.registerClient('one', new FakeConnection(), { ifExists: 'refuse' }))).toBe('CLIENT_EXISTS')
  })

  it('leaves nothing behind when a client ends: every index is empty, one event each, first reason wins', () => {
    const { scheduler, hub, connect, publish } = setUp()
    const ended: string[] = []
    hub.events.on('unregister', ({ reason }) => ended.push(reason))
    const one = connect('one', 0)
    hub.subscribe('one', 'a')
    hub.subscribe('one', 'b')
    publish('a')
    publish('a')
    scheduler.settle()
    publish('a')
    expect(hub.unregisterClient('one', 'denied')).toBe(true)
    expect(hub.unregisterClient('one', 'slow')).toBe(false)
    one.client!.close('lost')
    expect(ended).toEqual(['denied'])
    expect(hub.getConnectionStats()).toMatchObject({
      clients: 0,
      subscriptions: 0,
      behind: 0,
      pending: 0,
      queuedBytes: 0,
    })
    scheduler.advance(120_000)
    expect(hub.getConnectionStats().topics).toBe(0)
    expect(scheduler.timers).toBe(1)
  })

  it('counts a write that answers nonsense, or throws, as a peer that has gone [H11]', () => {
    for (const answer of [undefined, null, 'OK', 0, NaN, {}, () => 'ok']) {
      const { scheduler, hub, connect, publish } = setUp()
      const one = connect('one')
      hub.subscribe('one', 'a')
      one.answer = () => answer
      publish('a')
      scheduler.settle()
      expect(one.closedFor).toBe('lost')
      expect(hub.getConnectionStats()).toMatchObject({ clients: 0, delivered: 0, dropped: 1 })
    }
  })

  it('closes a client whose unread replies pile up: control frames are bounded too', () => {
    const { scheduler, hub, connect, publish } = setUp()
    const one = connect('one', 0)
    hub.subscribe('one', 'a')
    publish('a')
    scheduler.settle()
    for (let i = 0; i < 100 && one.client!.send(new Uint8Array(1024)); i++);
    scheduler.settle()
    expect(one.closedFor).toBe('slow')
  })

  it('keeps a frame of the protocol for a client that is full until it has read', () => {
    const { scheduler, hub, connect, publish } = setUp()
    const one = connect('one', 10)
    hub.subscribe('one', 'a')
    publish('a')
    scheduler.settle()
    one.client!.send(new TextEncoder().encode('reply'))
    scheduler.settle()
    expect(one.closedFor).toBeUndefined()
    expect(one.received).toHaveLength(1)
    one.read()
    scheduler.settle()
    expect(one.received[1]).toEqual({ kind: 'frame', text: 'reply' })
  })

  it('writes what was published before a polite end, but not to a client that is lost', () => {
    const { hub, connect, publish } = setUp()
    const [polite, lost] = [connect('polite'), connect('lost')]
    hub.subscribe('polite', 'a')
    hub.subscribe('lost', 'a')
    publish('a')
    hub.unregisterClient('lost', 'lost')
    hub.unregisterClient('polite', 'denied')
    expect(polite.seqs()).toEqual([1])
    expect(lost.seqs()).toEqual([])
  })

  it('hands over what was published, closes everyone and refuses new work on close', async () => {
    const { hub, connect, publish } = setUp()
    const one = connect('one')
    hub.subscribe('one', 'a')
    publish('a')
    await hub.close()
    await hub.close()
    expect(one.seqs()).toEqual([1])
    expect(one.closedFor).toBe('shutdown')
    expect(codeOf(() => publish('a'))).toBe('SHUTTING_DOWN')
    expect(codeOf(() => connect('two'))).toBe('SHUTTING_DOWN')
  })
})

describe('policies', () => {
  const slowOn = (policy: DeliveryPolicy, window = 100) => {
    const set = setUp()
    const one = set.connect('one', window)
    set.hub.setDeliveryPolicy('a', policy)
    set.hub.subscribe('one', 'a')
    /** Makes the connection full with message 1. */
    set.publish('a', 'y'.repeat(100))
    set.scheduler.settle()
    return { ...set, one }
  }

  it('best-effort drops what comes while the client is behind, and tells it before the next message', () => {
    const { one, publish, scheduler } = slowOn(bestEffort())
    publish('a')
    publish('a')
    scheduler.settle()
    one.read()
    publish('a')
    scheduler.settle()
    expect(one.received.map(r => (r.kind === 'gap' ? r.gap : r.kind === 'message' && r.seq))).toEqual([
      1,
      { topic: 'a', from: 2, to: 3, count: 2, reason: 'behind' },
      4,
    ])
  })

  it('tells a gap even if nothing follows', () => {
    const { one, publish, scheduler } = slowOn(bestEffort())
    publish('a')
    scheduler.settle()
    one.read()
    scheduler.settle()
    expect(one.gaps()).toEqual([{ topic: 'a', from: 2, to: 2, count: 1, reason: 'behind' }])
  })

  it('latest gives the newest of each key in order, and counts the others as conflated', () => {
    const { one, publish, scheduler, hub } = slowOn(latest())
    for (const [text, key] of [['a1', 'a'], ['b1', 'b'], ['a2', 'a'], ['none1'], ['a3', 'a'], ['none2']] as const)
      publish('a', text, key)
    scheduler.settle()
    one.read()
    scheduler.settle()
    expect(one.texts().slice(1)).toEqual(['b1', 'a3', 'none2'])
    expect(one.gaps()).toEqual([{ topic: 'a', from: 2, to: 7, count: 3, reason: 'conflated' }])
    expect(hub.getTopic('a')?.drops).toEqual([{ policy: 'latest', reason: 'conflated', count: 3 }])
  })

  it('latest keeps a bounded amount, however many keys there are', () => {
    const { one, hub, publish, scheduler } = slowOn(latest())
    for (let i = 0; i < 100; i++) publish('a', 'z'.repeat(64 * 1024), `key ${i}`)
    scheduler.settle()
    expect(hub.getConnectionStats().queuedBytes + hub.getConnectionStats().retainedBytes).toBeLessThan(
      1024 * 1024 + 256 * 1024,
    )
    for (let i = 0; i < 20; i++) {
      one.read()
      scheduler.settle()
    }
    expect(one.seqs().at(-1)).toBe(101)
    expect(hub.getSubscription('one', 'a')).toMatchObject({ published: 101, pending: 0 })
  })

  it('latest gives a fast client everything at once', () => {
    const { connect, hub, publish, scheduler } = slowOn(latest())
    const fast = connect('fast')
    hub.subscribe('fast', 'a')
    for (let i = 0; i < 5; i++) publish('a', `${i}`, 'same')
    scheduler.settle()
    expect(fast.texts()).toEqual(['0', '1', '2', '3', '4'])
  })

  it('buffered keeps everything in order within its bounds', () => {
    const { one, publish, scheduler } = slowOn(buffered())
    for (let i = 0; i < 50; i++) publish('a', `${i}`)
    scheduler.settle()
    for (let i = 0; i < 100; i++) {
      one.read()
      scheduler.settle()
    }
    expect(one.seqs()).toEqual(Array.from({ length: 51 }, (_, i) => i + 1))
    expect(one.gaps()).toEqual([])
  })

  it('buffered drop-oldest keeps the newest, drop-newest the oldest', () => {
    for (const [overflow, kept] of [
      ['drop-oldest', [1, 9, 10, 11]],
      ['drop-newest', [1, 2, 3, 4]],
    ] as const) {
      const { one, publish, scheduler } = slowOn(buffered({ messages: 3, overflow }))
      for (let i = 0; i < 10; i++) publish('a')
      scheduler.advance(30)
      one.read()
      scheduler.advance(30)
      one.read()
      scheduler.advance(30)
      expect(one.seqs()).toEqual(kept)
      expect(one.gaps()).toMatchObject([{ count: 7, reason: 'overflow' }])
    }
  })

  it('tells a gap where it was, between what was kept before and after it', () => {
    const { one, publish, scheduler } = slowOn(buffered({ messages: 3, overflow: 'drop-newest' }))
    const step = (...sizes: number[]) => {
      for (const size of sizes) publish('a', 'z'.repeat(size))
      scheduler.settle()
      one.read()
      scheduler.settle()
    }
    // 2 and 3 fill a read of their own; 4 and 7 would fit into the next one together.
    step(40_000, 40_000, 10, 10, 10)
    step(10)
    step()
    step()
    const order = one.received.map(r =>
      r.kind === 'gap' ? `${r.gap.from}-${r.gap.to} lost` : r.kind === 'message' && r.seq,
    )
    expect(order).toEqual([1, 2, 3, 4, '5-6 lost', 7])
  })

  it('tells what a protocol cannot carry, without waiting for the next message', () => {
    const { hub, publish, scheduler } = setUp()
    const codec = {
      ...fakeCodec,
      encode: (message: Message) => (message.key === 'odd' ? null : fakeCodec.encode(message)),
    }
    const one = new FakeConnection({ codec })
    one.client = hub.registerClient('one', one)
    hub.subscribe('one', 'a')
    publish('a', 'x', 'odd')
    scheduler.advance(30)
    expect(one.gaps()).toEqual([{ topic: 'a', from: 1, to: 1, count: 1, reason: 'unsupported' }])
    expect(hub.getSubscription('one', 'a')).toMatchObject({ delivered: 0, dropped: 1, pending: 0 })
  })

  it('buffered close ends a client whose backlog is full, and says slow', () => {
    const { one, publish, scheduler, hub } = slowOn(buffered({ bytes: 1000 }))
    for (let i = 0; i < 9; i++) publish('a', 'z'.repeat(100))
    scheduler.advance(30)
    expect(one.closedFor).toBe('slow')
    expect(hub.getConnectionStats().closes).toEqual({ slow: 1 })
  })

  it('drop-slow ends a client that has not taken a message for the timeout, without further traffic', () => {
    const { one, scheduler } = slowOn(dropSlow({ timeoutMs: 250 }))
    scheduler.advance(249)
    expect(one.closedFor).toBeUndefined()
    scheduler.advance(100)
    expect(one.closedFor).toBe('slow')
  })

  it('drop-slow forgives a loop that was blocked: the client gets a second look', () => {
    const { one, scheduler } = slowOn(dropSlow({ timeoutMs: 250 }))
    scheduler.block(400)
    expect(one.closedFor).toBeUndefined()
    one.read()
    scheduler.advance(1000)
    expect(one.closedFor).toBeUndefined()
  })

  it('drop-slow ends a client that reads, but falls ever further behind', () => {
    const { one, publish, scheduler } = slowOn(dropSlow({ timeoutMs: 250 }), 2000)
    for (let i = 0; i < 200 && one.closedFor === undefined; i++) {
      publish('a', 'z'.repeat(1000))
      scheduler.advance(10)
      one.read(500)
    }
    expect(one.closedFor).toBe('slow')
  })

  it('rate-limit sends so many a second and leaves the rest to the inner policy', () => {
    for (const [inner, expected] of [
      [bestEffort(), 'rate'],
      [latest(), 'conflated'],
    ] as const) {
      const { scheduler, hub, connect, publish } = setUp()
      const one = connect('one')
      hub.subscribe('one', 'a', { policy: rateLimit({ messages: 10, burst: 0.5 }, inner) })
      for (let i = 0; i < 500; i++) {
        publish('a')
        scheduler.advance(10)
      }
      expect(one.seqs().length).toBeGreaterThanOrEqual(49)
      expect(one.seqs().length).toBeLessThanOrEqual(56)
      expect(hub.getTopic('a')?.drops[0]).toMatchObject({ reason: expected })
    }
  })

  it('changes at run time, for a topic or a client, and what waits is not lost', () => {
    const { one, publish, scheduler, hub } = slowOn(buffered())
    publish('a')
    publish('a')
    scheduler.settle()
    hub.setDeliveryPolicy('a', bestEffort())
    publish('a')
    scheduler.settle()
    hub.setClientPolicy('one', latest())
    for (let i = 0; i < 10; i++) {
      one.read()
      scheduler.advance(30)
    }
    const link = hub.getSubscription('one', 'a')!
    expect(one.seqs()).toEqual(expect.arrayContaining([1, 2, 3]))
    expect(link).toMatchObject({ pending: 0, policy: { name: 'latest' } })
    expect(one.seqs().length + link.dropped).toBe(4)
  })

  it('the wish wins over the class, the class over the topic, within what the topic allows', () => {
    const { hub, connect } = setUp({ topics: openTopics({}, { strict: { allowedPolicies: ['latest'] } }) })
    connect('one')
    hub.setDeliveryPolicy('a', latest())
    hub.subscribe('one', 'a')
    const name = () => hub.getSubscription('one', 'a')?.policy.name
    expect(name()).toBe('latest')
    hub.setClientPolicy('one', bestEffort())
    expect(name()).toBe('best-effort')
    hub.subscribe('one', 'a', { policy: buffered() })
    expect(name()).toBe('buffered')
    hub.setClientPolicy('one', null)
    hub.subscribe('one', 'a')
    hub.setDeliveryPolicy('a', null)
    expect(name()).toBe('buffered')
    expect(hub.getDeliveryPolicy('a').describe()).toEqual({
      name: 'buffered',
      bytes: 1048576,
      messages: 10000,
      overflow: 'close',
    })
    expect(codeOf(() => hub.subscribe('one', 'strict', { policy: bestEffort() }))).toBe('POLICY_DENIED')
    hub.subscribe('one', 'strict', { policy: latest() })
    expect(codeOf(() => hub.setClientPolicy('one', bestEffort()))).toBe('POLICY_DENIED')
  })

  it('a decorated policy is allowed where both of its parts are', () => {
    const topics = openTopics(
      {},
      { a: { allowedPolicies: ['latest', 'rate-limit'] }, b: { allowedPolicies: ['latest'] } },
    )
    const { hub, connect } = setUp({ topics })
    connect('one')
    hub.subscribe('one', 'a', { policy: rateLimit({ messages: 1 }, latest()) })
    expect(codeOf(() => hub.subscribe('one', 'a', { policy: rateLimit({ messages: 1 }, bestEffort()) }))).toBe(
      'POLICY_DENIED',
    )
    expect(codeOf(() => hub.subscribe('one', 'b', { policy: rateLimit({ messages: 1 }, latest()) }))).toBe(
      'POLICY_DENIED',
    )
  })

  it('a policy that throws loses the batch of its own link, is told as a fault, and hurts nobody else', () => {
    const { hub, connect, publish, scheduler } = setUp()
    const [one, two] = [connect('one'), connect('two')]
    const faults: string[] = []
    hub.events.on('fault', ({ where }) => faults.push(where))
    const broken: DeliveryPolicy = {
      ...bestEffort(),
      name: 'broken',
      admit: () => {
        throw new Error('bug')
      },
    }
    hub.subscribe('one', 'a', { policy: broken })
    hub.subscribe('two', 'a')
    publish('a')
    scheduler.settle()
    expect(one.seqs()).toEqual([])
    expect(two.seqs()).toEqual([1])
    expect(faults).toEqual(["policy 'broken'"])
  })
})

describe('faults of others', () => {
  it('a policy that throws in the sweep, and a codec that throws, hurt nobody and are told', () => {
    const { hub, connect, publish, scheduler } = setUp()
    const faults: string[] = []
    hub.events.on('fault', ({ where }) => faults.push(where))
    const bug = (): never => {
      throw new Error('bug')
    }
    const odd = new FakeConnection({ codec: { ...fakeCodec, encode: bug } })
    odd.client = hub.registerClient('odd', odd)
    const slow = connect('slow', 0)
    const healthy = connect('healthy')
    hub.subscribe('odd', 'a')
    hub.subscribe('slow', 'a', { policy: { ...buffered(), name: 'broken', wake: bug } })
    hub.subscribe('healthy', 'a')
    publish('a')
    scheduler.advance(30)
    publish('a')
    scheduler.settle()
    expect(healthy.seqs()).toEqual([1, 2])
    expect(slow.closedFor).toBeUndefined()
    expect(faults).toContain("policy 'broken'")
    expect(hub.getSubscription('odd', 'a')).toMatchObject({ delivered: 0, dropped: 2 })
  })
})

describe('resuming after a position', () => {
  it('replays what the topic keeps, then goes live, each message once', () => {
    const { hub, connect, publish, scheduler } = setUp()
    for (let i = 0; i < 5; i++) publish('a')
    const { epoch } = hub.getTopic('a')!.position
    const one = connect('one')
    publish('a')
    expect(hub.subscribe('one', 'a', { after: { epoch, seq: 2 } }).recovered).toBe(true)
    publish('a')
    scheduler.settle()
    expect(one.seqs()).toEqual([3, 4, 5, 6, 7])
    expect(hub.getSubscription('one', 'a')).toMatchObject({ published: 5, delivered: 5, dropped: 0 })
  })

  it('says what is no longer kept', () => {
    const { hub, connect, publish, scheduler } = setUp({
      topics: openTopics({ history: { messages: 2, bytes: 1000, ageMs: 1000 } }),
    })
    for (let i = 0; i < 5; i++) publish('a')
    scheduler.settle()
    const { epoch } = hub.getTopic('a')!.position
    const one = connect('one')
    hub.subscribe('one', 'a', { after: { epoch, seq: 1 } })
    scheduler.settle()
    expect(one.gaps()).toEqual([{ topic: 'a', from: 2, to: 3, count: 2, reason: 'trimmed' }])
    expect(one.seqs()).toEqual([4, 5])
  })

  it('says that it cannot know what was missed in another epoch, or after the future', () => {
    for (const after of [{ epoch: 'other', seq: 1 }, 'future'] as const) {
      const { hub, connect, publish, scheduler } = setUp()
      publish('a')
      publish('a')
      const one = connect('one')
      const { epoch } = hub.getTopic('a')!.position
      const position = after === 'future' ? { epoch, seq: 99 } : after
      expect(hub.subscribe('one', 'a', { after: position }).recovered).toBe(false)
      scheduler.advance(30)
      expect(one.gaps()).toEqual([{ topic: 'a', from: 1, to: 2, count: null, reason: 'epoch' }])
      expect(one.seqs()).toEqual([])
    }
  })

  it('keeps history within count, bytes and age', () => {
    const { hub, publish, scheduler } = setUp({
      topics: openTopics({ history: { messages: 3, bytes: 25, ageMs: 5000 } }),
    })
    for (let i = 0; i < 5; i++) publish('a', 'x')
    scheduler.settle()
    expect(hub.getTopic('a')?.retained).toEqual({ messages: 3, bytes: 3 * held(1) })
    publish('a', 'x'.repeat(24))
    scheduler.settle()
    expect(hub.getTopic('a')?.retained).toEqual({ messages: 2, bytes: held(1) + held(24) })
    scheduler.advance(6000)
    expect(hub.getTopic('a')).toBeNull()
  })

  it('starts a new epoch when its position was forgotten, so that an old position cannot fit by chance', () => {
    const { publish, scheduler } = setUp()
    const before = publish('a').position
    scheduler.advance(120_000)
    expect(publish('a').position).toEqual({ epoch: before.epoch, seq: 2 })
    scheduler.advance(120_000 + POSITION_MS)
    const after = publish('a').position
    expect(after.seq).toBe(1)
    expect(after.epoch).not.toBe(before.epoch)
  })
})

describe('bad input', () => {
  it('is refused with a code, and nothing is half done', () => {
    const { hub, connect } = setUp({ limits: { maxClients: 1, maxSubscriptionsPerClient: 1, maxTopics: 2 } })
    for (const topic of [
      '',
      '/',
      'a//b',
      'a/../b',
      '..',
      '.',
      'a b',
      'a\u0000',
      'a\ud800',
      '%2e',
      'x'.repeat(256),
      '#',
      '+',
      '*',
      '>',
    ]) {
      expect(
        codeOf(() => hub.subscribe('one', topic)),
        topic,
      ).toMatch(/TOPIC_INVALID|CONNECTION_NOT_FOUND/)
      expect(
        codeOf(() => hub.routeData(topic, new Uint8Array(1))),
        topic,
      ).toBe('TOPIC_INVALID')
    }
    for (const id of ['', 'a b', 'x'.repeat(129), 'é']) expect(codeOf(() => connect(id))).toBe('CLIENT_ID_INVALID')
    connect('one')
    expect(codeOf(() => connect('two'))).toBe('LIMIT_EXCEEDED')
    hub.subscribe('one', 'a')
    expect(codeOf(() => hub.subscribe('one', 'b'))).toBe('LIMIT_EXCEEDED')
    expect(codeOf(() => hub.subscribe('nobody', 'a'))).toBe('CONNECTION_NOT_FOUND')
    expect(codeOf(() => hub.setClientPolicy('nobody', latest()))).toBe('CONNECTION_NOT_FOUND')
    expect(codeOf(() => hub.routeData('a', 'text' as never))).toBe('INVALID_MESSAGE')
    expect(codeOf(() => hub.routeData('a', new Uint8Array(1024 * 1024 + 1)))).toBe('MESSAGE_TOO_LARGE')
    hub.routeData('b', new Uint8Array(1))
    expect(codeOf(() => hub.routeData('c', new Uint8Array(1)))).toBe('LIMIT_EXCEEDED')
    expect(hub.getConnectionStats()).toMatchObject({ clients: 1, subscriptions: 1, topics: 2 })
  })

  it('names the field, the value and the limit', () => {
    const { hub } = setUp()
    expect(() => hub.routeData('x'.repeat(256), new Uint8Array(1))).toThrow(
      /topic: 256 characters is not a topic name: .*1 to 255/,
    )
    expect(() => hub.routeData('a', new Uint8Array(2_000_000))).toThrow(/2000000 bytes are more than the 1048576/)
  })
})

describe('events', () => {
  it('isolate a listener that throws or rejects, and tell it as a fault', async () => {
    const { hub, connect } = setUp()
    const faults: string[] = []
    const seen: string[] = []
    hub.events.on('fault', ({ where }) => faults.push(where))
    hub.events.on('register', () => {
      throw new Error('bug')
    })
    hub.events.on('register', (async () => Promise.reject(new Error('later'))) as () => void)
    hub.events.on('register', ({ id }) => seen.push(id))
    connect('one')
    await new Promise(setImmediate)
    expect(seen).toEqual(['one'])
    expect(faults).toEqual(["listener of 'register'", "listener of 'register'"])
  })
})
