import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { covers, parsePattern, type TopicPattern } from '../../src/core/patterns.ts'
import type { Session, SessionManager } from '../../src/core/sessions.ts'
import { openTopics } from '../../src/open-topics.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
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

const JSON_TYPE = { contentType: 'application/json' }
const publish = (server: ClientServer, topic: string, from: number, to: number): void => {
  for (let i = from; i <= to; i++) server.hub.routeData(topic, Buffer.from(`${i}`), JSON_TYPE)
}
const pub = (channel: string, offset: number) => ({ push: { channel, pub: { data: offset, offset } } })
const presenceOn = { topics: openTopics({ presence: true }) }

/** Grants by the words of a token: `until` a time, or refused for a reason. */
const tokens: SessionManager = {
  authenticate: ({ token = '' }) => sessionOf(token),
  authorize: (_session, action) => action !== 'presence',
  grant: (_session, token) => sessionOf(token),
  refresh: (_session, token) => sessionOf(token),
}
function sessionOf(token: string): Session {
  const [word, value] = token.split(' ')
  if (word === 'until') return { user: 'ada', expiresAt: Date.now() + Number(value) }
  if (word === 'user') return { user: value }
  throw new HubError('UNAUTHENTICATED', 'token: no', { reason: word === 'late' ? 'expired' : 'signature' })
}

describe('recover', () => {
  it('answers with the place that was asked for, and replays behind the answer', async () => {
    const server = await serve()
    publish(server, 'a', 1, 5)
    const { epoch } = server.hub.getTopic('a')!.position
    await using peer = await Peer.connect(server.url)
    peer.say({ id: 2, subscribe: { channel: 'a', recover: true, epoch, offset: 3 } })
    // A handler publishes so much that it is flushed inside of the subscription.
    server.hub.events.once('subscribe', () => {
      publish(server, 'a', 6, 6)
      server.hub.routeData('b', Buffer.alloc(300_000))
    })
    expect(await peer.take(4)).toEqual([
      {
        id: 2,
        subscribe: { recoverable: true, positioned: true, epoch, offset: 3, was_recovering: true, recovered: true },
      },
      pub('a', 4),
      pub('a', 5),
      pub('a', 6),
    ])
  })

  it.each([
    ['no epoch', { offset: 1 }],
    ['another epoch', { epoch: 'other', offset: 1 }],
    ['an offset that is not there yet', { offset: 9 }],
  ])('with %s begins now, and says so', async (_what, place) => {
    const server = await serve()
    publish(server, 'a', 1, 3)
    const { epoch } = server.hub.getTopic('a')!.position
    const asked = 'offset' in place && place.offset === 9 ? { ...place, epoch } : place
    await using peer = await Peer.connect(server.url)
    expect(await peer.call({ id: 2, subscribe: { channel: 'a', recover: true, ...asked } })).toMatchObject({
      subscribe: { epoch, offset: 3, was_recovering: true, recovered: false },
    })
    expect(await peer.next()).toMatchObject({ push: { gap: { count: null } } })
  })

  it('that would rather fail than lose is 112, and no subscription', async () => {
    const server = await serve({
      hubOptions: { topics: openTopics({ history: { messages: 2, bytes: 1e6, ageMs: 1e6 } }) },
    })
    publish(server, 'a', 1, 5)
    await nextTurn()
    const { epoch } = server.hub.getTopic('a')!.position
    await using peer = await Peer.connect(`${server.url}?client=c`)
    const subscribe = (id: number, offset: number) =>
      peer.call({ id, subscribe: { channel: 'a', recover: true, epoch, offset, flag: 2 } })
    expect(await subscribe(2, 2)).toMatchObject({ error: { code: 112 } })
    expect(server.hub.getSubscription('c', 'a')).toBeUndefined()
    expect(await subscribe(3, 3)).toMatchObject({ subscribe: { recovered: true } })
  })

  it('within connect is for what the server subscribes to, as much as fits, and the rest is told', async () => {
    const server = await serve({ topics: [{ name: 'small' }, { name: 'large' }] })
    publish(server, 'small', 1, 3)
    for (let i = 0; i < 3; i++) server.hub.routeData('large', Buffer.from(`"${'x'.repeat(20_000)}"`), JSON_TYPE)
    // What is published once it is subscribed comes as ever.
    server.hub.events.on('subscribe', ({ topic }) => {
      if (topic === 'small') publish(server, 'small', 4, 4)
    })
    const epochOf = (topic: string) => server.hub.getTopic(topic)!.position.epoch
    await using peer = await Peer.open(server.url)
    const subs = {
      small: { recover: true, epoch: epochOf('small'), offset: 1 },
      large: { recover: true, epoch: epochOf('large') },
      strange: { recover: true, epoch: 'x', offset: 1 },
    }
    peer.webSocket.send(
      `{"id":1,"connect":{"subs":${JSON.stringify(subs).replace('{', '{"__proto__":{"recover":true},')}}}`,
    )
    const { connect } = await peer.next()
    expect(connect.subs).toMatchObject({
      small: {
        recovered: true,
        offset: 1,
        publications: [
          { data: 2, offset: 2 },
          { data: 3, offset: 3 },
        ],
      },
      large: { recovered: false, offset: 3 },
    })
    expect(Object.keys(connect.subs)).toEqual(['small', 'large'])
    publish(server, 'small', 5, 5)
    expect(await peer.take(2)).toEqual([pub('small', 4), pub('small', 5)])
  })
})

describe('history', () => {
  it('has a bounded page, and always something', async () => {
    const server = await serve({
      hubOptions: { topics: openTopics({ history: { messages: 2000, bytes: 1e7, ageMs: 1e6 } }) },
    })
    publish(server, 'many', 1, 1500)
    for (const size of [50_000, 10_000, 10_000, 15_000]) {
      server.hub.routeData('large', Buffer.from(`"${'x'.repeat(size)}"`), JSON_TYPE)
    }
    server.hub.routeData('large', Buffer.of(0xff), { contentType: 'image/png' })
    await using peer = await Peer.connect(server.url)
    const page = async (id: number, command: object) => {
      const { history } = await peer.call({ id, history: command })
      return history.publications.map(({ offset }: { offset: number }) => offset)
    }
    expect(await page(2, { channel: 'many', limit: 100_000 })).toHaveLength(1000)
    expect(await page(3, { channel: 'many', limit: -1 })).toHaveLength(1000)
    expect(await page(4, { channel: 'many' })).toEqual([])
    const { epoch } = server.hub.getTopic('large')!.position
    expect(await page(5, { channel: 'large', limit: 10 })).toEqual([1])
    expect(await page(6, { channel: 'large', limit: 10, since: { epoch, offset: 1 } })).toEqual([2, 3])
    expect(await page(7, { channel: 'large', limit: 10, since: { epoch, offset: 3 } })).toEqual([4])
    expect(await peer.call({ id: 8, history: { channel: 'large', since: { epoch: '', offset: 1 } } })).toMatchObject({
      error: { code: 112 },
    })
  })

  it('and presence are asked for as such: 103', async () => {
    const server = await serve({
      sessions: { authenticate: () => ({}), authorize: (_, action) => action === 'subscribe' },
    })
    await using peer = await Peer.connect(server.url)
    for (const command of ['history', 'presence', 'presence_stats']) {
      expect(await peer.call({ id: 2, [command]: { channel: 'a' } })).toMatchObject({ error: { code: 103 } })
    }
  })

  it('who may not ask who is there is not told who comes, either', async () => {
    const server = await serve({
      hubOptions: presenceOn,
      sessions: { authenticate: () => ({}), authorize: (_, action) => action === 'subscribe' },
    })
    await using peer = await Peer.connect(server.url)
    expect(await peer.call({ id: 2, subscribe: { channel: 'a', join_leave: true } })).toMatchObject({ id: 2 })
    await using other = await Peer.connect(server.url)
    await other.call({ id: 2, subscribe: { channel: 'a' } })
    publish(server, 'a', 1, 1)
    expect(await peer.next()).toEqual(pub('a', 1))
  })

  it.each(['history', 'presence', 'presence_stats', 'refresh', 'sub_refresh'])(
    '%s: what nests too deep is 3501, and __proto__ is a key like any other',
    async method => {
      const server = await serve()
      await using peer = await Peer.connect(server.url)
      peer.webSocket.send(`{"id":2,"${method}":{"__proto__":{"limit":5,"token":"t"},"channel":"a","token":"t"}}`)
      expect(await peer.next()).toMatchObject({ id: 2 })
      expect(({} as Record<string, unknown>).limit).toBeUndefined()
      peer.webSocket.send(`{"id":3,"${method}":{"channel":"a","x":${'['.repeat(300)}${']'.repeat(300)}}}`)
      expect(await peer.closed).toMatchObject({ code: 3501 })
    },
  )
})

describe('presence', () => {
  it('knows a client by any id that it may have', async () => {
    const server = await serve({ hubOptions: presenceOn, session: { user: 'u', info: { name: 'Ada' } } })
    await using peer = await Peer.connect(`${server.url}?client=__proto__`)
    await peer.call({ id: 2, subscribe: { channel: 'a' } })
    peer.say({ id: 3, presence: { channel: 'a' } })
    await peer.next()
    expect(peer.frames.at(-1)).toBe(
      '{"id":3,"presence":{"presence":{"__proto__":{"client":"__proto__","user":"u","conn_info":{"name":"Ada"}}}}}',
    )
  })

  it('of more than a thousand is refused: 106; how many there are is not', async () => {
    const server = await serve({ hubOptions: presenceOn })
    await using peer = await Peer.connect(server.url)
    for (let i = 0; i <= 1000; i++) {
      server.hub.registerClient(`f${i}`, new FakeConnection())
      server.hub.subscribe(`f${i}`, 'a')
    }
    expect(await peer.call({ id: 2, presence: { channel: 'a' } })).toMatchObject({ error: { code: 106 } })
    expect(await peer.call({ id: 3, presence_stats: { channel: 'a' } })).toMatchObject({
      presence_stats: { num_clients: 1001, num_users: 1 },
    })
  })

  it('of an id that a handler registers again as another user is the newer one', async () => {
    const server = await serve({ hubOptions: presenceOn })
    const { hub } = server
    const join = (user: string) => {
      hub.registerClient('ada', new FakeConnection(), { session: { user } })
      hub.subscribe('ada', 'a')
    }
    join('old')
    const older = hub.handleOf('ada')
    await using peer = await Peer.connect(server.url)
    await peer.call({ id: 2, subscribe: { channel: 'a', join_leave: true } })
    firstListener(hub, 'unsubscribe', ({ client }) => void (client === older && join('new')))
    hub.unregisterClient('ada')
    const push = (name: string, user: string) => ({ push: { channel: 'a', [name]: { info: { client: 'ada', user } } } })
    expect(await peer.take(2)).toEqual([push('leave', 'old'), push('join', 'new')])
  })

  it('joins and leaves are for those who asked, of others, with who it was', async () => {
    const server = await serve({ hubOptions: presenceOn, session: { user: 'u' } })
    await using asked = await Peer.connect(`${server.url}?client=asked`)
    await using silent = await Peer.connect(`${server.url}?client=silent`)
    await asked.call({ id: 2, subscribe: { channel: 'a', join_leave: true } })
    await silent.call({ id: 2, subscribe: { channel: 'a' } })
    const info = { client: 'silent', user: 'u' }
    expect(await asked.next()).toEqual({ push: { channel: 'a', join: { info } } })
    await silent.call({ id: 3, unsubscribe: { channel: 'a' } })
    expect(await asked.next()).toEqual({ push: { channel: 'a', leave: { info } } })
    await asked.call({ id: 3, unsubscribe: { channel: 'a' } })
    await silent.call({ id: 4, subscribe: { channel: 'a' } })
    expect(await silent.call({ id: 5, ping: {} })).toEqual({ id: 5, ping: {} })
    expect(await asked.call({ id: 5, ping: {} })).toEqual({ id: 5, ping: {} })
  })

  it('who stays by a pattern has not left, and who was there by one does not come', async () => {
    const server = await serve({ hubOptions: presenceOn })
    await using asked = await Peer.connect(`${server.url}?client=asked`)
    await using other = await Peer.connect(`${server.url}?client=other`)
    await asked.call({ id: 2, subscribe: { channel: 'a', join_leave: true } })
    await other.call({ id: 2, subscribe: { channel: '*' } })
    expect(await asked.next()).toMatchObject({ push: { join: { info: { client: 'other' } } } })
    other.say({ id: 3, subscribe: { channel: 'a' } }, { id: 4, unsubscribe: { channel: 'a' } }, { id: 5, ping: {} })
    while ((await other.next()).id !== 5);
    await nextTurn()
    expect(await asked.call({ id: 3, ping: {} })).toEqual({ id: 3, ping: {} })
    other.say({ id: 6, unsubscribe: { channel: '*' } })
    expect(await asked.next()).toMatchObject({ push: { leave: { info: { client: 'other' } } } })
  })

  it('a storm of joins closes nobody as slow, and one that is behind is told nothing', async () => {
    const server = await serve({ hubOptions: { ...presenceOn, policy: buffered({ bytes: 64 * 1024 * 1024 }) } })
    await using peer = await Peer.connect(`${server.url}?client=c`)
    await using behind = await Peer.connect(`${server.url}?client=behind`)
    await peer.call({ id: 2, subscribe: { channel: 'a', join_leave: true } })
    for (const channel of ['a', 'big'])
      await behind.call({ id: 2, subscribe: { channel, join_leave: channel === 'a' } })
    behind.webSocket.pause()
    while (server.hub.getClient('behind').writable) {
      server.hub.routeData('big', Buffer.from(`"${'x'.repeat(1_000_000)}"`), JSON_TYPE)
      await nextTurn()
    }
    const waiting = server.hub.getClient('behind').queuedBytes
    for (let i = 0; i < 3000; i++) {
      server.hub.registerClient(`f${i}`, new FakeConnection())
      server.hub.subscribe(`f${i}`, 'a')
    }
    await nextTurn()
    await nextTurn()
    expect(server.hub.getClient('behind').queuedBytes).toBeLessThanOrEqual(waiting)
    // As many as may be told in one turn.
    peer.say({ id: 3, ping: {} })
    const told: object[] = []
    for (let line = await peer.next(); line.id !== 3; line = await peer.next()) told.push(line)
    expect(told.length).toBeGreaterThan(100)
    expect(JSON.stringify(told).length).toBeLessThan(20_000)
    expect(server.hub.getConnectionStats()).toMatchObject({ closes: {} })
    behind.webSocket.resume()
  })
})

describe('tokens', () => {
  it('a session that ends is told, and a newer token goes on with it', async () => {
    const server = await serve({ sessions: tokens })
    await using peer = await Peer.open(`${server.url}?client=c`)
    const { connect } = await peer.call({ id: 1, connect: { token: 'until 100000' } })
    expect(connect).toMatchObject({ expires: true, ttl: expect.any(Number) })
    expect(connect.ttl).toBeGreaterThan(80)
    expect(connect.ttl).toBeLessThanOrEqual(90)
    const { refresh } = await peer.call({ id: 2, refresh: { token: 'until 1000000' } })
    expect(refresh).toMatchObject({ client: 'c', expires: true })
    expect(refresh.ttl).toBeGreaterThan(900)
    expect(server.hub.sessionOf('c')!.expiresAt).toBeGreaterThan(Date.now() + 900_000)
    expect(await peer.call({ id: 3, refresh: { token: 'late' } })).toMatchObject({ error: { code: 109 } })
    expect(await peer.call({ id: 4, refresh: { token: 'user bob' } })).toMatchObject({ error: { code: 103 } })
  })

  it('a newer token that grants less ends what it does not grant, and nothing else', async () => {
    const sessions: SessionManager = {
      authenticate: ({ token = '' }) => granting(token),
      // Asked of somebody else, as a callback is.
      authorize: async ({ grants }, _action, topic) =>
        grants!.subscribe.some(each => covers(each, topic as TopicPattern)),
      refresh: (_session, token) => granting(token),
    }
    const granting = (token: string): Session => ({
      user: 'ada',
      grants: { subscribe: token.split(' ').map(parsePattern), publish: [] },
    })
    const server = await serve({ sessions })
    await using peer = await Peer.open(`${server.url}?client=c`)
    await peer.call({ id: 1, connect: { token: 'a b x/** y/*' } })
    for (const [at, channel] of ['a', 'b', 'x/*', 'y/*'].entries())
      await peer.call({ id: 2 + at, subscribe: { channel } })
    // By the backend: no token has ever granted it.
    server.hub.subscribe('c', 'gift')
    await peer.take(1)
    peer.say({ id: 9, refresh: { token: 'a x/*' } })
    const told = await peer.take(3)
    expect(told.map(each => each.push?.channel ?? each.id).sort()).toEqual([9, 'b', 'y/*'].sort())
    const { subscriptions, patterns } = server.hub.getClient('c')
    expect(subscriptions.map(({ topic }) => topic)).toEqual(['a', 'gift'])
    expect(patterns.map(({ pattern }) => pattern)).toEqual(['x/*'])
  })

  it('one that is over at connect is 109 and 3005: come back with another; any other is 3500', async () => {
    const server = await serve({ sessions: tokens })
    await using late = await Peer.open(server.url)
    expect(await late.call({ id: 1, connect: { token: 'late' } })).toEqual({
      id: 1,
      error: { code: 109, message: 'token expired' },
    })
    expect(await late.closed).toEqual({ code: 3005, reason: 'connection expired' })
    await using bad = await Peer.open(server.url)
    bad.say({ id: 1, connect: { token: 'forged' } })
    expect(await bad.closed).toEqual({ code: 3500, reason: 'invalid token: signature' })
  })

  it('of one topic: its end ends the subscription, unless a newer one comes', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date'] })
    const server = await serve({ sessions: tokens, session: { user: 'ada' } })
    await using peer = await Peer.connect(`${server.url}?client=c`)
    expect(await peer.call({ id: 2, subscribe: { channel: 'a', token: 'until 10000' } })).toMatchObject({
      subscribe: { expires: true, ttl: 9 },
    })
    expect(await peer.call({ id: 3, subscribe: { channel: 'b', token: 'until 10000' } })).toMatchObject({ id: 3 })
    expect(await peer.call({ id: 4, subscribe: { channel: 'c', token: 'late' } })).toMatchObject({
      error: { code: 109 },
    })
    expect(await peer.call({ id: 5, subscribe: { channel: 'c', token: 'bad' } })).toMatchObject({
      error: { code: 103 },
    })
    vi.advanceTimersByTime(8000)
    expect(await peer.call({ id: 6, sub_refresh: { channel: 'b', token: 'until 100000' } })).toMatchObject({
      sub_refresh: { expires: true, ttl: 90 },
    })
    expect(await peer.call({ id: 7, sub_refresh: { channel: 'c', token: 'user ada' } })).toMatchObject({
      error: { code: 107 },
    })
    vi.advanceTimersByTime(3000)
    expect(await peer.next()).toEqual({
      push: { channel: 'a', unsubscribe: { code: 2501, reason: 'subscription expired' } },
    })
    expect(server.hub.getClient('c').subscriptions.map(({ topic }) => topic)).toEqual(['b'])
    // Without an end of its own it is there as long as the session.
    await peer.call({ id: 8, sub_refresh: { channel: 'b', token: 'user ada' } })
    expect(vi.getTimerCount()).toBeLessThan(3)
    vi.advanceTimersByTime(1_000_000)
    expect(server.hub.getSubscription('c', 'b')).toBeDefined()
  })

  it('of one topic cannot open one that is closed to all', async () => {
    const topics = openTopics({}, { closed: { subscribe: 'nobody' } })
    const server = await serve({ sessions: tokens, session: { user: 'ada' }, hubOptions: { topics } })
    await using peer = await Peer.connect(server.url)
    expect(await peer.call({ id: 2, subscribe: { channel: 'closed', token: 'until 9000' } })).toMatchObject({
      error: { code: 103 },
    })
  })
})

describe('who takes part in nothing', () => {
  it('is closed for good after a while, if so configured', async () => {
    const heartbeat = new ManualHeartbeat(2000)
    const server = await serve({ heartbeat })
    await using idle = await Peer.connect(server.url)
    await using reader = await Peer.connect(`${server.url}?client=reader`)
    await reader.call({ id: 2, subscribe: { channel: 'a' } })
    for (let beats = 0; beats < 3; beats++) {
      heartbeat.beat()
      if (beats < 2) await idle.next()
      await reader.next()
      idle.say({})
      reader.say({})
    }
    expect((await idle.closed).code).toBe(3503)
    expect([...server.hub.getActiveClients()].map(({ id }) => id)).toEqual(['reader'])
  })
})
