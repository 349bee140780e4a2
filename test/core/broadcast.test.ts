import { describe, expect, it } from 'vitest'
import type { ClientFilter } from '../../src/core/contract.ts'
import { HubError } from '../../src/core/errors.ts'
import { createHub } from '../../src/hub.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { collectGarbage, heard, listen, type SendingWorld, sendingWorld } from './sending.ts'

const names = (count: number, prefix = 'c'): string[] => Array.from({ length: count }, (_, i) => `${prefix}${i}`)
const stale = () => new HubError('CONNECTION_STALE', 'gone')

/** Clients that are asked by requests; what is under way at any moment, and the most of that so far. */
function receivers(world: SendingWorld, ids: readonly string[]) {
  const all = ids.map(id => world.receiver(id))
  const open = () => all.flatMap(connection => connection.open)
  let most = 0
  return {
    all,
    open,
    get most() {
      return most
    },
    /** The tick, and everything that follows from it. */
    async step(): Promise<void> {
      world.scheduler.settle()
      await listen()
      world.scheduler.settle()
      await listen()
      most = Math.max(most, open().length)
    },
  }
}

describe('a broadcast', () => {
  it('answers for each client, in the order of the ids, whatever order they end in', async () => {
    const world = sendingWorld()
    const { all, step } = receivers(world, ['slow', 'quick', 'failing'])
    world.connect('socket')
    const ids = ['slow', 'nobody', 'quick', 'socket', 'failing']
    const cast = heard(world.hub.broadcast(ids, 'news', { id: 'n1' }))
    await step()
    world.scheduler.advance(10)
    all[1]!.open[0]!.settle()
    await step()
    all[2]!.open[0]!.settle(new HubError('SEND_FAILED', 'refused'))
    await step()
    expect(cast.ends).toBe(0)
    world.scheduler.advance(10)
    all[0]!.open[0]!.settle()
    await step()
    expect(cast.result!.results).toEqual([
      { clientId: 'slow', ok: true, id: 'n1', confirmed: true, ms: 20 },
      { clientId: 'nobody', ok: false, error: expect.objectContaining({ code: 'CONNECTION_NOT_FOUND' }) },
      { clientId: 'quick', ok: true, id: 'n1', confirmed: true, ms: 10 },
      { clientId: 'socket', ok: true, id: 'n1', confirmed: false, ms: 0 },
      { clientId: 'failing', ok: false, error: expect.objectContaining({ code: 'SEND_FAILED' }) },
    ])
    expect(cast.result).toMatchObject({ sent: 3, failed: 2, error: { code: 'BROADCAST_PARTIAL_FAILURE' } })
    const { error } = cast.result!
    expect(error!.message).toBe('broadcast: 2 of 5 clients did not get it')
    expect(error!.failures!.map(failure => [failure.clientId, failure.error.code])).toEqual([
      ['nobody', 'CONNECTION_NOT_FOUND'],
      ['failing', 'SEND_FAILED'],
    ])
    const { send, broadcast } = world.hub.getMetrics().operations
    expect(broadcast).toMatchObject({ count: 1, active: 0, errors: { BROADCAST_PARTIAL_FAILURE: 1 } })
    expect(send).toMatchObject({ count: 5, active: 0, errors: { CONNECTION_NOT_FOUND: 1, SEND_FAILED: 1 } })
  })

  it('has so many requests under way at a time, and never more, until all are done', async () => {
    for (const concurrency of [1, 3, 10]) {
      const world = sendingWorld()
      const clients = receivers(world, names(25))
      const cast = heard(world.hub.broadcast(names(25), 'x', { concurrency }))
      await clients.step()
      expect(clients.open()).toHaveLength(concurrency)
      for (let done = 0; done < 25; done++) {
        expect(clients.open()).toHaveLength(Math.min(concurrency, 25 - done))
        // The last that began ends first.
        clients
          .open()
          .at(-1)!
          .settle(done % 3 === 0 ? stale() : undefined)
        await clients.step()
      }
      expect(clients.most).toBe(concurrency)
      expect(cast).toMatchObject({ ends: 1, result: { sent: 16, failed: 9 } })
      for (const { parcels } of clients.all) expect(parcels).toHaveLength(1)
    }
  })

  it('by default ten', async () => {
    const world = sendingWorld()
    const clients = receivers(world, names(12))
    heard(world.hub.broadcast(names(12), 'x'))
    await clients.step()
    expect(clients.open()).toHaveLength(10)
  })

  it('one request that hangs holds up none of the others', async () => {
    const world = sendingWorld()
    const clients = receivers(world, names(20))
    const cast = heard(world.hub.broadcast(names(20), 'x', { concurrency: 2, timeoutMs: 5000 }))
    await clients.step()
    for (let i = 0; i < 19; i++) {
      clients
        .open()
        .find(parcel => !clients.all[0]!.open.includes(parcel))!
        .settle()
      await clients.step()
    }
    expect(clients.open()).toEqual(clients.all[0]!.open)
    expect(cast.ends).toBe(0)
    world.scheduler.advance(5000)
    await listen()
    expect(cast.result).toMatchObject({ sent: 19, failed: 1 })
    expect(cast.result!.results[0]).toMatchObject({ clientId: 'c0', ok: false, error: { code: 'SEND_TIMEOUT' } })
  })

  it('writes to sockets wait for nobody and take no place of a request', async () => {
    const world = sendingWorld()
    const clients = receivers(world, ['r0', 'r1', 'r2'])
    const sockets = names(30, 's').map(id => world.connect(id, { window: 0 }))
    const ids = ['r0', ...names(15, 's'), 'r1', ...names(30, 's').slice(15), 'r2']
    const cast = heard(world.hub.broadcast(ids, 'x', { concurrency: 1 }))
    await clients.step()
    expect(clients.open()).toHaveLength(1)
    // The first request is a client's in the list, too: what stands behind it waits for it.
    clients.open()[0]!.settle()
    await clients.step()
    expect(clients.open()).toHaveLength(1)
    expect(sockets.filter(({ received }) => received.length === 1)).toHaveLength(15)
    clients.open()[0]!.settle()
    await clients.step()
    expect(sockets.filter(({ received }) => received.length === 1)).toHaveLength(30)
    clients.open()[0]!.settle()
    await clients.step()
    // None of the sockets has taken its message, and no request waited for that.
    expect(clients.all.every(({ open }) => open.length === 0)).toBe(true)
    expect(cast.ends).toBe(0)
    for (const socket of sockets) socket.read()
    await listen()
    expect(cast.result).toMatchObject({ sent: 33, failed: 0, error: undefined })
  })

  it('reaches each client once, however often it is named', async () => {
    const world = sendingWorld()
    const one = world.connect('one')
    const two = world.connect('two')
    const cast = heard(world.hub.broadcast(['one', 'two', 'one', 'one'], 'x'))
    world.scheduler.settle()
    await listen()
    expect(cast.result!.results.map(({ clientId }) => clientId)).toEqual(['one', 'two'])
    expect([one.directs(), two.directs()]).toEqual([['x'], ['x']])
  })

  it('to nobody is done at once and no failure', async () => {
    const { hub } = sendingWorld()
    for (const targets of [[], new Set<string>(), { user: 'nobody' }, { topic: 'unheard/of' }]) {
      const cast = heard(hub.broadcast(targets, 'x'))
      await listen()
      expect(cast.result).toEqual({ results: [], sent: 0, failed: 0, error: undefined })
    }
    expect(hub.getMetrics().operations).toMatchObject({
      broadcast: { count: 4, active: 0, errors: {} },
      send: { count: 0 },
    })
  })

  it('aborted half way: what is under way and what has not begun is SEND_ABORTED, what is done stays done', async () => {
    const world = sendingWorld()
    const clients = receivers(world, names(10))
    const controller = new AbortController()
    const cast = heard(world.hub.broadcast(names(10), 'x', { concurrency: 2, signal: controller.signal }))
    await clients.step()
    for (let i = 0; i < 3; i++) {
      clients.open()[0]!.settle()
      await clients.step()
    }
    controller.abort()
    await clients.step()
    const outcomes = cast.result!.results.map(result => (result.ok ? 'ok' : result.error.code))
    expect(outcomes).toEqual(['ok', 'ok', 'ok', ...Array(7).fill('SEND_ABORTED')])
    expect(clients.all.map(({ parcels }) => parcels.length)).toEqual([1, 1, 1, 1, 1, 0, 0, 0, 0, 0])
    expect(clients.open()).toEqual([])
    expect(world.kept()).toEqual({ queued: 0, kept: 0 })
  })

  it('a client that goes half way is stale, and the others go on', async () => {
    const world = sendingWorld()
    const clients = receivers(world, names(4))
    const cast = heard(world.hub.broadcast(names(4), 'x', { concurrency: 2 }))
    await clients.step()
    world.hub.unregisterClient('c1')
    world.hub.unregisterClient('c3')
    await clients.step()
    for (const parcel of clients.open()) parcel.settle()
    await clients.step()
    for (const parcel of clients.open()) parcel.settle()
    await clients.step()
    expect(cast.result!.results.map(result => (result.ok ? 'ok' : result.error.code))).toEqual([
      'ok',
      'CONNECTION_STALE',
      'ok',
      'CONNECTION_NOT_FOUND',
    ])
  })

  it('many clients: the event loop gets its turn after 100, whatever the concurrency', async () => {
    for (const concurrency of [1, 1000]) {
      const world = sendingWorld()
      const sockets = names(250).map(id => world.connect(id))
      const cast = heard(world.hub.broadcast(names(250), 'x', { concurrency }))
      const begun: number[] = []
      for (let i = 0; i < 4; i++) {
        await listen()
        begun.push(world.hub.getMetrics().operations.send.active + world.hub.getMetrics().operations.send.count)
        world.scheduler.turn()
        await listen()
      }
      expect(begun).toEqual([100, 200, 250, 250])
      world.scheduler.settle()
      await listen()
      expect(cast.result).toMatchObject({ sent: 250, failed: 0 })
      expect(sockets.every(socket => socket.directs().length === 1)).toBe(true)
    }
  })

  it.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '3' as never])(
    'with concurrency %s is REQUEST_INVALID, and nothing is sent',
    async concurrency => {
      const { hub, scheduler, connect } = sendingWorld()
      const one = connect('one')
      const cast = heard(hub.broadcast(['one'], 'x', { concurrency }))
      scheduler.settle()
      await listen()
      expect(cast.error).toMatchObject({
        code: 'REQUEST_INVALID',
        message: expect.stringMatching(/^concurrency must be an integer of at least 1, got /),
      })
      expect(one.received).toEqual([])
      expect(hub.getMetrics().operations.broadcast).toMatchObject({
        count: 1,
        active: 0,
        errors: { REQUEST_INVALID: 1 },
      })
    },
  )

  it('to a text is REQUEST_INVALID: it is a list of letters and surely not meant', async () => {
    const { hub } = sendingWorld()
    const cast = heard(hub.broadcast('one', 'x'))
    await listen()
    expect(cast.error).toMatchObject({
      code: 'REQUEST_INVALID',
      message:
        'targets must be an array of client ids, or a filter such as { topic }, { user } or { all: true }, got "one"',
    })
    expect(hub.getMetrics().operations.broadcast).toMatchObject({ count: 1, active: 0 })
  })
})

describe('who is meant by a filter', () => {
  function setUp() {
    const scheduler = new ManualScheduler()
    const hub = createHub({ scheduler })
    const connect = (id: string, protocol: string, user: string | undefined, topics: string[]): FakeConnection => {
      const connection = new FakeConnection({ protocol })
      connection.client = hub.registerClient(id, connection, { session: { user } })
      for (const topic of topics) hub.subscribe(id, topic)
      return connection
    }
    const all = {
      a: connect('a', 'ws', 'ann', ['news', 'sport']),
      b: connect('b', 'sse', 'ann', ['news']),
      c: connect('c', 'ws', 'bob', ['sport']),
      d: connect('d', 'ws', undefined, []),
    }
    return { scheduler, hub, all }
  }

  it.each<[ClientFilter, string]>([
    [{ all: true }, 'abcd'],
    [{ topic: 'news' }, 'ab'],
    [{ topic: '/news' }, 'ab'],
    [{ user: 'ann' }, 'ab'],
    [{ protocol: 'ws' }, 'acd'],
    [{ all: true, except: ['a', 'd', 'nobody'] }, 'bc'],
    [{ topic: 'sport', user: 'ann' }, 'a'],
    [{ topic: 'news', protocol: 'sse', user: 'ann', except: [] }, 'b'],
    [{ topic: 'news', except: ['a'] }, 'b'],
    [{ user: 'bob', topic: 'news' }, ''],
    [{ user: '' }, ''],
  ])('%j is %s', async (filter, expected) => {
    const { scheduler, hub, all } = setUp()
    const cast = heard(hub.broadcast(filter, 'x'))
    scheduler.settle()
    await listen()
    const got = Object.entries(all).filter(([, connection]) => connection.directs().length > 0)
    expect(got.map(([id]) => id).join('')).toBe(expected)
    expect(
      cast
        .result!.results.map(({ clientId }) => clientId)
        .sort()
        .join(''),
    ).toBe(expected)
    expect(hub.selectClients(filter).sort().join('')).toBe(expected)
  })

  it('a wrong topic is TOPIC_INVALID, and a broadcast that is counted', async () => {
    const { hub } = setUp()
    const cast = heard(hub.broadcast({ topic: '..' }, 'x'))
    await listen()
    expect(cast.error).toMatchObject({ code: 'TOPIC_INVALID' })
    expect(hub.getMetrics().operations.broadcast).toMatchObject({ count: 1, active: 0, errors: { TOPIC_INVALID: 1 } })
  })
})

describe('is a client there?', () => {
  it('its peer is asked where the protocol can, in order with what it is owed', async () => {
    const { hub, scheduler, connect, send } = sendingWorld()
    const one = connect('one', { answersPings: true })
    send('one', 'before')
    const active = heard(hub.isActive('one'))
    scheduler.settle()
    await listen()
    expect(one.received.map(each => (each.kind === 'gap' ? '' : each.text))).toEqual(['before', 'ping'])
    expect(active.ends).toBe(0)
    one.pong()
    await listen()
    expect(active).toMatchObject({ ends: 1, result: true })
    expect(scheduler.timers).toBe(1)
  })

  it('an answer that says no, or none within the time', async () => {
    const { hub, scheduler, connect } = sendingWorld()
    const one = connect('one', { answersPings: true })
    const denied = heard(hub.isActive('one'))
    one.pong(false)
    const silent = heard(hub.isActive('one', { timeoutMs: 300 }))
    const patient = heard(hub.isActive('one'))
    scheduler.advance(299)
    await listen()
    expect([denied.result, silent.ends, patient.ends]).toEqual([false, 0, 0])
    scheduler.advance(1)
    await listen()
    expect([silent.result, patient.ends]).toEqual([false, 0])
    scheduler.advance(4699)
    await listen()
    expect(patient.ends).toBe(0)
    scheduler.advance(1)
    await listen()
    expect(patient.result).toBe(false)
    one.pong()
    one.pong()
    await listen()
    expect([silent.ends, patient.ends]).toEqual([1, 1])
  })

  it('where the protocol cannot ask: is it registered?', async () => {
    const { hub, connect } = sendingWorld()
    connect('one')
    const [one, nobody] = [heard(hub.isActive('one')), heard(hub.isActive('nobody'))]
    await listen()
    expect([one.result, nobody.result]).toEqual([true, false])
    hub.unregisterClient('one')
    const gone = heard(hub.isActive('one'))
    await listen()
    expect(gone.result).toBe(false)
  })

  it('gone while it is asked: no', async () => {
    const { hub, scheduler, connect } = sendingWorld()
    connect('one', { answersPings: true })
    const active = heard(hub.isActive('one'))
    scheduler.settle()
    hub.unregisterClient('one')
    await listen()
    expect(active).toMatchObject({ ends: 1, result: false })
    expect(scheduler.timers).toBe(1)
  })

  it('what was asked keeps nothing, of the client or of the signal', async () => {
    const { hub, connect } = sendingWorld()
    const one = connect('one', { answersPings: true })
    const ask = async (): Promise<WeakRef<object>> => {
      const { signal } = new AbortController()
      const asked = hub.isActive('one', { signal })
      one.pong()
      expect(await asked).toBe(true)
      return new WeakRef(signal)
    }
    const signal = await ask()
    await listen()
    collectGarbage()
    expect(signal.deref()).toBeUndefined()
  })

  it('aborted before or while it waits: SEND_ABORTED; nonsense is REQUEST_INVALID', async () => {
    const { hub, scheduler, connect } = sendingWorld()
    const one = connect('one', { answersPings: true })
    const early = heard(hub.isActive('one', { signal: AbortSignal.abort() }))
    scheduler.settle()
    expect(one.received).toEqual([])
    const controller = new AbortController()
    const late = heard(hub.isActive('one', { signal: controller.signal }))
    controller.abort()
    const wrong = heard(hub.isActive('one', { timeoutMs: Number.NaN }))
    await listen()
    expect([early.error!.code, late.error!.code, wrong.error!.code]).toEqual([
      'SEND_ABORTED',
      'SEND_ABORTED',
      'REQUEST_INVALID',
    ])
    expect(scheduler.timers).toBe(1)
  })
})

describe('a send that is to be confirmed', () => {
  it('waits for the answer to a ping that follows the message in the same write', async () => {
    const { scheduler, connect, send, hub } = sendingWorld()
    const one = connect('one', { answersPings: true })
    const [plain, sent] = [send('one', 'plain'), send('one', 'hello', { confirm: true })]
    scheduler.settle()
    expect(one.received.map(each => (each.kind === 'gap' ? '' : each.text))).toEqual(['plain', 'hello', 'ping'])
    expect(one.writes).toBe(1)
    scheduler.advance(70)
    await listen()
    expect([plain.result?.confirmed, sent.ends]).toEqual([false, 0])
    one.pong()
    await listen()
    expect(sent).toMatchObject({ ends: 1, result: { confirmed: true, ms: 70 } })
    expect(hub.getMetrics().operations.send).toMatchObject({ count: 2, active: 0 })
    expect(scheduler.timers).toBe(1)
  })

  it('an answer before the connection has taken everything is not the end yet', async () => {
    const { scheduler, connect, send } = sendingWorld()
    const one = connect('one', { answersPings: true, window: 0 })
    const sent = send('one', 'hello', { confirm: true })
    scheduler.settle()
    one.pong()
    await listen()
    expect(sent.ends).toBe(0)
    one.read()
    await listen()
    expect(sent).toMatchObject({ ends: 1, result: { confirmed: true } })
  })

  it('an answer that says no, none in time, and a client that goes before it', async () => {
    const { scheduler, connect, send, hub } = sendingWorld()
    const one = connect('one', { answersPings: true })
    const denied = send('one', 'x', { confirm: true })
    scheduler.settle()
    one.pong(false)
    const silent = send('one', 'x', { confirm: true, timeoutMs: 100 })
    scheduler.advance(100)
    // Too late, and nobody counts it twice.
    one.pong()
    expect(hub.getMetrics().operations.send).toMatchObject({ count: 2, active: 0 })
    const gone = send('one', 'x', { confirm: true })
    scheduler.settle()
    await listen()
    expect(gone.ends).toBe(0)
    hub.unregisterClient('one', 'idle')
    await listen()
    expect([denied, silent, gone].map(({ error }) => error?.code)).toEqual([
      'CONNECTION_STALE',
      'SEND_TIMEOUT',
      'CONNECTION_STALE',
    ])
    expect(hub.getMetrics().operations.send.active).toBe(0)
    expect(scheduler.timers).toBe(1)
  })

  it('where the protocol cannot tell, it is over when it is taken, and says so', async () => {
    const { scheduler, connect, send } = sendingWorld()
    connect('one')
    const sent = send('one', 'x', { confirm: true })
    scheduler.settle()
    await listen()
    expect(sent).toMatchObject({ ends: 1, result: { confirmed: false } })
  })

  it('a client of requests confirms whether it is asked to or not', async () => {
    const world = sendingWorld()
    const one = world.receiver('one', { answersPings: true })
    const [a, b] = [world.send('one', 'a'), world.send('one', 'b', { confirm: true })]
    world.scheduler.settle()
    expect(one.received).toEqual([])
    for (const parcel of one.open) parcel.settle()
    await listen()
    expect([a.result!.confirmed, b.result!.confirmed]).toEqual([true, true])
  })
})

describe('a client whose circuit is open', () => {
  it('is sent nothing, and what is under way fails at once', async () => {
    const world = sendingWorld()
    const one = world.receiver('one')
    const other = world.receiver('other')
    const [sent, unconcerned] = [world.send('one'), world.send('other')]
    world.scheduler.settle()
    one.circuit = 'open'
    const id = one.client!.id
    world.hub.events.emit('circuit', { id, client: world.hub.handleOf(id)!, circuit: 'open', why: '503' })
    const next = world.send('one')
    await listen()
    expect([sent.error!.code, next.error!.code]).toEqual(['CIRCUIT_OPEN', 'CIRCUIT_OPEN'])
    expect(one.parcels).toHaveLength(1)
    expect(unconcerned.ends).toBe(0)
    world.hub.events.emit('circuit', {
      id: other.client!.id,
      client: other.client!,
      circuit: 'half-open',
      why: undefined,
    })
    other.open[0]!.settle()
    one.circuit = 'half-open'
    const probe = world.send('one')
    world.scheduler.settle()
    one.open[0]!.settle()
    await listen()
    expect([unconcerned.error, probe.error]).toEqual([undefined, undefined])
    expect(world.hub.getMetrics()).toMatchObject({ circuits: { closed: 0, open: 0, 'half-open': 1 } })
  })
})

describe('metrics', () => {
  it('count what was called, time it, and say what waits', async () => {
    const { hub, scheduler, connect, send, publish } = sendingWorld()
    expect(hub.getMetrics()).toEqual({
      operations: Object.fromEntries(
        ['send', 'broadcast', 'route', 'callback'].map(name => [
          name,
          {
            count: 0,
            active: 0,
            retries: 0,
            errors: {},
            p50: undefined,
            p95: undefined,
            p99: undefined,
            max: undefined,
          },
        ]),
      ),
      circuits: { closed: 0, open: 0, 'half-open': 0 },
      queues: { pending: 0, unconfirmed: 0, bytes: 0 },
    })
    const one = connect('one', { window: 0 })
    for (let i = 1; i <= 100; i++) {
      send('one', `${i}`)
      scheduler.advance(i)
      one.read()
    }
    await listen()
    const times = hub.getMetrics().operations.send
    expect(times).toMatchObject({ count: 100, active: 0 })
    for (const [name, expected] of [
      ['p50', 50],
      ['p95', 95],
      ['p99', 99],
      ['max', 100],
    ] as const) {
      expect(times[name]! / expected).toBeGreaterThan(0.98)
      expect(times[name]! / expected).toBeLessThan(1.02)
    }
    send('one', 'waits')
    scheduler.settle()
    send('one', 'waits as well')
    hub.subscribe('one', 't')
    publish('t')
    scheduler.settle()
    const { queues, operations } = hub.getMetrics()
    expect(queues.bytes).toBe(hub.getConnectionStats().queuedBytes)
    expect(queues.bytes).toBeGreaterThan(256)
    expect(queues.pending).toBe(1)
    expect(operations.send.active).toBe(2)
    // Once for the tick of the publication, whatever it carried.
    expect(operations.route).toMatchObject({ count: 1, active: 0 })
  })

  it('route is timed from being routed to being handed over', () => {
    const { hub, scheduler, publish } = sendingWorld()
    publish('t')
    scheduler.elapse(30)
    publish('t')
    scheduler.settle()
    expect(hub.getMetrics().operations.route.max! / 30).toBeCloseTo(1, 1)
  })
})
