import { request } from 'node:http'
import {
  ApiGatewayManagementApiClient,
  DeleteConnectionCommand,
  GetConnectionCommand,
  GoneException,
  LimitExceededException,
  PayloadTooLargeException,
  PostToConnectionCommand,
} from '@aws-sdk/client-apigatewaymanagementapi'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { ApiGatewayClients, loadGatewaySdk } from '../../src/transports/api-gateway.ts'
import { httpReceiver } from '../transports/receiver.ts'
import { ask, askJson, type Listener, listen, until } from './http.ts'
import { startTestServer, type TestServer } from './test-server.ts'

/** What a backend for AWS API Gateway has: AWS's SDK, unmodified, and an endpoint. */

const LIMIT = 128 * 1024
const CREDENTIALS = { accessKeyId: 'test', secretAccessKey: 'test' }

let server: TestServer
beforeAll(async () => {
  server = await startTestServer({ callbacks: { allow: ['127.0.0.1'] }, limits: { maxQueuedBytesPerClient: 1024 } })
})
afterAll(() => server.close())

const listeners: Listener[] = []
const apis: ApiGatewayManagementApiClient[] = []
afterEach(() => {
  for (const { webSocket } of listeners.splice(0)) webSocket.terminate()
  for (const client of apis.splice(0)) client.destroy()
})

async function open(client: string, headers = {}, at = server): Promise<Listener> {
  const listener = await listen(at.url, client, 'any', headers)
  listeners.push(listener)
  return listener
}

/** Without retries of its own, so that each status is seen. */
function sdk(stage = '/prod', at = server): ApiGatewayManagementApiClient {
  const endpoint = at.url + stage
  const client = new ApiGatewayManagementApiClient({
    endpoint,
    region: 'eu-west-1',
    credentials: CREDENTIALS,
    maxAttempts: 1,
  })
  apis.push(client)
  return client
}

const post = (id: string, data: string | Uint8Array, at = sdk()) =>
  at.send(new PostToConnectionCommand({ ConnectionId: id, Data: data }))
const get = (id: string, at = sdk()) => at.send(new GetConnectionCommand({ ConnectionId: id }))
const remove = (id: string, at = sdk()) => at.send(new DeleteConnectionCommand({ ConnectionId: id }))
const statusOf = (answer: Promise<{ $metadata: { httpStatusCode?: number } }>) =>
  answer.then(({ $metadata }) => $metadata.httpStatusCode)

describe('AWS’s SDK against /@connections', () => {
  it('posts text as text and anything else as bytes, under any stage or none', async () => {
    const { heard } = await open('one')
    expect(await statusOf(post('one', '{"n":1}'))).toBe(200)
    expect(await statusOf(post('one', 'héllo', sdk('')))).toBe(200)
    expect(await statusOf(post('one', Buffer.of(0xff, 0xfe), sdk('/$default')))).toBe(200)
    await until(() => heard.length === 3)
    expect(heard).toEqual(['{"n":1}', 'héllo', Buffer.of(0xff, 0xfe)])
  })

  it('takes exactly 128 KB, and says 413 of a byte more and of much more', async () => {
    const { heard } = await open('one')
    expect(await statusOf(post('one', 'x'.repeat(LIMIT)))).toBe(200)
    await until(() => heard.length === 1)
    expect(heard[0]).toHaveLength(LIMIT)
    for (const size of [LIMIT + 1, 5_000_000]) {
      const error = await post('one', 'x'.repeat(size)).catch((error: unknown) => error)
      expect(error).toBeInstanceOf(PayloadTooLargeException)
      expect(error).toMatchObject({ message: expect.stringContaining('131072'), $metadata: { httpStatusCode: 413 } })
    }
    // The same socket goes on: an end of it might overtake the answer.
    const raw = await fetch(`${server.url}/@connections/one`, { method: 'POST', body: 'x'.repeat(LIMIT + 1) })
    expect([raw.status, raw.headers.get('connection')]).toEqual([413, null])
  })

  it('sends JSON as JSON, which is all that the client protocol carries', async () => {
    const peer = new WebSocket(`${server.url.replace('http', 'ws')}/connection/websocket?client=json`)
    const frames: string[] = []
    peer.on('message', (data: Buffer) => frames.push(data.toString()))
    peer.on('open', () => peer.send('{"id":1,"connect":{}}'))
    await until(() => frames.length === 1)
    await post('json', '{"to":"you"}')
    await until(() => frames.length === 2)
    expect(frames[1]).toBe('{"push":{"message":{"data":{"to":"you"}}}}')
    const refused = await post('json', 'no JSON').catch((error: unknown) => error)
    expect(refused).toMatchObject({ name: 'BadRequestException', $metadata: { httpStatusCode: 400 } })
    peer.terminate()
  })

  it('says 413 of a body whose length nobody said', async () => {
    await open('one')
    const status = await new Promise((resolve, reject) => {
      const url = `${server.url}/@connections/one`
      const chunked = request(url, { method: 'POST' }, answer => resolve(answer.resume().statusCode))
      chunked.on('error', reject)
      chunked.write('x'.repeat(LIMIT))
      chunked.end('y')
    })
    expect(status).toBe(413)
  })

  it('tells since when a connection is there, who it is, and when it was last active', async () => {
    const before = Date.now()
    await open('one', { 'user-agent': 'Browser/1.0' })
    const { $metadata, ...first } = await get('one')
    expect([$metadata.httpStatusCode, first.Identity]).toEqual([
      200,
      { SourceIp: '127.0.0.1', UserAgent: 'Browser/1.0' },
    ])
    expect(first.ConnectedAt).toBeInstanceOf(Date)
    expect(Math.abs(first.ConnectedAt!.getTime() - before)).toBeLessThan(2000)
    expect(first.LastActiveAt).toEqual(first.ConnectedAt)
    await until(() => Date.now() > first.ConnectedAt!.getTime() + 20)
    await post('one', 'x')
    const second = await get('one')
    expect(Math.abs(second.ConnectedAt!.getTime() - first.ConnectedAt!.getTime())).toBeLessThan(10)
    expect(second.LastActiveAt!.getTime()).toBeGreaterThan(first.LastActiveAt!.getTime() + 10)
  })

  it('knows the user agent of every kind of client, and forgets it with the client', async () => {
    const url = `${server.url.replace('http', 'ws')}/connection/websocket?client=json`
    const peer = new WebSocket(url, { headers: { 'user-agent': 'SDK/1' } })
    peer.on('open', () => peer.send('{"id":1,"connect":{}}'))
    await until(() => server.hub.getConnectionStats().clientsByProtocol.centrifuge === 1)
    expect((await get('json')).Identity?.UserAgent).toBe('SDK/1')
    peer.terminate()
    const stream = await fetch(`${server.url}/topics/a?client=stream`, { headers: { 'user-agent': 'curl/8' } })
    expect((await get('stream')).Identity?.UserAgent).toBe('curl/8')
    await stream.body?.cancel()
    await until(() => server.hub.getConnectionStats().clientsByProtocol['http-stream'] === 0)
    // Longer than anybody's is, or none at all: nothing is kept.
    await open('stream', { 'user-agent': 'x'.repeat(257) })
    expect((await get('stream')).Identity?.UserAgent).toBe('')
  })

  it('ends a connection', async () => {
    const { closed } = await open('one')
    expect(await statusOf(remove('one'))).toBe(204)
    expect((await closed).code).toBe(1000)
    await expect(remove('one')).rejects.toBeInstanceOf(GoneException)
  })

  it('says 410 of whoever is not there, whatever the id', async () => {
    for (const id of ['nobody', 'a b', '../x', 'é', '%', 'x'.repeat(128)]) {
      await expect(post(id, 'x')).rejects.toBeInstanceOf(GoneException)
      await expect(get(id)).rejects.toMatchObject({ name: 'GoneException', $metadata: { httpStatusCode: 410 } })
      await expect(remove(id)).rejects.toBeInstanceOf(GoneException)
    }
  })

  it('says 410 of a client that turns out to have gone', async () => {
    await using gone = await httpReceiver(response => response.writeHead(410).end())
    await askJson(`${server.url}/api/clients`, { id: 'hook', url: gone.url.href })
    await expect(post('hook', 'x')).rejects.toBeInstanceOf(GoneException)
    expect(server.hub.selectClients({ protocol: 'callback' })).toEqual([])
  })

  it('finds ids that the SDK escapes', async () => {
    const { heard } = await open(encodeURIComponent('a@b:c'))
    await post('a@b:c', 'x')
    await until(() => heard.length === 1)
  })

  it('says 429 where more waits for a client than may', async () => {
    const { webSocket } = await open('one')
    webSocket.pause()
    // What the kernel does not take waits here; then one more waits behind it.
    const data = Buffer.alloc(LIMIT)
    const errors: unknown[] = []
    const waiting = Array.from({ length: 80 }, () => post('one', data).catch((error: unknown) => errors.push(error)))
    await until(() => errors.length > 0)
    expect(errors[0]).toBeInstanceOf(LimitExceededException)
    expect(errors[0]).toMatchObject({ message: expect.any(String), $metadata: { httpStatusCode: 429 } })
    webSocket.terminate()
    await Promise.all(waiting)
  })

  it('says 429 to more requests than it lets through', async () => {
    const strict = await startTestServer({ apiGateway: { requestsPerSecond: 5 } })
    await open('one', {}, strict)
    const at = sdk('', strict)
    const answers = await Promise.all(Array.from({ length: 20 }, () => get('one', at).catch((error: unknown) => error)))
    const refused = answers.filter(answer => answer instanceof LimitExceededException)
    expect(refused.length).toBeGreaterThan(5)
    expect(answers.length - refused.length).toBeGreaterThanOrEqual(5)
    // Of all the server's routes it is these alone.
    expect((await ask(`${strict.url}/api/stats`)).status).toBe(200)
    await strict.close()
  })

  it('tells what API Gateway has no name for by its kind, in the form that the SDK reads', async () => {
    const peer = await fetch(`${server.url}/topics/a?client=one`)
    const refused = await ask(`${server.url}/@connections/one`, {
      method: 'POST',
      body: 'x',
      headers: { 'x-correlation-id': 'two words' },
    })
    expect([refused.status, refused.headers.get('x-amzn-errortype'), refused.body]).toEqual([
      400,
      'BadRequestException',
      { message: expect.stringContaining('x-correlation-id') },
    ])
    await peer.body?.cancel()
    expect((await ask(`${server.url}/@connections/one`, { method: 'PUT' })).status).toBe(405)
  })
})

describe('the hub’s own clients of this kind against /@connections', () => {
  const NAMES = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_REGION']
  const before = NAMES.map(name => process.env[name])
  let far: TestServer
  beforeAll(async () => {
    for (const name of NAMES) process.env[name] = name === 'AWS_REGION' ? 'eu-west-1' : 'test'
    far = await startTestServer({
      callbacks: { allow: ['127.0.0.1'] },
      apiGateway: { endpoints: [`${server.url}/prod`] },
    })
  })
  afterAll(async () => {
    await far.close()
    NAMES.forEach((name, i) => {
      if (before[i] === undefined) delete process.env[name]
      else process.env[name] = before[i]
    })
  })

  const register = (body: object) => askJson(`${far.url}/api/clients`, { endpoint: `${server.url}/prod`, ...body })

  it('reach a WebSocket through two hubs: messages, sends, the question whether it is there, and its end', async () => {
    const { heard, closed } = await open('ada')
    const made = await register({ id: 'far', connectionId: 'ada', topics: ['news'] })
    expect([made.status, made.body]).toEqual([201, { id: 'far', protocol: 'api-gateway', topics: ['news'] }])
    expect((await register({ id: 'far', connectionId: 'ada', topics: ['news'] })).status).toBe(200)
    expect((await register({ id: 'far', connectionId: 'grace', topics: ['news'] })).status).toBe(409)
    await fetch(`${far.url}/topics/news`, { method: 'POST', body: 'one' })
    const sent = await ask(`${far.url}/api/clients/far/send`, { method: 'POST', body: 'two' })
    expect([sent.status, sent.body.confirmed]).toEqual([200, true])
    expect(heard).toEqual(['one', 'two'])
    expect((await ask(`${far.url}/api/clients/far/active`)).body).toEqual({ active: true })
    expect((await ask(`${far.url}/api/clients/far`, { method: 'DELETE' })).status).toBe(204)
    expect((await closed).code).toBe(1000)
  })

  it('are removed when the other side says 410', async () => {
    const { webSocket } = await open('ada')
    await register({ id: 'far', connectionId: 'ada', topics: ['news'] })
    webSocket.terminate()
    await until(() => server.hub.selectClients({ all: true }).length === 0)
    const sent = await ask(`${far.url}/api/clients/far/send`, { method: 'POST', body: 'x' })
    expect([sent.status, sent.body.error.code]).toEqual([410, 'CONNECTION_STALE'])
    expect((await ask(`${far.url}/api/clients/far`)).status).toBe(404)
  })

  it('go only to endpoints that are configured', async () => {
    const { status, body } = await askJson(`${far.url}/api/clients`, {
      endpoint: 'https://example.org/prod',
      connectionId: 'x',
    })
    expect([status, body.error.code]).toEqual([400, 'REQUEST_INVALID'])
    const secret = await register({ connectionId: 'ada', secret: 'x' })
    expect([secret.status, secret.body.error.code]).toEqual([400, 'REQUEST_INVALID'])
  })

  it('an endpoint that may not be posted to stops the start, and says which setting it is', async () => {
    const start = startTestServer({ apiGateway: { endpoints: ['http://10.0.0.1/prod'] } })
    await expect(start).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('apiGateway.endpoints'),
    })
  })

  it('what the other side throttles is sent again', async () => {
    const strict = await startTestServer({ apiGateway: { requestsPerSecond: 1 } })
    const { heard } = await open('ada', {}, strict)
    const gateways = new ApiGatewayClients(far.hub, await loadGatewaySdk(), {
      endpoints: [strict.url],
      allow: ['127.0.0.1'],
      credentials: CREDENTIALS,
      retry: { retries: 10, baseMs: 400 },
      breaker: { failures: 20 },
      random: () => 1,
    })
    gateways.register({ id: 'throttled', endpoint: strict.url, connectionId: 'ada' })
    const sends = ['one', 'two'].map(text => far.hub.send('throttled', text))
    expect((await Promise.all(sends)).map(({ confirmed }) => confirmed)).toEqual([true, true])
    await until(() => heard.length === 2)
    expect(heard).toEqual(['one', 'two'])
    expect(far.hub.getMetrics().operations.callback.retries).toBeGreaterThan(0)
    gateways.close()
    await strict.close()
  })
})
