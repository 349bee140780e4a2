import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { httpReceiver, type Receiver } from '../transports/receiver.ts'
import { ask, askJson, type Listener, listen, until } from './http.ts'
import { startTestServer, type TestServer } from './test-server.ts'

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`

let server: TestServer
let receiver: Receiver
beforeAll(async () => {
  server = await startTestServer({
    callbacks: { allow: ['127.0.0.1'] },
    limits: { maxSubscriptionsPerClient: 3 },
    topics: { strict: { allowedPolicies: ['latest'] } },
  })
  receiver = await httpReceiver(response => response.end())
})
afterAll(async () => {
  await server.close()
  await receiver[Symbol.asyncDispose]()
})

const listeners: Listener[] = []
afterEach(() => {
  for (const { webSocket } of listeners.splice(0)) webSocket.terminate()
  for (const { id } of [...server.hub.getActiveClients()]) server.hub.unregisterClient(id)
  receiver.requests.length = 0
})

const api = (path: string, init?: RequestInit) => ask(`${server.url}/api/clients${path}`, init)
const post = (path: string, body: unknown) => askJson(`${server.url}/api/clients${path}`, body)
const remove = (path: string) => api(path, { method: 'DELETE' })
const publish = (topic: string, body: string, headers = {}) =>
  fetch(`${server.url}/topics/${topic}`, { method: 'POST', body, headers })
const url = () => receiver.url.href
const subscriptionsOf = (id: string) =>
  Object.fromEntries(server.hub.getClient(id).subscriptions.map(({ topic, wish }) => [topic, wish?.name]))

async function open(client: string, topic?: string): Promise<Listener> {
  const listener = await listen(server.url, client, topic)
  listeners.push(listener)
  return listener
}

describe('POST /api/clients', () => {
  it('makes a URL a client, subscribed, with what it brings', async () => {
    const topics = ['news', { name: '/prices', policy: 'latest' }]
    const made = await post('', { id: 'hook', url: url(), secret: SECRET, topics, user: 'ann' })
    expect([made.status, made.body]).toEqual([201, { id: 'hook', protocol: 'callback', topics: ['news', 'prices'] }])
    expect(server.hub.getClient('hook')).toMatchObject({ user: 'ann', address: receiver.url.origin, circuit: 'closed' })
    expect(subscriptionsOf('hook')).toEqual({ news: undefined, prices: 'latest' })
    await publish('news', 'hello', { 'x-correlation-id': 'order-7' })
    await until(() => receiver.requests.length === 1)
    const [{ headers, body }] = receiver.requests as [Receiver['requests'][0]]
    expect([headers['hubline-topic'], headers['x-correlation-id'], `${body}`]).toEqual(['news', 'order-7', 'hello'])
    expect(headers['webhook-signature']).toMatch(/^v1,/)
    for (const id of ['two words', 'x'.repeat(256)]) {
      const refused = await publish('news', 'x', { 'x-correlation-id': id })
      expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining('x-correlation-id')])
    }
  })

  it('gives an id to one that has none, and no topics where none are named', async () => {
    const { status, body } = await post('', { url: url() })
    expect([status, body]).toEqual([201, { id: expect.any(String), protocol: 'callback', topics: [] }])
    expect((await api(`/${body.id}`)).body.id).toBe(body.id)
  })

  it('shows nobody the path or the secret of a URL', async () => {
    await post('', { id: 'hook', url: `${url()}?token=hidden`, secret: SECRET, topics: ['a'] })
    for (const path of [
      '/api/clients',
      '/api/clients/hook',
      '/api/stats',
      '/api/metrics',
      '/metrics',
      '/api/topics/a',
    ]) {
      const text = await (await fetch(server.url + path)).text()
      expect([path, text.includes('hidden'), text.includes('whsec_')]).toEqual([path, false, false])
    }
  })

  it('keeps a client that is registered again with the same URL, and all that waits for it', async () => {
    const wanted = { id: 'hook', url: `${url()}#part`, secret: SECRET, user: 'ann', topics: ['a', 'b'] }
    await post('', wanted)
    const epoch = server.hub.getClient('hook')
    const again = await post('', { ...wanted, url: `${url()}#other`, topics: ['b', { name: 'c', policy: 'latest' }] })
    expect([again.status, again.body.topics]).toEqual([200, ['b', 'c']])
    expect(subscriptionsOf('hook')).toEqual({ b: undefined, c: 'latest' })
    expect(server.hub.getClient('hook').connectedMs).toBeGreaterThanOrEqual(epoch.connectedMs)
    // Whoever names no topics changes none.
    expect((await post('', { id: 'hook', url: url(), secret: SECRET, user: 'ann' })).body.topics).toEqual(['b', 'c'])
    expect(server.hub.getConnectionStats().closes.replaced).toBeUndefined()
  })

  it('takes no topic away from a client whose new topics are refused', async () => {
    const wanted = { id: 'hook', url: url(), topics: ['a', 'b'] }
    await post('', wanted)
    for (const [topics, code] of [
      [['c', 'd', 'e', 'f'], 'LIMIT_EXCEEDED'],
      [['c', { name: 'strict', policy: 'reliable' }], 'POLICY_DENIED'],
    ]) {
      const { body } = await post('', { ...wanted, topics })
      expect([body.error.code, Object.keys(subscriptionsOf('hook'))]).toEqual([code, ['a', 'b']])
    }
    expect((await post('', { ...wanted, topics: ['c', 'd', 'b'] })).body.topics.sort()).toEqual(['b', 'c', 'd'])
  })

  it('refuses an id that anybody else has with 409, unless it is to be replaced', async () => {
    await post('', { id: 'hook', url: url(), secret: SECRET })
    await open('socket')
    const others = [
      { id: 'hook', url: `${url()}/other`, secret: SECRET },
      { id: 'hook', url: url() },
      { id: 'hook', url: url(), secret: `whsec_${Buffer.alloc(32, 8).toString('base64')}` },
      { id: 'hook', url: url(), secret: SECRET, user: 'bob' },
      { id: 'socket', url: url() },
    ]
    for (const other of others) {
      const { status, body } = await post('', other)
      expect([status, body.error.code]).toEqual([409, 'CLIENT_EXISTS'])
    }
    for (const other of others) expect((await post('', { ...other, ifExists: 'replace' })).status).toBe(201)
    // Replaced means replaced, also where it is the same.
    const before = server.hub.getConnectionStats().closes.replaced!
    expect((await post('', { ...others[3], ifExists: 'replace' })).status).toBe(201)
    expect(server.hub.getConnectionStats().closes.replaced).toBe(before + 1)
  })

  it.each<[string, Record<string, unknown>, number, string, RegExp]>([
    ['neither a URL nor a connection', { id: 'x' }, 400, 'REQUEST_INVALID', /url/],
    [
      'both',
      { url: 'https://example.org', endpoint: 'https://example.org', connectionId: 'x' },
      400,
      'REQUEST_INVALID',
      /url/,
    ],
    ['an endpoint without a connection', { endpoint: 'https://example.org' }, 400, 'REQUEST_INVALID', /connectionId/],
    [
      'a connection where none are configured',
      { endpoint: 'https://example.org', connectionId: 'x' },
      403,
      'PERMISSION_DENIED',
      /apiGateway\.endpoints/,
    ],
    ['text that is no URL', { url: 'example' }, 400, 'CALLBACK_URL_INVALID', /not a URL/],
    ['another scheme', { url: 'file:///etc/passwd' }, 400, 'CALLBACK_URL_INVALID', /file:/],
    ['credentials', { url: 'http://me:hidden@127.0.0.1/' }, 400, 'CALLBACK_URL_INVALID', /password/],
    [
      'a link-local address',
      { url: 'http://169.254.169.254/latest/meta-data' },
      400,
      'CALLBACK_URL_INVALID',
      /linkLocal/,
    ],
    ['a private address', { url: 'http://10.1.2.3/' }, 400, 'CALLBACK_URL_INVALID', /private/],
    ['another form of one', { url: 'http://[::ffff:10.1.2.3]/' }, 400, 'CALLBACK_URL_INVALID', /private/],
    ['a number', { url: 5 }, 400, 'REQUEST_INVALID', /url/],
    ['a secret that is none', { url: 'http://127.0.0.1/', secret: 'hunter2' }, 400, 'REQUEST_INVALID', /secret/],
    ['an id that is none', { id: 'a b', url: 'http://127.0.0.1/' }, 400, 'CLIENT_ID_INVALID', /client id/],
    ['an id that is too long', { id: 'x'.repeat(129), url: 'http://127.0.0.1/' }, 400, 'CLIENT_ID_INVALID', /128/],
    ['a topic that is none', { url: 'http://127.0.0.1/', topics: ['..'] }, 400, 'TOPIC_INVALID', /topic/],
    ['a topic of the wrong kind', { url: 'http://127.0.0.1/', topics: [5] }, 400, 'REQUEST_INVALID', /topics\.0/],
    [
      'a policy that is none',
      { url: 'http://127.0.0.1/', topics: [{ name: 'a', policy: 'newest' }] },
      400,
      'POLICY_INVALID',
      /latest/,
    ],
    [
      'a policy that the topic forbids',
      { url: 'http://127.0.0.1/', topics: [{ name: 'strict', policy: 'reliable' }] },
      403,
      'POLICY_DENIED',
      /strict/,
    ],
    ['too many topics', { url: 'http://127.0.0.1/', topics: ['a', 'b', 'c', 'd'] }, 503, 'LIMIT_EXCEEDED', /3/],
    ['an empty user', { url: 'http://127.0.0.1/', user: '' }, 400, 'REQUEST_INVALID', /user/],
    ['an unknown key', { url: 'http://127.0.0.1/', uri: 'x' }, 400, 'REQUEST_INVALID', /uri/],
  ])('refuses %s, and registers nobody', async (_what, body, status, code, message) => {
    const answer = await post('', body)
    expect([answer.status, answer.body.error.code]).toEqual([status, code])
    expect(answer.body.error.message).toMatch(message)
    expect(answer.body.error.message).not.toContain('hidden')
    expect(answer.body.error.message).not.toContain('hunter2')
    expect(server.hub.getConnectionStats().clients).toBe(0)
  })

  it('takes JSON only: a text could come from a form on any page', async () => {
    const body = JSON.stringify({ url: url() })
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']) {
      const { status } = await api('', { method: 'POST', body, headers: { 'content-type': type } })
      expect([type, status]).toEqual([type, 415])
    }
    expect(server.hub.getConnectionStats().clients).toBe(0)
  })

  it('is refused where clients that are URLs are turned off', async () => {
    const closed = await startTestServer({ callbacks: { enabled: false } })
    const { status, body } = await askJson(`${closed.url}/api/clients`, { url: 'https://example.org/' })
    expect([status, body.error]).toEqual([
      403,
      { code: 'PERMISSION_DENIED', message: expect.stringContaining('callbacks.enabled') },
    ])
    await closed.close()
  })
})

describe('DELETE /api/clients/{id}', () => {
  it('ends a client of any kind, once', async () => {
    await post('', { id: 'hook', url: url(), topics: ['a'] })
    const socket = await open('a@b')
    expect([(await remove('/hook')).status, (await remove('/a%40b')).status]).toEqual([204, 204])
    expect(await socket.closed).toEqual({ code: 1000, reason: 'ended' })
    for (const path of ['/hook', '/a%40b', `/${'x'.repeat(128)}`]) {
      const { status, body } = await remove(path)
      expect([status, body.error.code]).toEqual([404, 'CONNECTION_NOT_FOUND'])
    }
  })
})

describe('/api/clients/{id}/subscriptions', () => {
  it('changes what a client is subscribed to', async () => {
    await post('', { id: 'hook', url: url() })
    const { status, body } = await post('/hook/subscriptions', { topic: '/a/b', policy: { name: 'latest' } })
    expect([status, body]).toEqual([
      200,
      { topic: 'a/b', position: { epoch: expect.any(String), seq: 0 }, recovered: false },
    ])
    await post('/hook/subscriptions', { topic: 'a/b', policy: 'reliable' })
    await post('/hook/subscriptions', { topic: 'c' })
    expect(subscriptionsOf('hook')).toEqual({ 'a/b': 'reliable', c: undefined })
    expect([(await remove('/hook/subscriptions/a/b')).status, (await remove('/hook/subscriptions/c')).status]).toEqual([
      204, 204,
    ])
    expect(subscriptionsOf('hook')).toEqual({})
  })

  it.each<[string, string, unknown, number, string]>([
    ['POST', '/nobody/subscriptions', { topic: 'a' }, 404, 'CONNECTION_NOT_FOUND'],
    ['POST', '/hook/subscriptions', { topic: 'a//b' }, 400, 'TOPIC_INVALID'],
    ['POST', '/hook/subscriptions', { topic: 5 }, 400, 'REQUEST_INVALID'],
    ['POST', '/hook/subscriptions', {}, 400, 'REQUEST_INVALID'],
    ['POST', '/hook/subscriptions', { topic: 'a', polcy: 'latest' }, 400, 'REQUEST_INVALID'],
    ['POST', '/hook/subscriptions', { topic: 'a', policy: 'newest' }, 400, 'POLICY_INVALID'],
    ['POST', '/hook/subscriptions', { topic: 'strict', policy: 'reliable' }, 403, 'POLICY_DENIED'],
    ['DELETE', '/nobody/subscriptions/a', undefined, 404, 'CONNECTION_NOT_FOUND'],
    ['DELETE', '/hook/subscriptions/a', undefined, 404, 'NOT_SUBSCRIBED'],
    ['DELETE', '/hook/subscriptions/a//b', undefined, 400, 'TOPIC_INVALID'],
    ['DELETE', '/hook/subscriptions/a%00', undefined, 400, 'TOPIC_INVALID'],
  ])('%s %s %j is %i %s', async (method, path, body, status, code) => {
    await post('', { id: 'hook', url: url() })
    const answer =
      body === undefined ? await remove(path) : await askJson(`${server.url}/api/clients${path}`, body, method)
    expect([answer.status, answer.body.error.code]).toEqual([status, code])
  })
})

describe('GET /api/clients/{id}/active', () => {
  it('asks the peer', async () => {
    const { webSocket } = await open('there')
    expect((await api('/there/active')).body).toEqual({ active: true })
    expect((await api('/nobody/active')).body).toEqual({ active: false })
    // Its host is there, and it does not read any more.
    webSocket.pause()
    expect((await api('/there/active?timeoutMs=50')).body).toEqual({ active: false })
    webSocket.resume()
    expect((await api('/there/active')).body).toEqual({ active: true })
    expect((await api('/there/active?timeoutMs=-1')).status).toBe(400)
  })
})

describe('POST /api/clients/{id}/ack', () => {
  it('confirms what a client has, in either form', async () => {
    await open('reader&policy=reliable', 'jobs')
    for (const text of ['one', 'two', 'three']) await publish('jobs', text)
    const unconfirmed = () => server.hub.getSubscription('reader', 'jobs')!.unconfirmed
    await until(() => unconfirmed() === 3)
    const { epoch } = server.hub.getTopic('jobs')!.position
    expect((await post('/reader/ack', { topic: 'jobs', epoch, seq: 2 })).body).toEqual({ confirmed: 2 })
    expect((await post('/reader/ack', { topic: '/jobs', position: `${epoch}-3` })).body).toEqual({ confirmed: 1 })
    expect((await post('/reader/ack', { topic: 'jobs', position: `${epoch}-3` })).body).toEqual({ confirmed: 0 })
    expect(unconfirmed()).toBe(0)
    const refused: [string, unknown, number, string][] = [
      ['/nobody/ack', { topic: 'jobs', epoch, seq: 1 }, 404, 'CONNECTION_NOT_FOUND'],
      ['/reader/ack', { topic: 'other', epoch, seq: 1 }, 404, 'NOT_SUBSCRIBED'],
      ['/reader/ack', { topic: 'jobs', epoch, seq: 4 }, 409, 'POSITION_INVALID'],
      ['/reader/ack', { topic: 'jobs', epoch: 'older', seq: 1 }, 409, 'POSITION_INVALID'],
      ['/reader/ack', { topic: '..', epoch, seq: 1 }, 400, 'TOPIC_INVALID'],
      ['/reader/ack', { topic: 'jobs', epoch, seq: -1 }, 400, 'REQUEST_INVALID'],
      ['/reader/ack', { topic: 'jobs', epoch, seq: 1.5 }, 400, 'REQUEST_INVALID'],
      ['/reader/ack', { topic: 'jobs', epoch, seq: '1' }, 400, 'REQUEST_INVALID'],
      ['/reader/ack', { topic: 'jobs', position: 'nonsense' }, 400, 'REQUEST_INVALID'],
      ['/reader/ack', { topic: 'jobs', position: { epoch, seq: 1 } }, 400, 'REQUEST_INVALID'],
      ['/reader/ack', { topic: 'jobs' }, 400, 'REQUEST_INVALID'],
      ['/reader/ack', null, 400, 'REQUEST_INVALID'],
    ]
    for (const [path, body, status, code] of refused) {
      const answer = await post(path, body)
      expect([body, answer.status, answer.body.error.code]).toEqual([body, status, code])
    }
  })
})
