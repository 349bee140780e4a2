import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import type { SessionManager } from '../../src/core/sessions.ts'
import { openTopics } from '../../src/open-topics.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { latest } from '../../src/policies/latest.ts'
import { reliable } from '../../src/policies/reliable.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { authenticate } from '../../src/transports/client-connect.ts'
import type { TopicsContext } from '../../src/transports/client-gate.ts'
import { clientSubprotocol } from '../../src/transports/client-protocol.ts'
import type { Opening } from '../../src/transports/transport.ts'
import { firstListener } from '../listeners.ts'
import { type ClientServer, type ClientServerOptions, ManualHeartbeat, Peer, startClientServer } from './client-peer.ts'

const running: ClientServer[] = []
async function serve(options: ClientServerOptions = {}): Promise<ClientServer> {
  const server = await startClientServer(options)
  running.push(server)
  return server
}
afterEach(async () => {
  vi.useRealTimers()
  for (const server of running.splice(0)) {
    await server.close()
    expect(server.faults).toEqual([])
  }
})

const json = (value: unknown) => Buffer.from(JSON.stringify(value))
const JSON_TYPE = { contentType: 'application/json' }

/** The next event of the hub, whatever its data. */
const happens = (server: ClientServer, event: 'register' | 'unregister' | 'gap') =>
  new Promise<unknown>(resolve => server.hub.events.on(event, resolve))

/** Answers when the test lets it. */
function gatedSessions() {
  const gates: (() => void)[] = []
  let arrived: () => void = () => {}
  const gate = <T>(value: T) =>
    new Promise<T>(resolve => {
      gates.push(() => resolve(value))
      arrived()
    })
  const sessions: SessionManager = { authenticate: () => gate({}), authorize: () => gate(true) }
  return {
    sessions,
    /** So many wait. */
    async waiting(count = 1): Promise<void> {
      while (gates.length < count) await new Promise<void>(resolve => (arrived = resolve))
    },
    /** Lets the oldest go on, or another. */
    release: (index = 0) => gates.splice(index, 1)[0]!(),
  }
}

describe('malformed input ends the connection with 3501', () => {
  const first = { id: 1, connect: {} }
  it.each<[string, string | Buffer]>([
    ['no JSON', 'hello'],
    ['half a command', '{"id":2,'],
    ['an array', '[]'],
    ['a number', '1'],
    ['null', 'null'],
    ['a string', '"connect"'],
    ['an empty frame', ''],
    ['a frame of newlines', '\n\n\n'],
    ['a command without an id', '{"subscribe":{"channel":"a"}}'],
    ['id 0', '{"id":0,"subscribe":{"channel":"a"}}'],
    ['a negative id', '{"id":-1,"ping":{}}'],
    ['a fraction as id', '{"id":1.5,"ping":{}}'],
    ['a string as id', '{"id":"1","ping":{}}'],
    ['an id beyond 32 bits', '{"id":4294967296,"ping":{}}'],
    ['an unknown command without an id', '{"what":{}}'],
    ['a second connect', '{"id":2,"connect":{}}'],
    ['a good command, then a bad one', '{"id":2,"ping":{}}\nnope'],
    ['40,000 levels', `{"id":2,"publish":{"channel":"a","data":${'['.repeat(40_000)}${']'.repeat(40_000)}}}`],
    ['900,000 open brackets', '['.repeat(900_000)],
    ['20,000 commands', '{"id":2,"unsubscribe":{"channel":"a"}}\n'.repeat(20_000)],
    ['a binary frame', Buffer.from('{"id":2,"ping":{}}')],
  ])('%s', async (_what, frame) => {
    const server = await serve()
    await using peer = await Peer.connect(server.url)
    peer.webSocket.send(frame)
    expect(await peer.closed).toMatchObject({ code: 3501, reason: expect.stringMatching(/^bad request: /) })
    expect([...server.hub.getActiveClients()]).toEqual([])
  })

  it.each([
    ['a command before connect', { id: 1, subscribe: { channel: 'a' } }],
    ['a pong before connect', {}],
  ])('%s', async (_what, command) => {
    const server = await serve()
    await using peer = await Peer.open(server.url)
    peer.say(command, first)
    expect(await peer.closed).toMatchObject({ code: 3501 })
    expect(server.hub.getConnectionStats().clientsTotal).toBe(0)
  })

  it('says that the Protobuf form is not there, whichever way it is asked for', async () => {
    const server = await serve()
    await using binary = await Peer.connect(server.url)
    binary.webSocket.send(Buffer.of(8, 1))
    expect((await binary.closed).reason).toContain('Protobuf')
    await using offered = await Peer.open(server.url, ['centrifuge-protobuf'])
    expect(await offered.closed).toMatchObject({ code: 3501, reason: expect.stringContaining('Protobuf') })
  })
})

describe('connect', () => {
  it('registers the client under its id, not before', async () => {
    const server = await serve({ heartbeat: new ManualHeartbeat() })
    await using peer = await Peer.open(`${server.url}?client=tablet-7`)
    expect(server.hub.getConnectionStats().clients).toBe(0)
    expect(await peer.call({ id: 1, connect: { name: 'js', unknown: [1] } })).toEqual({
      id: 1,
      connect: { client: 'tablet-7', version: 'hubline', ping: 1, pong: true },
    })
    expect(server.hub.getClient('tablet-7')).toMatchObject({ protocol: 'centrifuge', subscriptions: [] })
  })

  it('must come in time: 3502', async () => {
    const server = await serve({ connectTimeoutMs: 100 })
    await using peer = await Peer.open(server.url)
    expect(await peer.closed).toEqual({ code: 3502, reason: 'stale' })
  })

  it('has come in time when it is sent in time, however long the session manager takes', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const { sessions, waiting, release } = gatedSessions()
    const server = await serve({ sessions })
    await using peer = await Peer.open(server.url)
    peer.say({ id: 1, connect: {} })
    await waiting()
    vi.advanceTimersByTime(60_000)
    release()
    expect(await peer.next()).toMatchObject({ id: 1, connect: {} })
  })

  it('with bad fields is answered with 107 and ends', async () => {
    const server = await serve()
    await using peer = await Peer.open(server.url)
    expect(await peer.call({ id: 1, connect: { token: 5 } })).toMatchObject({ id: 1, error: { code: 107 } })
    expect((await peer.closed).code).toBe(3501)
  })

  it('hands the token to the session manager, and the session to the hub', async () => {
    const sessions: SessionManager = {
      authenticate: ({ token, protocol }) => {
        if (token !== 'good') throw new HubError('PERMISSION_DENIED', 'token: no')
        return { user: `user of ${protocol}` }
      },
      authorize: () => true,
    }
    const server = await serve({ sessions })
    await using good = await Peer.open(`${server.url}?client=good`)
    await good.call({ id: 1, connect: { token: 'good' } })
    expect(server.hub.getClient('good').user).toBe('user of centrifuge')
    await using bad = await Peer.open(server.url)
    bad.say({ id: 1, connect: { token: 'bad' } })
    expect(await bad.closed).toEqual({ code: 3500, reason: 'invalid token' })
    await using none = await Peer.open(server.url)
    none.say({ id: 1, connect: {} })
    expect(await none.closed).toEqual({ code: 3507, reason: 'permission denied' })
  })

  it('commands that come while it is pending wait, in order', async () => {
    const { sessions, waiting, release } = gatedSessions()
    const server = await serve({ sessions })
    await using peer = await Peer.open(server.url)
    peer.say({ id: 1, connect: {} }, { id: 2, subscribe: { channel: 'a' } }, { id: 3, unsubscribe: { channel: 'a' } })
    await waiting()
    expect(server.hub.getConnectionStats().clients).toBe(0)
    release()
    expect(await peer.next()).toMatchObject({ id: 1 })
    await waiting()
    release()
    expect(await peer.take(2)).toMatchObject([
      { id: 2, subscribe: {} },
      { id: 3, unsubscribe: {} },
    ])
  })

  it('a peer that leaves meanwhile is never registered', async () => {
    const { sessions, waiting, release } = gatedSessions()
    const server = await serve({ sessions })
    const peer = await Peer.open(server.url)
    peer.say({ id: 1, connect: {} })
    await waiting()
    peer.webSocket.close()
    await peer.closed
    release()
    await using other = await Peer.open(server.url)
    other.say({ id: 1, connect: {} })
    await waiting()
    release()
    await other.next()
    expect(server.hub.getConnectionStats().clientsTotal).toBe(1)
  })

  it('more than may wait ends with 3013', async () => {
    const { sessions, waiting } = gatedSessions()
    const server = await serve({ sessions })
    await using peer = await Peer.open(server.url)
    peer.say({ id: 1, connect: {} })
    await waiting()
    const many = Array.from({ length: 400 }, (_, i) => ({ id: i + 2, ping: {} }))
    peer.say(...many)
    peer.say(...many)
    expect(await peer.closed).toEqual({ code: 3013, reason: 'too many requests' })
  })

  it('so does what is too long to wait, but one long command may wait alone', async () => {
    const { sessions, waiting, release } = gatedSessions()
    const server = await serve({ sessions })
    await using peer = await Peer.open(server.url)
    peer.say({ id: 1, connect: {} })
    await waiting()
    const long = (id: number) => ({ id, publish: { channel: 'a', data: 'x'.repeat(600_000) } })
    peer.say(long(2))
    release()
    await peer.next()
    await waiting()
    release()
    expect(await peer.next()).toEqual({ id: 2, publish: {} })
    peer.say(long(3))
    await waiting()
    peer.say(long(4))
    peer.say(long(5))
    expect((await peer.closed).code).toBe(3013)
  })

  it('nothing is done for a peer that was told to go', async () => {
    const sessions: SessionManager = { authenticate: () => expect.unreachable(), authorize: () => expect.unreachable() }
    const server = await serve({ sessions })
    await using peer = await Peer.open(server.url)
    peer.webSocket.send('nonsense')
    peer.say({ id: 1, connect: {} })
    expect((await peer.closed).code).toBe(3501)
  })

  it('the same id again: the older one is told 3503 and stays away', async () => {
    const server = await serve()
    await using older = await Peer.connect(`${server.url}?client=one`)
    await using newer = await Peer.connect(`${server.url}?client=one`)
    expect((await older.closed).code).toBe(3503)
    expect(await newer.call({ id: 2, subscribe: { channel: 'a' } })).toMatchObject({ id: 2, subscribe: {} })
    expect(server.hub.getConnectionStats().clients).toBe(1)
  })

  it('a full hub says come back: 3004', async () => {
    const server = await serve({ hubOptions: { limits: { maxClients: 1 } } })
    await using _first = await Peer.connect(server.url)
    await using second = await Peer.open(server.url)
    second.say({ id: 1, connect: {} })
    expect((await second.closed).code).toBe(3004)
  })

  it('subscribes to the topics of the opening, as the server’s own subscriptions', async () => {
    const server = await serve({ topics: [{ name: 'news' }] })
    await using peer = await Peer.open(server.url)
    expect(await peer.call({ id: 1, connect: {} })).toMatchObject({ connect: { subs: { news: {} } } })
    server.hub.routeData('news', json(1), JSON_TYPE)
    expect(await peer.next()).toEqual({ push: { channel: 'news', pub: { data: 1, offset: 1 } } })
  })

  it('recovers those, and what is not JSON is a gap of its topic: it harms no other message and no other topic', async () => {
    const server = await serve({ topics: ['news', 'raw', 'large', 'whole'].map(name => ({ name })) })
    const { hub } = server
    for (const topic of ['news', 'raw', 'large', 'whole']) hub.routeData(topic, json(1), JSON_TYPE)
    const subs = Object.fromEntries(
      ['news', 'raw', 'large', 'whole'].map(topic => {
        const { epoch, seq } = hub.positionOf(topic)!
        return [topic, { recover: true, epoch, offset: seq }]
      }),
    )
    hub.routeData('news', json(2), JSON_TYPE)
    hub.routeData('news', Buffer.alloc(40_000), { contentType: 'image/png' })
    hub.routeData('news', Buffer.from('{'), JSON_TYPE)
    hub.routeData('news', json(5), JSON_TYPE)
    hub.routeData('raw', Buffer.from('x'), { contentType: 'text/plain' })
    hub.routeData('large', json('x'.repeat(40_000)), JSON_TYPE)
    hub.routeData('whole', json(2), JSON_TYPE)
    await using peer = await Peer.open(server.url)
    const reply = await peer.call({ id: 1, connect: { subs } })
    const whole = { was_recovering: true, recovered: true, offset: 1 }
    expect(reply.connect.subs).toMatchObject({
      news: {
        ...whole,
        publications: [
          { data: 2, offset: 2 },
          { data: 5, offset: 5 },
        ],
      },
      raw: { ...whole, publications: [] },
      // More than there is room for.
      large: { was_recovering: true, recovered: false, offset: 2 },
      whole: { ...whole, publications: [{ data: 2, offset: 2 }] },
    })
    expect(await peer.take(2)).toEqual([
      { push: { channel: 'news', gap: { from: 3, to: 4, count: 2, reason: 'unsupported' } } },
      { push: { channel: 'raw', gap: { from: 2, to: 2, count: 1, reason: 'unsupported' } } },
    ])
    hub.routeData('raw', json(3), JSON_TYPE)
    expect(await peer.next()).toEqual({ push: { channel: 'raw', pub: { data: 3, offset: 3 } } })
  })

  it('survives a handler of the hub that ends the client at once', async () => {
    const server = await serve()
    server.hub.events.on('register', ({ id }) => void server.hub.unregisterClient(id, 'denied'))
    await using peer = await Peer.open(server.url)
    peer.say({ id: 1, connect: {} })
    expect((await peer.closed).code).toBe(3507)
    expect(server.hub.getConnectionStats().clients).toBe(0)
  })
})

describe('commands', () => {
  it('several in one frame are answered each, in order', async () => {
    const server = await serve()
    await using peer = await Peer.open(server.url)
    peer.say(
      { id: 1, connect: {} },
      { id: 2, subscribe: { channel: 'a' } },
      { id: 3, subscribe: { channel: 'b' } },
      { id: 4, ping: {} },
      { id: 5, publish: { channel: 'a', data: { x: 1 } } },
    )
    const lines = await peer.take(6)
    expect(lines.map(line => line.id ?? 'push')).toEqual([1, 2, 3, 4, 5, 'push'])
    expect(lines[3]).toEqual({ id: 4, ping: {} })
    expect(lines[5]).toEqual({ push: { channel: 'a', pub: { data: { x: 1 }, offset: 1 } } })
  })

  it('a frame may subscribe to as many topics as a client may have', async () => {
    const server = await serve()
    await using peer = await Peer.open(server.url)
    const subscribes = Array.from({ length: 130 }, (_, i) => ({ id: i + 2, subscribe: { channel: `t/${i}` } }))
    peer.say({ id: 1, connect: {} }, ...subscribes)
    const lines = await peer.take(131)
    expect(lines.filter(line => line.subscribe)).toHaveLength(128)
    expect(lines.slice(-2)).toMatchObject([{ error: { code: 106 } }, { error: { code: 106 } }])
  })

  it('long answers to a frame full of errors do not make a client slow', async () => {
    const server = await serve()
    await using peer = await Peer.connect(server.url)
    const channel = '\u0001'.repeat(255)
    peer.say(...Array.from({ length: 500 }, (_, i) => ({ id: i + 2, subscribe: { channel } })))
    expect((await peer.take(500)).every(({ error }) => error.code === 107)).toBe(true)
  })

  it.each([
    ['an unknown one', { what: {} }, 104],
    ['only unknown ones, or null', { connect: null, what: null }, 104],
    ['presence', { presence: { channel: 'a' } }, 108],
    ['presence_stats', { presence_stats: { channel: 'a' } }, 108],
    ['a history of a bad name', { history: { channel: 'a//b' } }, 107],
    ['a limit that is none', { history: { channel: 'a', limit: 'all' } }, 107],
    ['an rpc that is not there', { rpc: { method: 'a', data: {} } }, 108],
    ['an rpc without data', { rpc: { method: 'a' } }, 108],
    ['an rpc without a method', { rpc: { data: {} } }, 108],
    ['an ack of nothing', { rpc: { method: 'ack' } }, 107],
    ['an ack without an offset', { rpc: { method: 'ack', data: { topic: 'a' } } }, 107],
    ['an ack of less than nothing', { rpc: { method: 'ack', data: { topic: 'a', offset: -1 } } }, 107],
    ['an ack of a topic that it is not on', { rpc: { method: 'ack', data: { topic: 'a', offset: 1 } } }, 107],
    ['an ack of a bad name', { rpc: { method: 'ack', data: { topic: 'a//b', offset: 1 } } }, 107],
    ['refresh', { refresh: { token: 'a' } }, 108],
    ['sub_refresh', { sub_refresh: { channel: 'a', token: 't' } }, 108],
    ['sub_refresh without a token', { sub_refresh: { channel: 'a' } }, 107],
    ['an offset below zero', { subscribe: { channel: 'a', recover: true, offset: -1 } }, 107],
    ['a bad pattern', { subscribe: { channel: 'a/**/b' } }, 107],
    ['a map subscription', { subscribe: { channel: 'a', type: 1 } }, 108],
    ['a filtered subscription', { subscribe: { channel: 'a', tf: { key: 'a' } } }, 108],
    ['a map publication', { publish: { channel: 'a', type: 1, key: 'k', data: 1 } }, 108],
    ['a body that is none', { subscribe: 'a' }, 107],
    ['a subscription without a channel', { subscribe: {} }, 107],
    ['a channel that is a number', { subscribe: { channel: 1 } }, 107],
    ['a publication without data', { publish: { channel: 'a' } }, 107],
    ['a publication to a bad name', { publish: { channel: 'a/../b', data: 1 } }, 107],
    ['a bad name', { subscribe: { channel: 'a//b' } }, 107],
    ['an empty name', { subscribe: { channel: '' } }, 107],
    ['a lone surrogate', { subscribe: { channel: '\ud800' } }, 107],
    ['a leading slash', { subscribe: { channel: '/a' } }, 107],
  ])('%s is answered with an error, and the connection stays', async (_what, command, code) => {
    const server = await serve()
    await using peer = await Peer.connect(server.url)
    expect(await peer.call({ id: 2, ...command })).toMatchObject({
      id: 2,
      error: { code, message: expect.any(String) },
    })
    expect(await peer.call({ id: 3, ping: {} })).toEqual({ id: 3, ping: {} })
  })

  it('__proto__ is a name like any other', async () => {
    const server = await serve()
    await using peer = await Peer.connect(server.url)
    peer.webSocket.send(
      '{"__proto__":{"admin":true},"id":2,"subscribe":{"__proto__":{"policy":1},"channel":"__proto__"}}',
    )
    expect(await peer.next()).toMatchObject({ id: 2, subscribe: { offset: 0 } })
    server.hub.routeData('__proto__', Buffer.from('{"__proto__":{"a":1}}'), JSON_TYPE)
    await peer.next()
    expect(peer.frames.at(-1)).toBe('{"push":{"channel":"__proto__","pub":{"data":{"__proto__":{"a":1}},"offset":1}}}')
    expect(({} as Record<string, unknown>).admin).toBeUndefined()
  })

  it.each([
    ['data', { data: 1 }],
    ['an object', { data: { what: 'ever' } }],
    ['nothing', {}],
    ['a word', 'data'],
  ])('a send of %s means nothing here and has no answer: 3508', async (_what, send) => {
    const server = await serve()
    await using peer = await Peer.connect(server.url)
    peer.say({ send })
    expect(await peer.closed).toEqual({ code: 3508, reason: 'not available' })
  })

  it('a send of an ack that is none is 3501, with the field', async () => {
    const server = await serve()
    for (const ack of [null, 5, { topic: 'a' }, { topic: 'a', offset: '1' }, { topic: 5, offset: 1 }]) {
      await using peer = await Peer.connect(server.url)
      peer.say({ send: { data: { ack } } })
      expect(await peer.closed).toEqual({ code: 3501, reason: expect.stringContaining('send.data.ack') })
    }
  })

  it('a session manager that fails is 100, temporary, and told as a fault', async () => {
    const sessions: SessionManager = {
      authenticate: () => ({}),
      authorize: () => Promise.reject(new Error('secret detail')),
    }
    const server = await serve({ sessions })
    await using peer = await Peer.connect(server.url)
    const reply = await peer.call({ id: 2, subscribe: { channel: 'a' } })
    expect(reply).toEqual({ id: 2, error: { code: 100, message: 'internal server error', temporary: true } })
    expect(server.faults.splice(0)).toMatchObject([{ where: 'client protocol' }])
  })
})

describe('acks', () => {
  const start = async () => {
    const server = await serve({ hubOptions: { policy: reliable() } })
    const peer = await Peer.connect(`${server.url}?client=c`)
    const { subscribe } = await peer.call({ id: 2, subscribe: { channel: 'a' } })
    for (let i = 1; i <= 4; i++) server.hub.routeData('a', json(i), JSON_TYPE)
    await peer.take(4)
    return {
      server,
      peer,
      epoch: subscribe.epoch,
      unconfirmed: () => server.hub.getSubscription('c', 'a')!.unconfirmed,
    }
  }

  it('of an rpc settle everything up to the offset, and are answered with how much that was', async () => {
    const { peer, epoch, unconfirmed } = await start()
    const ack = (id: number, data: object) => peer.call({ id, rpc: { method: 'ack', data } })
    expect(await ack(3, { topic: 'a', epoch, offset: 2 })).toEqual({ id: 3, rpc: { data: { confirmed: 2 } } })
    expect(await ack(4, { topic: 'a', epoch, offset: 2 })).toEqual({ id: 4, rpc: { data: { confirmed: 0 } } })
    expect(await ack(5, { topic: 'a', epoch: null, offset: 3 })).toEqual({ id: 5, rpc: { data: { confirmed: 1 } } })
    expect(unconfirmed()).toBe(1)
    for (const wrong of [
      { epoch: 'older', offset: 4 },
      { epoch, offset: 5 },
    ]) {
      expect(await ack(6, { topic: 'a', ...wrong })).toMatchObject({
        error: { code: 107, message: expect.stringContaining('position') },
      })
    }
    expect(unconfirmed()).toBe(1)
    await peer[Symbol.asyncDispose]()
  })

  it('of a send settle as much without a word, and what they cannot settle is passed over', async () => {
    const { peer, epoch, unconfirmed } = await start()
    const acks = [
      { topic: 'a', epoch, offset: 1 },
      { topic: 'a', offset: 3 },
      { topic: 'a', epoch: 'older', offset: 4 },
      { topic: 'a', epoch, offset: 99 },
      { topic: 'b', epoch, offset: 1 },
      { topic: 'a//b', offset: 1 },
    ]
    peer.say(...acks.map(ack => ({ send: { data: { ack } } })), { id: 3, ping: {} })
    expect(await peer.next()).toEqual({ id: 3, ping: {} })
    expect(unconfirmed()).toBe(1)
    await peer[Symbol.asyncDispose]()
  })
})

describe('publications', () => {
  it('pass through byte for byte', async () => {
    const server = await serve()
    await using peer = await Peer.connect(server.url)
    await peer.call({ id: 2, subscribe: { channel: 'a' } })
    peer.webSocket.send('{"id":3,"publish":{"channel":"a","data":{"z":1,"a":12345678901234567890, "b":1.10}}}')
    await peer.take(2)
    expect(peer.frames.at(-1)).toBe(
      '{"push":{"channel":"a","pub":{"data":{"z":1,"a":12345678901234567890, "b":1.10},"offset":1}}}',
    )
  })

  it('are checked: permission, size, and what the topic carries', async () => {
    const topics = openTopics({ maxMessageBytes: 16 }, { radio: { contentType: 'audio/wav' } })
    const sessions: SessionManager = {
      authenticate: () => ({}),
      authorize: (_session, action, topic) => topic !== 'closed' || action === 'subscribe',
    }
    const server = await serve({ sessions, hubOptions: { topics } })
    await using peer = await Peer.connect(server.url)
    expect(await peer.call({ id: 2, publish: { channel: 'closed', data: 1 } })).toMatchObject({ error: { code: 103 } })
    expect(await peer.call({ id: 3, publish: { channel: 'a', data: 'x'.repeat(15) } })).toMatchObject({
      error: { code: 106, message: expect.stringContaining('16') },
    })
    expect(await peer.call({ id: 4, publish: { channel: 'radio', data: 1 } })).toMatchObject({
      error: { code: 108, message: expect.stringContaining('audio/wav') },
    })
    expect(await peer.call({ id: 5, publish: { channel: 'a', data: null } })).toEqual({ id: 5, publish: {} })
  })

  it('are answered when the broker has accepted them', async () => {
    let accept!: (result: undefined) => void
    let refuse!: (error: Error) => void
    const asked: (() => void)[] = []
    const broker = {
      name: 'slow',
      start() {},
      publish: () =>
        new Promise<undefined>((resolve, reject) => {
          accept = resolve
          refuse = reject
          asked.shift()?.()
        }),
      join() {},
      leave() {},
      close() {},
    }
    const server = await serve({ hubOptions: { broker } })
    await using peer = await Peer.connect(server.url)
    const publish = async (id: number) => {
      const reached = new Promise<void>(resolve => asked.push(resolve))
      peer.say({ id, publish: { channel: 'a', data: 1 } })
      await reached
      expect(peer.frames).toHaveLength(id - 1)
    }
    await publish(2)
    accept(undefined)
    expect(await peer.next()).toEqual({ id: 2, publish: {} })
    await publish(3)
    refuse(new Error('down'))
    expect(await peer.next()).toMatchObject({ id: 3, error: { code: 100, temporary: true } })
    server.faults.splice(0)
  })
})

describe('subscriptions', () => {
  it('say where they begin, and are there once', async () => {
    const server = await serve()
    const { position } = server.hub.routeData('a', json(1), JSON_TYPE)
    await using peer = await Peer.connect(server.url)
    expect(await peer.call({ id: 2, subscribe: { channel: 'a' } })).toEqual({
      id: 2,
      subscribe: { recoverable: true, positioned: true, epoch: position.epoch, offset: 1 },
    })
    expect(await peer.call({ id: 3, subscribe: { channel: 'a' } })).toEqual({
      id: 3,
      error: { code: 105, message: 'already subscribed' },
    })
  })

  it('need permission: 103, and a topic: 102', async () => {
    const sessions: SessionManager = {
      authenticate: () => ({}),
      authorize: (_session, _action, topic) => topic !== 'closed',
    }
    const topics = {
      resolve: (name: string) => {
        if (name === 'closed' || name === 'open') return openTopics().resolve(name)
        throw new HubError('TOPIC_UNKNOWN', `topic: there is no ${name}`)
      },
    }
    const server = await serve({ sessions, hubOptions: { topics } })
    await using peer = await Peer.connect(server.url)
    expect(await peer.call({ id: 2, subscribe: { channel: 'closed' } })).toMatchObject({ error: { code: 103 } })
    expect(await peer.call({ id: 3, subscribe: { channel: 'nowhere' } })).toMatchObject({ error: { code: 102 } })
    expect(await peer.call({ id: 4, subscribe: { channel: 'open' } })).toMatchObject({ subscribe: {} })
  })

  it('are denied where the session manager answers anything but yes', async () => {
    const sessions: SessionManager = { authenticate: () => ({}), authorize: () => undefined as unknown as boolean }
    const server = await serve({ sessions })
    await using peer = await Peer.connect(server.url)
    expect(await peer.call({ id: 2, subscribe: { channel: 'a' } })).toMatchObject({ error: { code: 103 } })
  })

  it('may wish for a policy', async () => {
    const parsePolicy = (input: unknown) => {
      if (input === 'latest') return latest()
      throw new HubError('POLICY_INVALID', 'policy: no')
    }
    const server = await serve({ parsePolicy })
    await using peer = await Peer.connect(`${server.url}?client=c`)
    expect(await peer.call({ id: 2, subscribe: { channel: 'a', data: { policy: 'latest' } } })).toMatchObject({
      subscribe: {},
    })
    expect(server.hub.getSubscription('c', 'a')?.policy.name).toBe('latest')
    expect(await peer.call({ id: 9, subscribe: { channel: 'null', data: { policy: null } } })).toHaveProperty(
      'subscribe',
    )
    expect(await peer.call({ id: 3, subscribe: { channel: 'b', data: { policy: 7 } } })).toMatchObject({
      error: { code: 107 },
    })
    expect(await peer.call({ id: 4, subscribe: { channel: 'b', data: 'the app’s own' } })).toMatchObject({
      subscribe: {},
    })
  })

  it('no frame of a topic comes after the reply to its unsubscribe', async () => {
    const server = await serve()
    await using peer = await Peer.connect(server.url)
    await peer.call({ id: 2, subscribe: { channel: 'a' } })
    server.hub.events.on('unsubscribe', () => void server.hub.routeData('a', json('late'), JSON_TYPE))
    peer.say(
      { id: 3, publish: { channel: 'a', data: 'in time' } },
      { id: 4, unsubscribe: { channel: 'a' } },
      { id: 5, publish: { channel: 'a', data: 'late' } },
      { id: 6, unsubscribe: { channel: 'a' } },
      { id: 7, unsubscribe: { channel: '../nonsense' } },
    )
    const lines = await peer.take(6)
    expect(lines.map(line => line.id ?? line.push.pub.data)).toEqual([3, 'in time', 4, 5, 6, 7])
    expect(lines[5]).toEqual({ id: 7, unsubscribe: {} })
  })

  it('that the server makes or ends are pushed', async () => {
    const server = await serve()
    await using peer = await Peer.connect(`${server.url}?client=c`)
    server.hub.subscribe('c', 'a')
    expect(await peer.next()).toMatchObject({ push: { channel: 'a', subscribe: { recoverable: true, offset: 0 } } })
    server.hub.routeData('a', json(1), JSON_TYPE)
    server.hub.unsubscribe('c', 'a')
    expect(await peer.take(2)).toEqual([
      { push: { channel: 'a', pub: { data: 1, offset: 1 } } },
      { push: { channel: 'a', unsubscribe: { code: 2000, reason: 'server unsubscribe' } } },
    ])
  })

  it('that a handler of the hub ends at once are told and taken back', async () => {
    const server = await serve()
    server.hub.events.on('subscribe', ({ id, topic }) => void server.hub.unsubscribe(id, topic))
    await using peer = await Peer.connect(server.url)
    expect(await peer.call({ id: 2, subscribe: { channel: 'a' } })).toMatchObject({ id: 2, subscribe: { offset: 0 } })
    expect(await peer.next()).toMatchObject({ push: { channel: 'a', unsubscribe: { code: 2000 } } })
  })

  it('that a handler makes again in the place of one that ended are told in that order', async () => {
    const server = await serve()
    const { hub } = server
    firstListener(hub, 'unsubscribe', ({ client, id, topic }) => void (client.closed || hub.subscribe(id, topic)))
    await using peer = await Peer.connect(`${server.url}?client=c`)
    hub.subscribe('c', 'a')
    await peer.take(1)
    hub.unsubscribe('c', 'a')
    expect((await peer.take(2)).map(({ push }) => Object.keys(push)[1])).toEqual(['unsubscribe', 'subscribe'])
  })

  it('of a client that was replaced meanwhile are not made for the newcomer', async () => {
    const { sessions, waiting, release } = gatedSessions()
    const server = await serve({ sessions })
    await using older = await Peer.open(`${server.url}?client=c`)
    older.say({ id: 1, connect: {} })
    await waiting()
    release()
    await older.next()
    older.say({ id: 2, subscribe: { channel: 'a' } })
    await waiting()
    await using newer = await Peer.open(`${server.url}?client=c`)
    newer.say({ id: 1, connect: {} })
    await waiting(2)
    release(1)
    await newer.next()
    release()
    await nextTurn()
    expect(server.hub.getClient('c').subscriptions).toEqual([])
  })
})

describe('what is not JSON', () => {
  it('is refused where the rule of the topic says that nothing else will come, and not for the last message', async () => {
    const topics = openTopics({}, { radio: { contentType: 'audio/wav' } })
    const server = await serve({ hubOptions: { topics } })
    server.hub.routeData('camera', Buffer.of(1), { contentType: 'image/jpeg' })
    await using peer = await Peer.connect(server.url)
    expect(await peer.call({ id: 2, subscribe: { channel: 'radio' } })).toEqual({
      id: 2,
      error: {
        code: 108,
        message:
          'not available: topic radio carries audio/wav; this protocol carries JSON only: read it over GET /topics/radio',
      },
    })
    expect(await peer.call({ id: 3, subscribe: { channel: 'camera' } })).toMatchObject({ subscribe: {} })
    server.hub.routeData('camera', json(2), JSON_TYPE)
    expect(await peer.next()).toMatchObject({ push: { channel: 'camera', pub: { data: 2 } } })
  })

  it('is a gap, however much of it comes, and the subscription goes on', async () => {
    const server = await serve()
    await using peer = await Peer.connect(`${server.url}?client=c`)
    await peer.call({ id: 2, subscribe: { channel: 'a' } })
    server.hub.routeData('a', json(1), JSON_TYPE)
    await peer.next()
    const first = server.hub.routeData('a', Buffer.of(1), { contentType: 'audio/wav' })
    expect(await peer.next()).toEqual({
      push: { channel: 'a', gap: { from: 2, to: 2, count: 1, reason: 'unsupported' } },
    })
    server.hub.routeData('a', Buffer.of(2), { contentType: 'audio/wav' })
    server.hub.routeData('a', Buffer.of(3), { contentType: 'audio/wav' })
    expect(await peer.next()).toEqual({
      push: { channel: 'a', gap: { from: 3, to: 4, count: 2, reason: 'unsupported' } },
    })
    const last = server.hub.routeData('a', json(5), JSON_TYPE)
    expect(await peer.next()).toMatchObject({ push: { pub: { data: 5, offset: 5 } } })
    expect([first, last]).toMatchObject([
      { matched: 1, unsupported: 1 },
      { matched: 1, unsupported: 0 },
    ])
    expect(server.hub.getSubscription('c', 'a')).toMatchObject({ delivered: 2, dropped: 3 })
  })

  it('is a matter of the declared type: text that looks like JSON is text', async () => {
    const server = await serve()
    await using peer = await Peer.connect(server.url)
    await peer.call({ id: 2, subscribe: { channel: 'a' } })
    server.hub.routeData('a', Buffer.from('5'), { contentType: 'text/plain' })
    setImmediate(() => server.hub.routeData('a', json(6), JSON_TYPE))
    expect(await peer.take(2)).toMatchObject([{ push: { gap: { to: 1 } } }, { push: { pub: { data: 6 } } }])
  })

  it('but declared JSON costs the message and not the subscription', async () => {
    const server = await serve()
    await using peer = await Peer.connect(`${server.url}?client=c`)
    await peer.call({ id: 2, subscribe: { channel: 'a' } })
    const gap = happens(server, 'gap')
    server.hub.routeData('a', Buffer.from('not JSON'), JSON_TYPE)
    setImmediate(() => server.hub.routeData('a', json(2), JSON_TYPE))
    expect(await peer.take(2)).toEqual([
      { push: { channel: 'a', gap: { from: 1, to: 1, count: 1, reason: 'unsupported' } } },
      { push: { channel: 'a', pub: { data: 2, offset: 2 } } },
    ])
    await gap
    expect(server.hub.getSubscription('c', 'a')).toMatchObject({ delivered: 1, dropped: 1 })
  })
})

describe('pings', () => {
  it('go out in turn and want an answer: without one, 3012', async () => {
    const heartbeat = new ManualHeartbeat()
    const server = await serve({ heartbeat })
    await using peer = await Peer.connect(server.url)
    heartbeat.beat()
    expect(await peer.next()).toEqual({})
    peer.say({})
    await peer.call({ id: 2, ping: {} })
    heartbeat.deadline()
    heartbeat.beat()
    expect(await peer.next()).toEqual({})
    // Other traffic is no pong.
    await peer.call({ id: 3, ping: {} })
    heartbeat.deadline()
    expect(await peer.closed).toEqual({ code: 3012, reason: 'no pong' })
    expect(heartbeat.clients).toBe(0)
  })

  it('are not sent to a connection that is full: its policy says how long it may be', async () => {
    const heartbeat = new ManualHeartbeat()
    const server = await serve({ heartbeat, hubOptions: { policy: buffered({ bytes: 64 * 1024 * 1024 }) } })
    await using peer = await Peer.connect(`${server.url}?client=c`)
    await peer.call({ id: 2, subscribe: { channel: 'a' } })
    peer.webSocket.pause()
    const big = json('x'.repeat(1_000_000))
    while (server.hub.getClient('c').writable) {
      server.hub.routeData('a', big, JSON_TYPE)
      await nextTurn()
    }
    for (let beats = 0; beats < 3; beats++) {
      heartbeat.beat()
      heartbeat.deadline()
    }
    expect(server.hub.getClient('c').writable).toBe(false)
    peer.webSocket.resume()
  })

  it('are not sent before connect, and pongs that nobody asked for do no harm', async () => {
    const heartbeat = new ManualHeartbeat()
    const server = await serve({ heartbeat })
    await using peer = await Peer.open(server.url)
    expect(heartbeat.clients).toBe(0)
    peer.say({ id: 1, connect: {} }, {}, {}, { id: 2, ping: {} })
    expect((await peer.take(2)).map(({ id }) => id)).toEqual([1, 2])
  })
})

describe('the end', () => {
  it.each([
    ['ended', 3503],
    ['denied', 3507],
    ['overloaded', 3004],
    ['protocol', 3501],
    ['replaced', 3503],
    ['shutdown', 3001],
    ['idle', 3012],
  ] as const)('%s is %i, after what was published before', async (reason, code) => {
    const server = await serve()
    await using peer = await Peer.connect(`${server.url}?client=c`)
    await peer.call({ id: 2, subscribe: { channel: 'a' } })
    server.hub.routeData('a', json(1), JSON_TYPE)
    server.hub.unregisterClient('c', reason)
    expect(await peer.next()).toMatchObject({ push: { pub: { data: 1 } } })
    expect((await peer.closed).code).toBe(code)
  })

  it('a peer that goes leaves nothing behind', async () => {
    const heartbeat = new ManualHeartbeat()
    const server = await serve({ heartbeat })
    const peer = await Peer.connect(server.url)
    await peer.call({ id: 2, subscribe: { channel: 'a' } })
    const gone = happens(server, 'unregister')
    peer.webSocket.terminate()
    await gone
    expect(heartbeat.clients).toBe(0)
    expect([...server.hub.getClientsForTopic('a')]).toEqual([])
  })

  it('what is still on its way then is no fault', async () => {
    const server = await serve()
    await using peer = await Peer.connect(`${server.url}?client=c`)
    peer.say({ id: 2, subscribe: { channel: 'a' } })
    server.hub.unregisterClient('c', 'denied')
    expect((await peer.closed).code).toBe(3507)
    expect([...server.hub.getTopics()]).toEqual([])
  })

  it('in the middle of a command is no fault', async () => {
    const { sessions, waiting, release } = gatedSessions()
    const server = await serve({ sessions })
    const peer = await Peer.open(server.url)
    peer.say({ id: 1, connect: {} })
    await waiting()
    release()
    await peer.next()
    peer.say({ id: 2, subscribe: { channel: 'a' } }, { id: 3, publish: { channel: 'a', data: 1 } })
    await waiting()
    const gone = happens(server, 'unregister')
    peer.webSocket.terminate()
    await gone
    release()
    await nextTurn()
    expect([...server.hub.getTopics()]).toEqual([])
  })
})

it('chooses the JSON subprotocol, none, or refuses', () => {
  expect(clientSubprotocol(new Set(['centrifuge-protobuf', 'centrifuge-json']))).toBe('centrifuge-json')
  expect(clientSubprotocol(new Set(['something']))).toBe(false)
  expect(clientSubprotocol(new Set(['centrifuge-protobuf']))).toBeUndefined()
})

describe('a refresh', () => {
  /** Ann's sessions. A refresh, and what it asks of the newer session, answers when the test says so. */
  function refreshing() {
    const answers: (() => void)[] = []
    const later = <T>(value: T) => new Promise<T>(resolve => answers.push(() => resolve(value)))
    const newer = { user: 'ann', info: 'newer' }
    const sessions: SessionManager = {
      authenticate: () => ({ user: 'ann', info: 'older' }),
      authorize: session => (session.info === 'newer' ? later(false) : true),
      refresh: () => later(newer),
    }
    const asked = () => vi.waitFor(() => expect(answers).toHaveLength(1))
    const next = async (): Promise<void> => {
      await asked()
      answers.pop()!()
    }
    return { sessions, asked, next }
  }

  it('ends what the newer token no longer allows', async () => {
    const { sessions, next } = refreshing()
    const server = await serve({ sessions })
    await using peer = await Peer.connect(`${server.url}?client=c`)
    await peer.call({ id: 2, subscribe: { channel: 'a' } })
    peer.say({ id: 3, refresh: { token: 't' } })
    await next()
    await next()
    expect(await peer.take(2)).toMatchObject([{ push: { channel: 'a', unsubscribe: {} } }, { id: 3, refresh: {} }])
    expect(server.hub.sessionOf('c')).toMatchObject({ info: 'newer' })
  })

  it.each([
    ['asks for the newer session', 0],
    ['asks what it allows', 1],
  ])('of a client that is replaced while the hub %s changes nothing of the next client', async (_when, answered) => {
    const { sessions, asked, next } = refreshing()
    const server = await serve({ sessions })
    await using peer = await Peer.connect(`${server.url}?client=c`)
    await peer.call({ id: 2, subscribe: { channel: 'a' } })
    peer.say({ id: 3, refresh: { token: 't' } })
    for (let i = 0; i < answered; i++) await next()
    await asked()
    const own = { user: 'ann', info: 'of the next client' }
    server.hub.registerClient('c', new FakeConnection(), { session: own })
    server.hub.subscribe('c', 'a')
    await next()
    await peer.closed
    await new Promise(setImmediate)
    expect(server.hub.sessionOf('c')).toEqual(own)
    expect(server.hub.getClient('c').subscriptions).toMatchObject([{ topic: 'a' }])
  })

  it('that another session overtakes ends nothing', async () => {
    const { sessions, next } = refreshing()
    const server = await serve({ sessions })
    await using peer = await Peer.connect(`${server.url}?client=c`)
    await peer.call({ id: 2, subscribe: { channel: 'a' } })
    peer.say({ id: 3, refresh: { token: 't' } })
    await next()
    await vi.waitFor(() => expect(server.hub.sessionOf('c')).toMatchObject({ info: 'newer' }))
    server.hub.setSession('c', { user: 'ann', info: 'newest' })
    await next()
    expect(await peer.next()).toMatchObject({ id: 3, refresh: {} })
    expect(server.hub.getClient('c').subscriptions).toMatchObject([{ topic: 'a' }])
  })
})

describe('the token of a connect', () => {
  const asked = async (token: string | undefined) => {
    const asksSessions = vi.fn(() => ({}))
    const context = { gate: { sessions: { authenticate: asksSessions } } } as unknown as TopicsContext
    const credentials = { ticket: 'of the URL', token: 'of the URL', headers: {} }
    const opening = { credentials, address: '192.0.2.1' } as unknown as Opening
    await authenticate(context, token, opening, new FakeConnection())
    return asksSessions.mock.calls[0]
  }

  it('comes before the token and the ticket of the URL, which count without it', async () => {
    expect(await asked('of the command')).toMatchObject([{ token: 'of the command', ticket: undefined }])
    for (const none of [undefined, '']) {
      expect(await asked(none)).toMatchObject([{ token: 'of the URL', ticket: 'of the URL' }])
    }
  })
})
