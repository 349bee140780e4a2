import { describe, expect, it } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { Direct, SEND_BYTES } from '../../src/core/parcel.ts'
import { openTopics } from '../../src/open-topics.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { dropSlow } from '../../src/policies/drop-slow.ts'
import { FakeConnection, fakeCodec } from '../../src/testing/fake-connection.ts'
import { collectGarbage, heard, listen, sendingWorld } from './sending.ts'

const KIB = 1024
/** What each message to one client counts beside its bytes. */
const OVERHEAD = 256
const LARGE = Buffer.alloc(1000)
const text = (size: number, letter = 'x'): string => letter.repeat(size)
const noHistory = openTopics({ history: { messages: 0, bytes: 0, ageMs: 0 } })

/** The kinds of what came in, in order. */
const order = (connection: FakeConnection): string[] =>
  connection.received.map(each => (each.kind === 'gap' ? 'gap' : each.text))

function direct(payload = 'hello', id = 'm'): Direct {
  return new Direct({
    id,
    payload: new TextEncoder().encode(payload),
    contentType: 'text/plain',
    correlationId: undefined,
  })
}

describe('a message to one client', () => {
  it('is written in the tick, with what its topics have for it, as one corked sequence in the order of the calls', async () => {
    const { hub, scheduler, connect, publish, send } = sendingWorld()
    const one = connect('one')
    hub.subscribe('one', 'a')
    hub.subscribe('one', 'b')
    publish('a', 'a1')
    const first = send('one', 's1')
    publish('a', 'a2')
    publish('b', 'b1')
    const second = send('one', 's2')
    publish('a', 'a3')
    expect(one.received).toEqual([])
    scheduler.turn()
    expect(order(one)).toEqual(['a1', 's1', 'a2', 'b1', 's2', 'a3'])
    expect(one.writes).toBe(1)
    await listen()
    expect([first.ends, second.ends]).toEqual([1, 1])
    expect(hub.getConnectionStats()).toMatchObject({ published: 4, delivered: 4, dropped: 0, pending: 0 })
  })

  it('does not end the wait of a topic that lingers', () => {
    const topics = openTopics({}, { slow: { lingerMs: 50 } })
    const { hub, scheduler, connect, publish, send } = sendingWorld({ topics })
    const one = connect('one')
    hub.subscribe('one', 'slow')
    publish('slow', 'later')
    send('one', 'now')
    scheduler.settle()
    expect(order(one)).toEqual(['now'])
    scheduler.advance(50)
    expect(order(one)).toEqual(['now', 'later'])
  })

  it('goes to that client alone', () => {
    const { hub, scheduler, connect, send } = sendingWorld()
    const [one, two] = [connect('one'), connect('two')]
    for (const id of ['one', 'two']) hub.subscribe(id, 'a')
    send('one', 'private')
    scheduler.settle()
    expect([one.directs(), two.directs()]).toEqual([['private'], []])
  })

  it('is bytes as they are, a string as text, anything else as JSON, with a content type that says so', () => {
    const { scheduler, connect, send } = sendingWorld()
    const one = connect('one')
    send('one', Buffer.from('raw'))
    send('one', 'grüße')
    send('one', { a: [1, null] })
    send('one', null)
    send('one', 5)
    send('one', 'a,b', { contentType: 'text/csv' })
    scheduler.settle()
    expect(one.received).toMatchObject([
      { text: 'raw', contentType: 'application/octet-stream' },
      { text: 'grüße', contentType: 'text/plain; charset=utf-8' },
      { text: '{"a":[1,null]}', contentType: 'application/json' },
      { text: 'null', contentType: 'application/json' },
      { text: '5', contentType: 'application/json' },
      { text: 'a,b', contentType: 'text/csv' },
    ])
  })

  it('has an id of its own, or the one that it was given', async () => {
    const { scheduler, connect, send } = sendingWorld()
    const one = connect('one')
    const [a, b, c] = [send('one'), send('one'), send('one', 'x', { id: 'order-7' })]
    scheduler.settle()
    await listen()
    const ids = one.received.map(each => (each.kind === 'direct' ? each.id : ''))
    expect(ids).toEqual([a.result!.id, b.result!.id, 'order-7'])
    expect(new Set(ids).size).toBe(3)
    expect(c.result).toEqual({ id: 'order-7', confirmed: false, ms: 0 })
  })

  it('is encoded once for all connections of a codec', async () => {
    const { hub, scheduler } = sendingWorld()
    let encoded = 0
    const codec = {
      ...fakeCodec,
      direct: (message: Parameters<typeof fakeCodec.direct & object>[0]) => {
        encoded++
        return fakeCodec.direct!(message)
      },
    }
    const connections = ['a', 'b', 'c'].map(id => {
      const connection = new FakeConnection({ codec })
      connection.client = hub.registerClient(id, connection)
      return connection
    })
    const result = heard(hub.broadcast(['a', 'b', 'c'], 'all'))
    scheduler.settle()
    await listen()
    expect(result.result).toMatchObject({ sent: 3, failed: 0, error: undefined })
    expect(encoded).toBe(1)
    for (const connection of connections) expect(connection.directs()).toEqual(['all'])
  })
})

describe('when a send is over', () => {
  it('once the connection has taken everything, and not before', async () => {
    const { scheduler, connect, send, hub } = sendingWorld()
    const one = connect('one', { window: 10 })
    const sent = send('one')
    scheduler.settle()
    expect(one.directs()).toEqual(['hello'])
    await listen()
    expect(sent.ends).toBe(0)
    expect(hub.getMetrics().operations.send).toMatchObject({ count: 0, active: 1 })
    scheduler.advance(40)
    one.read()
    await listen()
    expect(sent).toMatchObject({ ends: 1, result: { confirmed: false, ms: 40 } })
    expect(hub.getMetrics().operations.send).toMatchObject({ count: 1, active: 0, errors: {} })
    expect(hub.getMetrics().operations.send.p50).toBeCloseTo(40, 0)
    expect(hub.getClient('one').sinceSendMs).toBe(0)
  })

  it('what waits behind a full connection is over only when that has taken it as well', async () => {
    const { scheduler, connect, send, kept } = sendingWorld()
    const one = connect('one', { window: 10 })
    const first = send('one', 'first')
    scheduler.settle()
    const second = send('one', 'second')
    scheduler.settle()
    expect(one.directs()).toEqual(['first'])
    one.read()
    await listen()
    expect([first.ends, second.ends]).toEqual([1, 0])
    scheduler.settle()
    expect(one.directs()).toEqual(['first', 'second'])
    await listen()
    expect(second.ends).toBe(0)
    one.read()
    await listen()
    expect(second.ends).toBe(1)
    expect(kept()).toEqual({ queued: 0, kept: 0 })
  })

  it('a write that a later frame of the same flush fills is not over with its own', async () => {
    const { hub, scheduler, connect, publish, send } = sendingWorld({ topics: noHistory })
    const one = connect('one', { window: 300 })
    hub.subscribe('one', 'a')
    const sent = send('one', 'small')
    publish('a', text(500))
    scheduler.settle()
    await listen()
    expect([one.writes, sent.ends]).toEqual([1, 0])
    one.read()
    await listen()
    expect(sent.ends).toBe(1)
  })

  it('a timeout is SEND_TIMEOUT, at its time, and what was queued is never written', async () => {
    const { scheduler, connect, send, hub, kept } = sendingWorld()
    const one = connect('one', { window: 10 })
    const taken = send('one', 'taken')
    scheduler.settle()
    const queued = send('one', 'queued', { timeoutMs: 500 })
    const patient = send('one', 'patient', { timeoutMs: 60_000 })
    scheduler.advance(499)
    await listen()
    expect(queued.ends).toBe(0)
    scheduler.advance(1)
    await listen()
    expect(queued).toMatchObject({ ends: 1, error: { code: 'SEND_TIMEOUT' } })
    expect(queued.error!.message).toBe('timeoutMs: nothing was heard within 500 ms; the message may still arrive')
    scheduler.advance(100)
    for (let i = 0; i < 3; i++) {
      one.read()
      scheduler.settle()
    }
    await listen()
    expect(one.directs()).toEqual(['taken', 'patient'])
    expect([taken.ends, patient.ends]).toEqual([1, 1])
    expect(hub.getMetrics().operations.send).toMatchObject({ count: 3, active: 0, errors: { SEND_TIMEOUT: 1 } })
    expect(kept()).toEqual({ queued: 0, kept: 0 })
    // Its timers have gone as well: only the housekeeping is left once the sweep has nothing to look at.
    scheduler.advance(100)
    expect(scheduler.timers).toBe(1)
  })

  it('the timeout of what is on the wire is told, and ends nothing else', async () => {
    const { scheduler, connect, send, kept } = sendingWorld()
    const one = connect('one', { window: 10 })
    const sent = send('one', 'hello', { timeoutMs: 500 })
    scheduler.advance(500)
    await listen()
    expect(sent).toMatchObject({ ends: 1, error: { code: 'SEND_TIMEOUT' } })
    one.read()
    await listen()
    expect(sent.ends).toBe(1)
    expect(kept()).toEqual({ queued: 0, kept: 0 })
  })

  it('aborted before it began, while it waits, and after its end', async () => {
    const { scheduler, connect, send, kept, hub } = sendingWorld()
    const one = connect('one', { window: 10 })
    const early = send('one', 'early', { signal: AbortSignal.abort() })
    scheduler.settle()
    await listen()
    expect(early).toMatchObject({ ends: 1, error: { code: 'SEND_ABORTED' } })
    expect(one.received).toEqual([])
    const late = new AbortController()
    const done = send('one', 'done', { signal: late.signal })
    scheduler.settle()
    const waiting = new AbortController()
    const queued = send('one', 'queued', { signal: waiting.signal })
    scheduler.settle()
    waiting.abort()
    await listen()
    expect(queued).toMatchObject({ ends: 1, error: { code: 'SEND_ABORTED' } })
    one.read()
    scheduler.settle()
    await listen()
    expect(done).toMatchObject({ ends: 1, error: undefined })
    late.abort()
    await listen()
    expect(done).toMatchObject({ ends: 1, error: undefined })
    expect(one.directs()).toEqual(['done'])
    expect(kept()).toEqual({ queued: 0, kept: 0 })
    expect(hub.getMetrics().operations.send).toMatchObject({ count: 3, active: 0, errors: { SEND_ABORTED: 2 } })
  })

  it('nothing of a message that is over is kept', async () => {
    const { scheduler, connect, send } = sendingWorld()
    const one = connect('one', { codec: { ...fakeCodec, direct: ({ payload }) => payload } })
    const dispatch = (): WeakRef<object> => {
      const payload = new Uint8Array(100)
      send('one', payload)
      return new WeakRef(payload)
    }
    const [first, second] = [dispatch(), dispatch()]
    scheduler.settle()
    await listen()
    expect(one.received).toHaveLength(2)
    collectGarbage()
    expect([first.deref(), second.deref()]).toEqual([undefined, undefined])
  })

  it('a signal that serves many sends keeps nothing of those that are over', async () => {
    const { scheduler, connect, send } = sendingWorld()
    connect('one')
    const controller = new AbortController()
    let listening = 0
    const { signal } = controller
    const add = signal.addEventListener.bind(signal)
    const remove = signal.removeEventListener.bind(signal)
    signal.addEventListener = (...args: unknown[]) => {
      listening++
      add(...(args as Parameters<typeof add>))
    }
    signal.removeEventListener = (...args: unknown[]) => {
      listening--
      remove(...(args as Parameters<typeof remove>))
    }
    for (let i = 0; i < 20; i++) send('one', 'x', { signal })
    // One for all of them: from eleven on a signal warns of a leak.
    expect(listening).toBe(1)
    scheduler.settle()
    await listen()
    expect(listening).toBe(0)
    // And serves again.
    const again = send('one', 'x', { signal })
    controller.abort()
    await listen()
    expect(again.error!.code).toBe('SEND_ABORTED')
    expect(listening).toBe(0)
  })
})

describe('a client that goes', () => {
  it('while a message is queued and another in its connection’s hand: CONNECTION_STALE, each once', async () => {
    const { hub, scheduler, connect, kept } = sendingWorld()
    connect('one', { window: 10 })
    const told: (HubError | undefined)[] = []
    hub.post('one', direct('hand'), error => told.push(error))
    scheduler.settle()
    hub.post('one', direct('queued'), error => told.push(error))
    expect(told).toEqual([])
    hub.unregisterClient('one')
    expect(told).toMatchObject([{ code: 'CONNECTION_STALE' }, { code: 'CONNECTION_STALE' }])
    expect(told[0]!.message).toBe('client: one has gone (peer) before it took the message')
    scheduler.advance(1000)
    expect(told).toHaveLength(2)
    expect(kept()).toEqual({ queued: 0, kept: 0 })
  })

  it('of itself, by an answer that is none, or by a write that throws: the same', async () => {
    for (const answer of [() => 'gone', () => undefined, () => new Error('no').toString()]) {
      const { scheduler, connect, send, hub, kept } = sendingWorld()
      connect('one').answer = answer
      const [first, second] = [send('one', '1'), send('one', '2')]
      scheduler.settle()
      await listen()
      for (const each of [first, second]) expect(each).toMatchObject({ ends: 1, error: { code: 'CONNECTION_STALE' } })
      expect(hub.getConnectionStats()).toMatchObject({ clients: 0, closes: { lost: 1 } })
      expect(kept()).toEqual({ queued: 0, kept: 0 })
    }
    const { scheduler, connect, send } = sendingWorld()
    connect('one').answer = () => {
      throw new Error('broken')
    }
    const sent = send('one')
    scheduler.settle()
    await listen()
    expect(sent).toMatchObject({ ends: 1, error: { code: 'CONNECTION_STALE' } })
  })

  it('inside the write of the first of three: all three are told, once', async () => {
    const { hub, scheduler, connect, kept } = sendingWorld()
    const one = connect('one')
    one.answer = () => {
      hub.unregisterClient('one', 'peer')
      return 'ok'
    }
    const told: string[] = []
    for (const name of ['1', '2', '3']) {
      hub.post('one', direct(name), error => told.push(`${name} ${error?.code}`))
    }
    scheduler.settle()
    expect(told.sort()).toEqual(['1 CONNECTION_STALE', '2 CONNECTION_STALE', '3 CONNECTION_STALE'])
    scheduler.advance(1000)
    expect(told).toHaveLength(3)
    expect(kept()).toEqual({ queued: 0, kept: 0 })
  })

  it('inside the write, and is back under the same id at once: the new one gets what is sent to it, and nothing of the old', async () => {
    const { hub, scheduler, connect, send } = sendingWorld()
    const old = connect('one')
    let fresh: FakeConnection | undefined
    old.answer = () => {
      fresh ??= connect('one')
      return 'ok'
    }
    const [first, second] = [send('one', '1'), send('one', '2')]
    scheduler.settle()
    const third = send('one', '3')
    scheduler.settle()
    await listen()
    for (const each of [first, second]) expect(each).toMatchObject({ ends: 1, error: { code: 'CONNECTION_STALE' } })
    expect(third).toMatchObject({ ends: 1, error: undefined })
    expect(fresh!.directs()).toEqual(['3'])
    expect(hub.getConnectionStats().closes).toEqual({ replaced: 1 })
  })

  it('is condemned in a tick, and a message that comes before its end is told of it', async () => {
    const { hub, scheduler, connect, send, publish } = sendingWorld({
      policy: buffered({ bytes: 10 }),
      topics: noHistory,
    })
    const one = connect('one', { window: 0 })
    hub.subscribe('one', 'a')
    publish('a', text(20))
    scheduler.settle()
    const sent = send('one')
    publish('a', text(20))
    scheduler.settle()
    await listen()
    expect(one.closedFor).toBe('slow')
    expect(sent).toMatchObject({ ends: 1, error: { code: 'CONNECTION_STALE' } })
    expect(sent.error!.message).toContain('(slow)')
  })

  it('with the whole hub: SHUTTING_DOWN', async () => {
    const { hub, scheduler, connect, send } = sendingWorld()
    connect('one', { window: 10 })
    const hand = send('one', 'hand')
    scheduler.settle()
    const queued = send('one', 'queued')
    await hub.close()
    await listen()
    for (const each of [hand, queued]) expect(each).toMatchObject({ ends: 1, error: { code: 'SHUTTING_DOWN' } })
    const more = heard(hub.send('one', 'more'))
    await listen()
    expect(more).toMatchObject({ ends: 1, error: { code: 'SHUTTING_DOWN' } })
  })

  it('that was never there: CONNECTION_NOT_FOUND', async () => {
    const { hub, send } = sendingWorld()
    const sent = send('nobody')
    await listen()
    expect(sent).toMatchObject({ ends: 1, error: { code: 'CONNECTION_NOT_FOUND' } })
    expect(hub.getMetrics().operations.send).toMatchObject({
      count: 1,
      active: 0,
      errors: { CONNECTION_NOT_FOUND: 1 },
    })
  })
})

describe('a connection that is asked by requests', () => {
  it('is given the message itself, in order with its topics, and can stop it when nobody waits any more', async () => {
    const { hub, scheduler, receiver, publish, send, kept } = sendingWorld()
    const one = receiver('one')
    hub.subscribe('one', 'a')
    const seen: string[] = []
    const [write, give] = [one.write.bind(one), one.send.bind(one)]
    one.write = (frame, more) => {
      seen.push('topic')
      return write(frame, more)
    }
    one.send = parcel => {
      seen.push(parcel.message.id)
      return give(parcel)
    }
    publish('a')
    const [first, second] = [send('one', 'x', { id: 'first' }), send('one', 'y', { id: 'second', timeoutMs: 100 })]
    publish('a')
    scheduler.settle()
    expect(seen).toEqual(['topic', 'first', 'second', 'topic'])
    const [a, b] = one.parcels as [(typeof one.parcels)[0], (typeof one.parcels)[0]]
    expect([a.frame, b.message.contentType]).toEqual([undefined, 'text/plain; charset=utf-8'])
    let stopped = 0
    b.oncancel = () => {
      // Whoever waited has been told.
      expect(b.over).toBe(true)
      stopped++
    }
    scheduler.advance(100)
    await listen()
    expect([stopped, second.error!.code]).toEqual([1, 'SEND_TIMEOUT'])
    b.settle()
    a.settle()
    await listen()
    expect([first.ends, second.ends, stopped]).toEqual([1, 1, 1])
    one.client!.confirmed('a', 2)
    expect(kept()).toEqual({ queued: 0, kept: hub.getConnectionStats().retainedBytes })
  })

  it('that answers none of the words, or throws, has gone: CONNECTION_STALE', async () => {
    for (const answer of [
      () => 'gone' as const,
      () => undefined as never,
      () => {
        throw new Error('broken')
      },
    ]) {
      const { scheduler, receiver, send, hub } = sendingWorld()
      receiver('one').send = answer
      const told: (string | undefined)[] = []
      for (let i = 0; i < 2; i++) hub.post('one', direct(), error => told.push(error?.code))
      const sent = send('one')
      scheduler.settle()
      await listen()
      expect(told).toEqual(['CONNECTION_STALE', 'CONNECTION_STALE'])
      expect(sent).toMatchObject({ ends: 1, error: { code: 'CONNECTION_STALE' } })
      expect(hub.getConnectionStats()).toMatchObject({ clients: 0, closes: { lost: 1 } })
    }
  })

  it('is not given what was cancelled inside of the write before it', () => {
    const { hub, scheduler, receiver, publish } = sendingWorld()
    const one = receiver('one')
    hub.subscribe('one', 'a')
    const write = one.write.bind(one)
    let posted: ReturnType<typeof hub.post> | undefined
    one.write = (frame, more) => {
      posted?.cancel(new HubError('SEND_ABORTED', 'x'))
      return write(frame, more)
    }
    publish('a')
    const told: (string | undefined)[] = []
    posted = hub.post('one', direct(), error => told.push(error?.code))
    scheduler.settle()
    expect([one.seqs(), one.parcels, told]).toEqual([[1], [], ['SEND_ABORTED']])
  })
})

describe('inside of a flush', () => {
  it('after `gone` nothing more is handed over, whatever it is', () => {
    const { hub, scheduler, receiver, connect, publish } = sendingWorld()
    for (const one of [connect('socket'), receiver('requests')]) {
      const { id } = one.client!
      hub.subscribe(id, 'a')
      let calls = 0
      one.answer = () => {
        calls++
        return 'gone'
      }
      const told: (string | undefined)[] = []
      publish('a')
      hub.post(id, direct(), error => told.push(error?.code))
      one.client!.send(new TextEncoder().encode('frame'))
      hub.post(id, direct(), error => told.push(error?.code))
      publish('a')
      scheduler.settle()
      expect([id, calls]).toEqual([id, 1])
      if ('parcels' in one) expect(one.parcels).toEqual([])
      expect(told).toEqual(['CONNECTION_STALE', 'CONNECTION_STALE'])
    }
  })

  it('that makes room for a message and ends the client refuses the message, and nothing is kept for it', () => {
    const { hub, kept } = sendingWorld({ limits: { maxQueuedBytesPerClient: 100 } })
    const one = new FakeConnection()
    one.client = hub.registerClient('one', one)
    const told: (string | undefined)[] = []
    hub.post('one', direct(), error => told.push(error?.code))
    one.answer = () => {
      hub.unregisterClient('one', 'lost')
      return 'ok'
    }
    const second = direct()
    expect(() => hub.post('one', second, () => told.push('second'))).toThrow(
      expect.objectContaining({ code: 'CONNECTION_NOT_FOUND' }),
    )
    expect(told).toEqual(['CONNECTION_STALE'])
    expect(kept()).toEqual({ queued: 0, kept: 0 })
  })

  it.each(['ends', 'subscribes'])(
    'of a subscription by pattern that %s its client leaves no link without a client',
    what => {
      const { hub, scheduler, publish } = sendingWorld()
      const one = new FakeConnection()
      one.client = hub.registerClient('one', one)
      publish('a')
      hub.subscribePattern('one', '**')
      publish('a')
      one.answer = () => {
        one.answer = undefined
        if (what === 'ends') hub.unregisterClient('one', 'lost')
        else hub.subscribe('one', 'a', { after: 'oldest' })
        return 'ok'
      }
      const subscribe = () => hub.subscribe('one', 'a', { after: 'oldest' })
      if (what === 'ends') expect(subscribe).toThrow(expect.objectContaining({ code: 'CONNECTION_NOT_FOUND' }))
      else subscribe()
      hub.unregisterClient('one', 'lost')
      scheduler.settle()
      expect(hub.getTopic('a')).toMatchObject({ subscribers: 0, behind: 0 })
    },
  )

  it('what is sent meanwhile does not overtake the rest of it, however much that is', () => {
    const { hub, scheduler } = sendingWorld({ limits: { maxQueuedBytesPerClient: 1000 } })
    const one = new FakeConnection()
    one.client = hub.registerClient('one', one)
    const write = one.write.bind(one)
    let refused = 0
    let posts = 0
    one.write = (frame, more) => {
      const result = write(frame, more)
      if (posts > 0) return result
      for (; posts < 10; posts++) {
        try {
          hub.post('one', direct(`inside ${posts}`), () => {})
        } catch (error) {
          expect((error as HubError).code).toBe('LIMIT_EXCEEDED')
          refused++
        }
      }
      return result
    }
    for (const name of ['1', '2']) hub.post('one', direct(name), () => {})
    scheduler.settle()
    expect(one.directs().slice(0, 4)).toEqual(['1', '2', 'inside 0', 'inside 1'])
    expect(one.directs()).toHaveLength(12 - refused)
    expect(refused).toBeGreaterThan(0)
  })
})

describe('how long a client has been waiting', () => {
  it.each(['send', 'frame'])('counts from the oldest %s that waits behind a full connection', kind => {
    const { hub, scheduler, connect } = sendingWorld()
    const one = connect('one', { window: 0 })
    const put = (): void => {
      if (kind === 'send') hub.post('one', direct(), () => {})
      else one.client!.send(new TextEncoder().encode('frame'))
      scheduler.settle()
    }
    const waited = (): number => hub.getClient('one').waitedMs
    put()
    scheduler.advance(100)
    put()
    scheduler.advance(200)
    put()
    scheduler.advance(200)
    expect(waited()).toBe(500)
    one.read()
    scheduler.settle()
    // What is written now has waited since 100.
    expect(waited()).toBe(400)
    scheduler.advance(200)
    put()
    scheduler.advance(200)
    one.read()
    scheduler.settle()
    expect(waited()).toBe(200)
  })
})

describe('how much may wait for one client', () => {
  const limits = { maxQueuedBytesPerClient: 2 * (100 + OVERHEAD) }
  /** Frames that are no larger than what is sent. */
  const plain = { ...fakeCodec, direct: ({ payload }: { payload: Uint8Array }) => payload }

  it('what exceeds the bound is refused, and room that becomes free is used', async () => {
    const { scheduler, connect, send, kept } = sendingWorld({ limits })
    const one = connect('one', { window: 0, codec: plain })
    send('one', text(10))
    scheduler.settle()
    const inHand = kept().queued
    const [first, second, third] = [send('one', text(100)), send('one', text(100)), send('one', text(100))]
    await listen()
    expect([first.ends, second.ends]).toEqual([0, 0])
    expect(third).toMatchObject({ ends: 1, error: { code: 'LIMIT_EXCEEDED' } })
    expect(third.error!.message).toBe(
      `limits.maxQueuedBytesPerClient: there may be at most ${limits.maxQueuedBytesPerClient} bytes of messages sent to one alone that wait`,
    )
    expect(kept().queued).toBe(inHand + limits.maxQueuedBytesPerClient)
    one.read()
    scheduler.settle()
    const fourth = send('one', text(100))
    await listen()
    expect(fourth.ends).toBe(0)
    one.read()
    scheduler.settle()
    one.read()
    await listen()
    expect([first.error, second.error, fourth.error]).toEqual([undefined, undefined, undefined])
    expect(kept()).toEqual({ queued: 0, kept: 0 })
  })

  it('what counts is what goes over the wire', () => {
    const { hub, scheduler, connect, kept } = sendingWorld()
    connect('one', { window: 0 })
    hub.post('one', direct('hand'), () => {})
    scheduler.settle()
    const before = kept().queued
    hub.post('one', direct('x'), () => {})
    const { byteLength } = fakeCodec.direct!(direct('x').message)!
    expect(byteLength).toBeGreaterThan(20)
    expect(kept().queued - before).toBe(byteLength + OVERHEAD)
  })

  it('empty messages are bounded as well', async () => {
    const { scheduler, connect, hub } = sendingWorld({ limits })
    connect('one', { window: 0, codec: plain })
    hub.post('one', direct('x'), () => {})
    scheduler.settle()
    let posted = 0
    try {
      for (; posted < 100; posted++) hub.post('one', direct(''), () => {})
    } catch (error) {
      expect((error as HubError).code).toBe('LIMIT_EXCEEDED')
    }
    expect(posted).toBe(2)
  })

  it('a single larger one goes alone', async () => {
    const { scheduler, connect, send } = sendingWorld({ limits })
    const one = connect('one')
    const large = send('one', text(10_000))
    scheduler.settle()
    await listen()
    expect(large).toMatchObject({ ends: 1, error: undefined })
    expect(one.directs()).toHaveLength(1)
  })

  it('a client that takes everything is not refused what only waits for the tick', async () => {
    const { scheduler, connect, send, kept } = sendingWorld({ limits })
    const one = connect('one')
    const all = Array.from({ length: 50 }, (_, i) => send('one', `${i} ${text(90)}`))
    scheduler.settle()
    await listen()
    expect(all.filter(({ error }) => error)).toEqual([])
    expect(one.directs().map(each => Number(each.split(' ')[0]))).toEqual(Array.from({ length: 50 }, (_, i) => i))
    expect(kept()).toEqual({ queued: 0, kept: 0 })
  })

  it('counts towards what the hub keeps, and gives it back in every way to end', async () => {
    const { hub, scheduler, connect, kept } = sendingWorld()
    const one = connect('one', { window: 0, codec: plain })
    hub.post('one', direct('hand'), () => {})
    scheduler.settle()
    // The message itself, until the connection has taken it.
    expect(kept()).toEqual({ queued: 4, kept: 4 + SEND_BYTES })
    const a = hub.post('one', direct(text(1000)), () => {})
    const waiting = 4 + 1000 + OVERHEAD
    expect(kept()).toEqual({ queued: waiting, kept: 4 + 1000 + 2 * SEND_BYTES })
    expect(hub.getClient('one').queuedBytes).toBe(waiting)
    hub.post('one', direct(text(10)), () => {})
    a.cancel(new HubError('SEND_TIMEOUT', 'x'))
    a.cancel(new HubError('SEND_TIMEOUT', 'x'))
    const less = 4 + 10 + OVERHEAD
    expect(kept()).toEqual({ queued: less, kept: 4 + 10 + 2 * SEND_BYTES })
    one.read()
    scheduler.settle()
    one.read()
    expect(kept()).toEqual({ queued: 0, kept: 0 })
  })

  it.each([
    ['in one of Node’s pools', Buffer.from(text(100)), () => Buffer.from(text(50))],
    ['in a buffer that the payload nearly fills', LARGE.subarray(0, 950), () => LARGE.subarray(950)],
  ])('a frame counts that is in the same buffer as its payload: %s', (_, payload, encode) => {
    const { hub, scheduler, connect, kept } = sendingWorld()
    connect('one', { window: 0, codec: { ...fakeCodec, direct: encode } })
    hub.post('one', new Direct({ id: 'm', payload, contentType: 'text/plain', correlationId: undefined }), () => {})
    scheduler.settle()
    expect(kept().kept).toBe(payload.byteLength + 50 + SEND_BYTES)
  })

  it('10,000 sends to a client that never reads, all timed out: nothing of them is kept', async () => {
    const { hub, scheduler, connect, send, kept } = sendingWorld({ limits: { maxQueuedBytesPerClient: 64 * KIB } })
    const one = connect('one', { window: 10 })
    scheduler.settle()
    const all: ReturnType<typeof send>[] = [send('one', 'hand', { timeoutMs: 100 })]
    scheduler.advance(100)
    const atRest = kept()
    const timers = scheduler.timers
    for (let i = 0; i < 100; i++) {
      for (let j = 0; j < 100; j++) all.push(send('one', `${i}-${j}`, { timeoutMs: 100 }))
      scheduler.advance(100)
    }
    await listen()
    expect(all.every(({ ends, error }) => ends === 1 && error !== undefined)).toBe(true)
    expect(all.filter(({ error }) => error!.code === 'SEND_TIMEOUT')).toHaveLength(all.length)
    expect(kept()).toEqual(atRest)
    expect(scheduler.timers).toBe(timers)
    expect(hub.getMetrics().operations.send.active).toBe(0)
    one.read()
    scheduler.advance(100)
    expect(one.directs()).toEqual(['hand'])
    expect(kept()).toEqual({ queued: 0, kept: 0 })
  })

  it('when the hub keeps too much, the client for which most is kept goes, and not one with little', async () => {
    const { scheduler, connect, send, hub } = sendingWorld({ limits: { maxRetainedBytes: 64 * KIB } })
    // In the order in which they would go if both kept the same.
    const modest = connect('a', { window: 0 })
    const greedy = connect('b', { window: 0 })
    for (const id of ['a', 'b']) send(id, 'hand')
    scheduler.settle()
    const [small, large] = [send('a', text(100)), send('b', text(70 * KIB))]
    scheduler.settle()
    await listen()
    expect([greedy.closedFor, modest.closedFor]).toEqual(['slow', undefined])
    expect(large).toMatchObject({ ends: 1, error: { code: 'CONNECTION_STALE' } })
    expect(small.ends).toBe(0)
    expect(hub.getConnectionStats().keptBytes).toBeLessThan(64 * KIB)
  })

  it('many small messages to one client weigh what they count: it goes before one that keeps fewer bytes in all', async () => {
    const { scheduler, connect, send, publish, hub } = sendingWorld({
      limits: { maxRetainedBytes: 256 * KIB },
      topics: noHistory,
    })
    const many = connect('many', { window: 0 })
    const large = connect('large', { window: 0 })
    hub.subscribe('large', 'a')
    for (const id of ['many', 'large']) send(id, 'hand')
    scheduler.settle()
    // 45 KB for one message, against 219 KB for 81 sends, which are 21 KB of the queue limit.
    publish('a', text(45 * KIB))
    for (let i = 0; i < 56; i++) send('many', 'x')
    scheduler.settle()
    expect(hub.getConnectionStats().keptBytes).toBeGreaterThan(190 * KIB)
    for (let i = 0; i < 25; i++) send('many', 'x')
    scheduler.settle()
    await listen()
    expect([many.closedFor, large.closedFor]).toEqual(['slow', undefined])
  })

  it('sends that a connection works at weigh as well, until they are settled', () => {
    const { hub, receiver, send, scheduler } = sendingWorld({
      limits: { maxRetainedBytes: 64 * KIB },
      topics: noHistory,
    })
    const url = receiver('url')
    const idle = receiver('idle')
    for (let i = 0; i < 30; i++) send('url', 'x')
    scheduler.settle()
    send('idle', 'x')
    scheduler.settle()
    expect([url.closedFor, idle.closedFor]).toEqual(['slow', undefined])
    expect(hub.getConnectionStats().keptBytes).toBe(1 + SEND_BYTES)
  })

  it('a frame in the hand of a connection counts also when nobody waits for the message any longer, and once for all', async () => {
    const { scheduler, connect, kept, hub } = sendingWorld()
    const stalled = [connect('one', { window: 0, codec: plain }), connect('two', { window: 0, codec: plain })]
    const shared = direct(text(5000))
    const posted = ['one', 'two'].map(id => hub.post(id, shared, () => {}))
    scheduler.settle()
    expect(kept().kept).toBe(5000 + 2 * SEND_BYTES)
    for (const { cancel } of posted) cancel(new HubError('SEND_TIMEOUT', 'x'))
    expect(kept().kept).toBe(5000)
    stalled[0]!.read()
    expect(kept().kept).toBe(5000)
    stalled[1]!.read()
    expect(kept().kept).toBe(0)
  })

  it('what is compared with what the kernel says is what was written, without the overhead', () => {
    const { hub, scheduler, connect, publish, send } = sendingWorld({
      policy: dropSlow({ measure: 'wire', floorRate: Number.POSITIVE_INFINITY }),
    })
    const one = connect('one', { window: 1_000_000, receiveBuffer: 0, codec: plain })
    hub.subscribe('one', 'a')
    publish('a', text(200))
    for (let i = 0; i < 20 && one.closedFor === undefined; i++) {
      send('one', 'x')
      scheduler.advance(50)
    }
    // Nothing was ever read: each byte that is counted and was not written would look like one that has been confirmed.
    expect(one.closedFor).toBe('slow')
  })
})

describe('what a connection cannot carry', () => {
  it('without a form for it: UNSUPPORTED_PAYLOAD, and nothing is sent', async () => {
    const { direct: _, ...plain } = fakeCodec
    for (const codec of [
      plain,
      { ...fakeCodec, direct: () => null },
      {
        ...fakeCodec,
        direct: () => {
          throw new Error('broken')
        },
      },
    ]) {
      const { scheduler, connect, send, hub, kept } = sendingWorld()
      const one = connect('one', { codec })
      const sent = send('one', 'x', { contentType: 'image/png' })
      scheduler.settle()
      await listen()
      expect(sent).toMatchObject({ ends: 1, error: { code: 'UNSUPPORTED_PAYLOAD' } })
      expect(sent.error).toBeInstanceOf(HubError)
      expect(sent.error!.message).toBe('message: one speaks fake, which cannot carry image/png to one client')
      expect(one.received).toEqual([])
      expect(hub.getMetrics().operations.send.errors).toEqual({ UNSUPPORTED_PAYLOAD: 1 })
      expect(kept()).toEqual({ queued: 0, kept: 0 })
    }
  })
})

describe('the last frame of a flush uncorks', () => {
  it('also where the message behind it was cancelled before', () => {
    const { hub, scheduler, connect, publish } = sendingWorld()
    const one = connect('one')
    hub.subscribe('one', 'a')
    publish('a', 'a1')
    const posted = hub.post('one', direct('cancelled'), () => {})
    posted.cancel(new HubError('SEND_TIMEOUT', 'x'))
    scheduler.settle()
    expect(order(one)).toEqual(['a1'])
    expect(one.writes).toBe(1)
  })

  it('also where the messages around it were cancelled', () => {
    const { hub, scheduler, connect, kept } = sendingWorld()
    const one = connect('one')
    const posted = ['1', '2', '3', '4'].map(name => hub.post('one', direct(name), () => {}))
    for (const i of [3, 0, 1]) posted[i]!.cancel(new HubError('SEND_TIMEOUT', 'x'))
    scheduler.settle()
    expect(one.directs()).toEqual(['3'])
    expect(one.writes).toBe(1)
    expect(kept()).toEqual({ queued: 0, kept: 0 })
  })

  it('also where the last message is cancelled inside the write before it', () => {
    const { hub, scheduler, connect } = sendingWorld()
    const flags: boolean[] = []
    const one = connect('one')
    const write = one.write.bind(one)
    let last: ReturnType<typeof hub.post> | undefined
    one.write = (frame, more) => {
      flags.push(more)
      last?.cancel(new HubError('SEND_ABORTED', 'x'))
      return write(frame, more)
    }
    hub.post('one', direct('first'), () => {})
    const told: (string | undefined)[] = []
    last = hub.post('one', direct('last'), error => told.push(error?.code))
    scheduler.settle()
    expect(flags.at(-1)).toBe(false)
    expect(told).toEqual(['SEND_ABORTED'])
  })

  it('also where the first is cancelled, and messages of a topic follow', () => {
    const { hub, scheduler, connect, publish } = sendingWorld()
    const one = connect('one')
    hub.subscribe('one', 'a')
    const first = hub.post('one', direct('first'), () => {})
    publish('a', 'a1')
    hub.post('one', direct('second'), () => {})
    first.cancel(new HubError('SEND_ABORTED', 'x'))
    scheduler.settle()
    expect(order(one)).toEqual(['a1', 'second'])
    expect(one.writes).toBe(1)
    expect(hub.getConnectionStats()).toMatchObject({ delivered: 1, pending: 0 })
  })

  it('also where all are cancelled: nothing is written, and the client is not behind', () => {
    const { hub, scheduler, connect } = sendingWorld()
    const one = connect('one')
    for (const name of ['1', '2']) hub.post('one', direct(name), () => {}).cancel(new HubError('SEND_ABORTED', 'x'))
    scheduler.settle()
    expect(one.received).toEqual([])
    expect(one.writes).toBe(0)
    expect(hub.getClient('one')).toMatchObject({ waitedMs: 0, queuedBytes: 0 })
  })

  it('also where what follows is taken as a message and not as a frame', () => {
    const { hub, scheduler, receiver, publish } = sendingWorld()
    const one = receiver('one')
    const flags: boolean[] = []
    const write = one.write.bind(one)
    one.write = (frame, more) => {
      flags.push(more)
      return write(frame, more)
    }
    hub.subscribe('one', 'a')
    publish('a')
    hub.post('one', direct('request'), () => {})
    scheduler.settle()
    expect(one.parcels).toHaveLength(1)
    expect(flags).toEqual([false])
  })
})

describe('a message that cannot be sent', () => {
  const cycle: Record<string, unknown> = {}
  cycle.self = cycle
  const throwing = (what: unknown) => ({
    toJSON() {
      throw what
    },
  })
  const bad: [string, unknown, RegExp][] = [
    ['a cycle', cycle, /^message: it has no form in JSON: Converting circular structure to JSON$/],
    ['a BigInt', { n: 5n }, /^message: it has no form in JSON: .*BigInt/],
    ['undefined', undefined, /^message: undefined has no form in JSON; give bytes, text or plain data$/],
    ['a function', () => 5, /^message: function has no form in JSON/],
    ['a symbol', Symbol('x'), /^message: symbol has no form in JSON/],
    ['no number', Number.NaN, /^message: NaN has no form in JSON/],
    ['a Map, which JSON would make {}', new Map([['a', 1]]), /^message: Map has no form in JSON/],
    ['an Error', new Error('x'), /^message: Error has no form in JSON/],
    ['a promise that was not awaited', Promise.resolve(1), /^message: Promise has no form in JSON/],
    ['a toJSON that throws', throwing(new Error('mine\nsecond line')), /^message: it has no form in JSON: mine$/],
    ['a toJSON that throws null', throwing(null), /^message: it has no form in JSON: null$/],
    ['a toJSON that throws nothing', throwing(undefined), /^message: it has no form in JSON: undefined$/],
    ['a toJSON that throws what has no text', throwing(Object.create(null)), /^message: it has no form in JSON/],
    ['a toJSON that gives undefined', { toJSON: () => undefined }, /^message: object has no form in JSON/],
  ]
  it.each(bad)('%s: INVALID_MESSAGE, nothing was sent, and it is counted', async (_, message, sentence) => {
    const { hub, scheduler, connect, kept } = sendingWorld()
    const one = connect('one')
    const sent = heard(hub.send('one', message))
    const cast = heard(hub.broadcast(['one'], message))
    scheduler.settle()
    await listen()
    for (const each of [sent, cast]) {
      expect(each).toMatchObject({ ends: 1, error: { code: 'INVALID_MESSAGE' } })
      expect(each.error).toBeInstanceOf(HubError)
      expect(each.error!.message).toMatch(sentence)
    }
    expect(one.received).toEqual([])
    const { send, broadcast } = hub.getMetrics().operations
    for (const each of [send, broadcast]) {
      expect(each).toMatchObject({ count: 1, active: 0, errors: { INVALID_MESSAGE: 1 } })
    }
    expect(kept()).toEqual({ queued: 0, kept: 0 })
  })

  it('that is too large: MESSAGE_TOO_LARGE names both sizes', async () => {
    const { scheduler, connect, send } = sendingWorld({ maxMessageBytes: 10 })
    const one = connect('one')
    const [fits, larger] = [send('one', text(10)), send('one', text(11))]
    scheduler.settle()
    await listen()
    expect(fits.error).toBeUndefined()
    expect(larger.error).toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
      message: 'message: 11 bytes are more than the 10 that one message may have',
    })
    expect(one.directs()).toHaveLength(1)
  })

  it.each([
    ['id', ''],
    ['id', 'a b'],
    ['id', 'a\r\nb'],
    ['id', 'ü'],
    ['id', 'x'.repeat(256)],
    ['id', 5],
    ['id', null],
    ['id', ['a']],
    ['correlationId', 'a\nb'],
    ['correlationId', {}],
    ['contentType', 'text/plain\r\nX-Bad: 1'],
    ['contentType', ''],
    ['contentType', 5],
    ['timeoutMs', 0],
    ['timeoutMs', -1],
    ['timeoutMs', Number.NaN],
    ['timeoutMs', Number.POSITIVE_INFINITY],
    ['timeoutMs', 2 ** 31],
    ['timeoutMs', '5'],
    ['signal', {}],
  ])('with %s %j: REQUEST_INVALID names it, and nothing is sent', async (field, value) => {
    const { hub, scheduler, connect, send } = sendingWorld()
    const one = connect('one')
    const sent = send('one', 'x', { [field]: value })
    scheduler.settle()
    await listen()
    expect(sent).toMatchObject({ ends: 1, error: { code: 'REQUEST_INVALID' } })
    expect(sent.error!.message).toMatch(new RegExp(`^${field} must be `))
    expect(one.received).toEqual([])
    expect(hub.getMetrics().operations.send).toMatchObject({ count: 1, active: 0, errors: { REQUEST_INVALID: 1 } })
  })

  it('ids of 1 to 255 printable characters are taken', async () => {
    const { scheduler, connect, send } = sendingWorld()
    connect('one')
    const all = ['!', 'x'.repeat(255), 'a/b?c=d~'].map(id => send('one', 'x', { id, correlationId: id }))
    scheduler.settle()
    await listen()
    for (const each of all) expect(each).toMatchObject({ ends: 1, error: undefined })
  })
})
