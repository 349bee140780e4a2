import { Centrifuge, type Options, type Subscription } from 'centrifuge'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { startTestServer, type TestServer } from '../server/test-server.ts'

/** The npm package `centrifuge`, unmodified, against the real server: its SDKs are ours. */

const clients: Centrifuge[] = []
const servers: TestServer[] = []
afterEach(async () => {
  for (const client of clients.splice(0)) client.disconnect()
  for (const server of servers.splice(0)) await server.close()
})

async function serve(flags: Record<string, unknown> = {}): Promise<TestServer> {
  const server = await startTestServer(flags)
  servers.push(server)
  return server
}

function client(server: TestServer, options: Partial<Options> = {}, query = ''): Centrifuge {
  const url = `${server.url.replace('http', 'ws')}/connection/websocket${query}`
  const centrifuge = new Centrifuge(url, {
    websocket: WebSocket,
    minReconnectDelay: 10,
    maxReconnectDelay: 50,
    ...options,
  })
  clients.push(centrifuge)
  return centrifuge
}

async function connected(server: TestServer, options: Partial<Options> = {}, query = ''): Promise<Centrifuge> {
  const centrifuge = client(server, options, query)
  centrifuge.connect()
  await centrifuge.ready()
  return centrifuge
}

async function subscribed(centrifuge: Centrifuge, channel: string): Promise<Subscription> {
  const subscription = centrifuge.newSubscription(channel)
  subscription.subscribe()
  await subscription.ready()
  return subscription
}

/** The next event of a client or a subscription. */
// biome-ignore lint/suspicious/noExplicitAny: the SDK types each event by name, which a general listener cannot
const next = (source: { once(event: any, listener: any): any }, event: string): Promise<any> =>
  new Promise(resolve => source.once(event, resolve))

/** The data of the next publications. */
function publications(subscription: Subscription, count: number): Promise<unknown[]> {
  const seen: unknown[] = []
  return new Promise(resolve => {
    subscription.on('publication', ({ data }) => {
      seen.push(data)
      if (seen.length === count) resolve(seen)
    })
  })
}

function post(server: TestServer, topic: string, body: string | Uint8Array, contentType = 'application/json') {
  return fetch(`${server.url}/topics/${topic}`, { method: 'POST', body, headers: { 'content-type': contentType } })
}

describe('connect, subscribe, publish', () => {
  it('under a chosen id', async () => {
    const server = await serve()
    const centrifuge = client(server, { name: 'test', token: 'any', data: { app: 1 } }, '?client=phone')
    const context = next(centrifuge, 'connected')
    centrifuge.connect()
    expect(await context).toMatchObject({ client: 'phone', transport: 'websocket' })
    expect(server.hub.getClient('phone').protocol).toBe('centrifuge')
  })

  it('what one client publishes, and what a backend posts, all subscribers get in order', async () => {
    const server = await serve()
    const [a, b] = await Promise.all([connected(server), connected(server)])
    const subscriptions = await Promise.all([subscribed(a, 'chat/room-1'), subscribed(b, 'chat/room-1')])
    const seen = Promise.all(subscriptions.map(subscription => publications(subscription, 4)))
    await a.publish('chat/room-1', { text: 'hello\nworld' })
    await subscriptions[1].publish([1, 2.5, null])
    await post(server, 'chat/room-1', '{\n  "pretty": true\n}\n')
    await post(server, 'chat/room-1', '"just text"')
    const expected = [{ text: 'hello\nworld' }, [1, 2.5, null], { pretty: true }, 'just text']
    expect(await seen).toEqual([expected, expected])
  })

  it('publications carry their sequence number as offset', async () => {
    const server = await serve()
    const centrifuge = await connected(server)
    const subscription = await subscribed(centrifuge, 'a')
    const publication = next(subscription, 'publication')
    await centrifuge.publish('a', 1)
    expect(await publication).toEqual({ channel: 'a', data: 1, offset: 1 })
  })

  it('a large message passes', async () => {
    const server = await serve()
    const subscription = await subscribed(await connected(server), 'a')
    const data = { text: 'ü'.repeat(400_000) }
    const seen = publications(subscription, 1)
    await post(server, 'a', JSON.stringify(data))
    expect(await seen).toEqual([data])
  })
})

describe('the handshake', () => {
  it('takes the JSON subprotocol, and refuses the Protobuf form before the upgrade', async () => {
    const server = await serve()
    const url = `${server.url.replace('http', 'ws')}/connection/websocket`
    const json = new WebSocket(url, ['centrifuge-protobuf', 'centrifuge-json'])
    await next(json, 'open')
    expect(json.protocol).toBe('centrifuge-json')
    json.terminate()
    const protobuf = new WebSocket(url, ['centrifuge-protobuf'])
    expect(await next(protobuf, 'error')).toMatchObject({ message: expect.stringContaining('400') })
  })
})

describe('many topics on one socket', () => {
  it('are subscribed with the connect, in one frame, and changed at run time', async () => {
    const server = await serve()
    const centrifuge = client(server, {}, '?client=c')
    const subscriptions = Array.from({ length: 100 }, (_, i) => centrifuge.newSubscription(`sensor/${i}`))
    for (const subscription of subscriptions) subscription.subscribe()
    centrifuge.connect()
    await Promise.all(subscriptions.map(subscription => subscription.ready()))
    expect(server.hub.getConnectionStats()).toMatchObject({ clients: 1, subscriptions: 100 })

    const seen = Promise.all(subscriptions.map(subscription => publications(subscription, 1)))
    for (let i = 0; i < 100; i++)
      server.hub.routeData(`sensor/${i}`, Buffer.from(`${i}`), { contentType: 'application/json' })
    expect(await seen).toEqual(subscriptions.map((_, i) => [i]))

    const [first, second] = subscriptions as [Subscription, Subscription, ...Subscription[]]
    first.on('publication', ({ data }) => expect.unreachable(`got ${JSON.stringify(data)} after unsubscribe`))
    first.unsubscribe()
    const later = await subscribed(centrifuge, 'late')
    expect(server.hub.getSubscription('c', 'sensor/0')).toBeUndefined()
    const others = Promise.all([publications(second, 1), publications(later, 1)])
    for (const topic of ['sensor/0', 'sensor/1', 'late']) await centrifuge.publish(topic, topic)
    expect(await others).toEqual([['sensor/1'], ['late']])
  })

  it('a topic can be left and taken up again', async () => {
    const server = await serve()
    const centrifuge = await connected(server)
    const subscription = await subscribed(centrifuge, 'a')
    for (let round = 0; round < 3; round++) {
      subscription.unsubscribe()
      subscription.subscribe()
      await subscription.ready()
    }
    const seen = publications(subscription, 1)
    await centrifuge.publish('a', 'again')
    expect(await seen).toEqual(['again'])
  })
})

describe('at least once', () => {
  it('what is not acked comes again under its offset, what is acked does not', async () => {
    const server = await serve({ topics: { jobs: { policy: { name: 'reliable', ackMs: 400 } } } })
    const centrifuge = await connected(server, {}, '?client=c')
    const subscription = await subscribed(centrifuge, 'jobs')
    const seen: [number, unknown][] = []
    let heard = (): void => {}
    subscription.on('publication', ({ offset, data }) => {
      seen.push([offset!, data])
      heard()
    })
    const count = (n: number) =>
      new Promise<void>(resolve => {
        heard = () => seen.length >= n && resolve()
        heard()
      })
    for (const job of ['"one"', '"two"', '"three"', '"four"']) await post(server, 'jobs', job)
    await count(4)
    expect(await centrifuge.rpc('ack', { topic: 'jobs', offset: 1 })).toEqual({ data: { confirmed: 1 } })
    await centrifuge.send({ ack: { topic: 'jobs', offset: 2 } })
    await count(6)
    const again = [
      [3, 'three'],
      [4, 'four'],
    ]
    expect(seen.slice(4)).toEqual(again)
    await count(8)
    expect(seen.slice(6)).toEqual(again)
    expect(await centrifuge.rpc('ack', { topic: 'jobs', offset: 4 })).toEqual({ data: { confirmed: 2 } })
    expect(server.hub.getSubscription('c', 'jobs')).toMatchObject({ unconfirmed: 0, delivered: 4, pending: 0 })
    await expect(centrifuge.rpc('other', {})).rejects.toMatchObject({ code: 108 })
  })

  it('what is sent to the client alone is a message event', async () => {
    const server = await serve()
    const centrifuge = await connected(server, {}, '?client=c')
    const message = next(centrifuge, 'message')
    const sent = await fetch(`${server.url}/api/clients/c/send?confirm=true`, {
      method: 'POST',
      body: '{"to":"you"}',
      headers: { 'content-type': 'application/json' },
    })
    expect(await sent.json()).toMatchObject({ confirmed: true })
    expect(await message).toEqual({ data: { to: 'you' } })
  })
})

describe('what the server does', () => {
  it('unsubscribe ends the subscription for good, and only that one', async () => {
    const server = await serve()
    const centrifuge = await connected(server, {}, '?client=c')
    const [gone, kept] = await Promise.all([subscribed(centrifuge, 'gone'), subscribed(centrifuge, 'kept')])
    const ended = next(gone, 'unsubscribed')
    server.hub.unsubscribe('c', 'gone')
    expect(await ended).toEqual({ channel: 'gone', code: 2000, reason: 'server unsubscribe' })
    const seen = publications(kept, 1)
    await centrifuge.publish('kept', 1)
    await seen
    expect(gone.state).toBe('unsubscribed')
  })

  it('subscribe arrives as a subscription of the server', async () => {
    const server = await serve()
    const centrifuge = await connected(server, {}, '?client=c')
    const made = next(centrifuge, 'subscribed')
    server.hub.subscribe('c', 'offered')
    expect(await made).toMatchObject({ channel: 'offered' })
    const publication = next(centrifuge, 'publication')
    await post(server, 'offered', '7')
    expect(await publication).toMatchObject({ channel: 'offered', data: 7 })
    const ended = next(centrifuge, 'unsubscribed')
    server.hub.unsubscribe('c', 'offered')
    expect(await ended).toEqual({ channel: 'offered' })
  })

  it.each([
    ['denied', 3507],
    ['replaced', 3503],
    ['protocol', 3501],
  ] as const)('disconnect as %s is final', async (reason, code) => {
    const server = await serve()
    const centrifuge = await connected(server, {}, '?client=c')
    const ended = next(centrifuge, 'disconnected')
    server.hub.unregisterClient('c', reason)
    expect(await ended).toMatchObject({ code })
  })

  it.each([
    ['shutdown', 3001],
    ['overloaded', 3004],
    ['idle', 3012],
  ] as const)('disconnect as %s brings the client and its subscriptions back', async (reason, code) => {
    const server = await serve()
    const centrifuge = await connected(server, {}, '?client=c')
    const subscription = await subscribed(centrifuge, 'a')
    const left = next(centrifuge, 'connecting')
    const back = next(subscription, 'subscribed')
    server.hub.unregisterClient('c', reason)
    expect(await left).toMatchObject({ code })
    await back
    const seen = publications(subscription, 1)
    await centrifuge.publish('a', 'welcome back')
    expect(await seen).toEqual(['welcome back'])
  })

  it('a server that shuts down says so: 3001', async () => {
    const server = await serve()
    const centrifuge = await connected(server)
    const left = next(centrifuge, 'connecting')
    await server.close()
    expect(await left).toMatchObject({ code: 3001, reason: 'shutdown' })
  })
})

describe('errors', () => {
  it.each([
    ['presence', (c: Centrifuge) => c.presence('a')],
    ['presenceStats', (c: Centrifuge) => c.presenceStats('a')],
  ] as const)('%s of a topic that does not tell it: 108', async (_name, call) => {
    const server = await serve()
    await expect(call(await connected(server))).rejects.toMatchObject({ code: 108 })
  })

  it('send has no answer, so it ends the connection: 3508', async () => {
    const server = await serve()
    const centrifuge = await connected(server)
    const ended = next(centrifuge, 'disconnected')
    await centrifuge.send({ hello: 1 })
    expect(await ended).toMatchObject({ code: 3508 })
  })

  it('a bad name ends the subscription with the rule, and nothing else', async () => {
    const server = await serve()
    const centrifuge = await connected(server)
    const subscription = centrifuge.newSubscription('no//such')
    const ended = next(subscription, 'unsubscribed')
    subscription.subscribe()
    expect(await ended).toMatchObject({
      code: 107,
      reason: expect.stringContaining('a topic name is 1 to 255 characters'),
    })
    expect(centrifuge.state).toBe('connected')
  })

  it('too many subscriptions: 106', async () => {
    const server = await serve({ limits: { maxSubscriptionsPerClient: 1 } })
    const centrifuge = await connected(server)
    await subscribed(centrifuge, 'a')
    const second = centrifuge.newSubscription('b')
    const ended = next(second, 'unsubscribed')
    second.subscribe()
    expect(await ended).toMatchObject({ code: 106 })
  })

  it('a policy that does not exist: 107; one that does is in force', async () => {
    const server = await serve()
    const centrifuge = await connected(server, {}, '?client=c')
    const bad = centrifuge.newSubscription('a', { data: { policy: { name: 'best-ever' } } })
    const ended = next(bad, 'unsubscribed')
    bad.subscribe()
    expect(await ended).toMatchObject({ code: 107 })
    const good = centrifuge.newSubscription('b', { data: { policy: { name: 'drop-slow', timeoutMs: 100 } } })
    good.subscribe()
    await good.ready()
    expect(server.hub.getSubscription('c', 'b')?.policy).toMatchObject({ name: 'drop-slow', timeoutMs: 100 })
  })

  it('a publication that is too large: 106', async () => {
    const server = await serve({ topics: { small: { maxMessageBytes: 10 } } })
    const centrifuge = await connected(server)
    await expect(centrifuge.publish('small', 'x'.repeat(20))).rejects.toMatchObject({ code: 106 })
  })
})

describe('a topic that is not JSON', () => {
  it('is refused for good where its rule says so', async () => {
    const server = await serve({ topics: { radio: { contentType: 'audio/wav' } } })
    const centrifuge = await connected(server)
    const subscription = centrifuge.newSubscription('radio')
    const ended = next(subscription, 'unsubscribed')
    subscription.subscribe()
    expect(await ended).toMatchObject({
      code: 108,
      reason: expect.stringContaining(
        'topic radio carries audio/wav; this protocol carries JSON only: read it over GET /topics/radio',
      ),
    })
    expect(subscription.state).toBe('unsubscribed')
  })

  it('a gap is no trouble for a client that knows nothing of gaps', async () => {
    const server = await serve()
    const centrifuge = await connected(server)
    const subscription = await subscribed(centrifuge, 'a')
    const seen = publications(subscription, 2)
    await post(server, 'a', '1')
    await post(server, 'a', 'not JSON')
    await post(server, 'a', '2')
    expect(await seen).toEqual([1, 2])
    expect(subscription.state).toBe('subscribed')
  })
})

describe('pings', () => {
  /** Counts pings and pongs, and lets a test keep the pongs back. */
  function watched(onPing: (count: number) => void, answer = true) {
    let pings = 0
    return class extends WebSocket {
      constructor(url: string) {
        super(url)
        this.on('message', data => {
          if (data.toString() === '{}') onPing(++pings)
        })
      }

      override send(data: string): void {
        if (answer || data !== '{}') super.send(data)
      }
    }
  }

  it('are answered, and keep both sides sure of each other', async () => {
    const server = await serve({ pingMs: 400 })
    let third!: () => void
    const thirdPing = new Promise<void>(resolve => (third = resolve))
    const websocket = watched(count => count === 3 && third())
    const centrifuge = await connected(server, { websocket, maxServerPingDelay: 100 })
    centrifuge.on('connecting', ({ reason }) => expect.unreachable(reason))
    await thirdPing
    await centrifuge.publish('a', 1)
    expect(centrifuge.state).toBe('connected')
  })

  it('a client that does not answer is closed with 3012 and comes back', async () => {
    const server = await serve({ pingMs: 100 })
    const centrifuge = await connected(server, { websocket: watched(() => {}, false) })
    const left = next(centrifuge, 'connecting')
    expect(await left).toMatchObject({ code: 3012, reason: 'no pong' })
    await centrifuge.ready()
  })
})
