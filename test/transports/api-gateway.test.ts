import type { ServerResponse } from 'node:http'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { ApiGatewayClients, type ApiGatewayOptions, loadGatewaySdk } from '../../src/transports/api-gateway.ts'
import { httpReceiver, type Received, type Receiver } from './receiver.ts'

const CREDENTIALS = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'example' }

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

type Answer = (response: ServerResponse, received: Received) => void

/** An API that answers as told, and a hub that may post to it, by AWS's own SDK. */
async function setUp(answer: Answer, options: Partial<ApiGatewayOptions> = {}) {
  const api = await httpReceiver(answer)
  ends.push(() => api[Symbol.asyncDispose]())
  const endpoint = `http://127.0.0.1:${api.port}/prod`
  const { hub, clients } = await hubFor([endpoint], options)
  return { api, endpoint, hub, clients }
}

async function hubFor(
  endpoints: string[],
  options: Partial<ApiGatewayOptions> = {},
): Promise<{ hub: Hub; clients: ApiGatewayClients }> {
  const hub = createHub()
  const clients = new ApiGatewayClients(hub, await loadGatewaySdk(), {
    ...{ endpoints, allow: ['127.0.0.1'], region: 'eu-west-1', credentials: CREDENTIALS, retry: { baseMs: 2 } },
    ...options,
  })
  ends.push(
    () => clients.close(),
    () => hub.close(),
  )
  return { hub, clients }
}

const code = (error: unknown): string => (error instanceof HubError ? error.code : String(error))
const outcome = (sent: Promise<unknown>): Promise<string> => sent.then(() => 'ok', code)
const ok: Answer = response => response.end()
const status =
  (status: number, headers: Record<string, string> = {}): Answer =>
  response =>
    response.writeHead(status, headers).end()
const lines = ({ requests }: Receiver): string[] => requests.map(({ method, path }) => `${method} ${path}`)

describe('a connection of an API Gateway', () => {
  it('gets topics and sends in order, as bytes, in requests that are signed', async () => {
    const { api, endpoint, hub, clients } = await setUp(ok)
    clients.register({ id: 'c', endpoint, connectionId: 'L0SM9cOFvHcCIhw=', topics: [{ name: 'news' }] })
    hub.routeData('news', Buffer.from([0, 1, 255]))
    hub.routeData('news', Buffer.from('two'))
    expect(await hub.send('c', { three: 3 })).toMatchObject({ confirmed: true })
    expect(new Set(lines(api))).toEqual(new Set(['POST /prod/@connections/L0SM9cOFvHcCIhw%3D']))
    expect(api.requests.map(({ body }) => body)).toEqual([
      Buffer.from([0, 1, 255]),
      ...['two', '{"three":3}'].map(text => Buffer.from(text)),
    ])
    expect(api.requests[0]!.headers.authorization).toMatch(
      /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d+\/eu-west-1\/execute-api/,
    )
    expect(api.connections).toBe(1)
  })

  it('has nothing in its id that leads elsewhere', async () => {
    const { api, endpoint, hub, clients } = await setUp(ok)
    clients.register({ id: 'c', endpoint, connectionId: '../../other/@connections/x?y#z' })
    expect(await outcome(hub.send('c', 'a'))).toBe('ok')
    expect(lines(api)).toEqual(['POST /prod/@connections/..%2F..%2Fother%2F%40connections%2Fx%3Fy%23z'])
  })

  it.each<[string, Answer, string, number]>([
    ['410 without a word', status(410), 'CONNECTION_STALE', 1],
    ['410 as a GoneException', status(410, { 'x-amzn-errortype': 'GoneException' }), 'CONNECTION_STALE', 1],
    ['403', status(403, { 'x-amzn-errortype': 'ForbiddenException' }), 'SEND_FAILED', 1],
    ['413', status(413), 'SEND_FAILED', 1],
    ['a redirect', status(302, { location: 'http://127.0.0.1:1/' }), 'SEND_FAILED', 1],
    ['429', status(429), 'SEND_FAILED', 4],
    ['500', status(500), 'SEND_FAILED', 4],
    [
      '500 that is no JSON',
      response => response.writeHead(500, { 'content-type': 'application/json' }).end('<'),
      'SEND_FAILED',
      4,
    ],
    ['a connection that is reset', response => void response.destroy(), 'SEND_FAILED', 4],
  ])('%s: tried as often as it should be, by us and not by the SDK', async (_, answer, expected, times) => {
    const { api, endpoint, hub, clients } = await setUp(answer)
    clients.register({ id: 'c', endpoint, connectionId: 'x' })
    expect(await outcome(hub.send('c', 'a'))).toBe(expected)
    expect(api.requests).toHaveLength(times)
    expect(hub.getConnectionStats().clients).toBe(expected === 'CONNECTION_STALE' ? 0 : 1)
  })

  it('is tried again where its good answer breaks off', async () => {
    let first = true
    const { api, endpoint, hub, clients } = await setUp(response => {
      if (!first) return void response.end()
      first = false
      response.writeHead(200, { 'content-length': 100 }).write('half')
      setImmediate(() => response.destroy())
    })
    clients.register({ id: 'c', endpoint, connectionId: 'x' })
    expect(await outcome(hub.send('c', 'a'))).toBe('ok')
    expect(api.requests).toHaveLength(2)
  })

  it('is left alone for as long as it asks', async () => {
    let first = true
    const { endpoint, hub, clients } = await setUp(response => {
      response.writeHead(first ? 429 : 200, { 'retry-after': '1' }).end()
      first = false
    })
    const waits: number[] = []
    hub.events.on('retry', ({ waitMs }) => waits.push(waitMs))
    clients.register({ id: 'c', endpoint, connectionId: 'x' })
    expect(await outcome(hub.send('c', 'a'))).toBe('ok')
    expect(waits).toEqual([1000])
  })

  it.each<[string, Answer]>([
    ['does not answer', () => {}],
    [
      'does not end its answer',
      response => {
        response.writeHead(200)
        const timer = setInterval(() => response.write('x'), 10)
        response.on('close', () => clearInterval(timer))
      },
    ],
  ])('that %s costs its time and no more', async (_, answer) => {
    const { api, endpoint, hub, clients } = await setUp(answer, { timeoutMs: 100, retry: { retries: 1, baseMs: 1 } })
    clients.register({ id: 'c', endpoint, connectionId: 'x' })
    await expect(hub.send('c', 'a')).rejects.toMatchObject({
      ...{ code: 'SEND_TIMEOUT', message: expect.stringContaining('timeout after 100 ms') },
    })
    await api.allClosed()
  })

  it('is not waited for once its send is over', async () => {
    const { api, endpoint, hub, clients } = await setUp(() => {})
    clients.register({ id: 'c', endpoint, connectionId: 'x' })
    const caller = new AbortController()
    const sent = outcome(hub.send('c', 'a', { signal: caller.signal }))
    await api.connected()
    caller.abort()
    expect(await sent).toBe('SEND_ABORTED')
    await api.allClosed()
  })

  it('says what is wrong with the SDK’s own settings', async () => {
    const { AWS_REGION, AWS_DEFAULT_REGION, ...environment } = process.env
    const before = process.env
    process.env = { ...environment, AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null' }
    ends.push(() => {
      process.env = before
    })
    const { endpoint, hub, clients } = await setUp(ok, { region: undefined, retry: { retries: 0 } })
    clients.register({ id: 'c', endpoint, connectionId: 'x' })
    await expect(hub.send('c', 'a')).rejects.toThrow('Region is missing')
  })
})

describe('asking and ending it', () => {
  it.each<[string, Answer, boolean, number]>([
    ['200', response => response.end('{"connectedAt":"2026-01-01T00:00:00.000Z"}'), true, 1],
    ['410', status(410), false, 0],
    ['500, which says nothing', status(500), true, 1],
  ])('GET %s', async (_, answer, active, clientsLeft) => {
    const { api, endpoint, hub, clients } = await setUp(answer)
    clients.register({ id: 'c', endpoint, connectionId: 'x' })
    expect(await hub.isActive('c')).toBe(active)
    expect(lines(api)).toEqual(['GET /prod/@connections/x'])
    expect(hub.getConnectionStats().clients).toBe(clientsLeft)
  })

  it('DELETE where the hub ends it, and not where it is replaced', async () => {
    const { api, endpoint, hub, clients } = await setUp(ok)
    const register = (): unknown => clients.register({ id: 'c', endpoint, connectionId: 'x' })
    register()
    register()
    hub.unregisterClient('c', 'denied')
    await expect.poll(() => lines(api)).toEqual(['DELETE /prod/@connections/x'])
  })

  it('no DELETE at a shutdown: the connection will be found in the store', async () => {
    const { api, endpoint, hub, clients } = await setUp(ok)
    clients.register({ id: 'c', endpoint, connectionId: 'x' })
    await hub.shutdown()
    // A request that is begun after it has time for the way of one before it.
    await fetch(`${endpoint}/last`)
    expect(lines(api)).toEqual(['GET /prod/last'])
  })
})

describe('an endpoint', () => {
  it('is one of the configured ones, with or without a slash at its end', async () => {
    const { endpoint, clients } = await setUp(ok)
    const register = (endpoint: string) => () => clients.register({ endpoint, connectionId: 'x' })
    expect(register(`${endpoint}/`)).not.toThrow()
    for (const wrong of [
      'http://127.0.0.1:1/prod',
      endpoint.replace('prod', 'dev'),
      'nonsense',
      '',
      undefined as never,
    ]) {
      expect(register(wrong)).toThrow('endpoint: it is none of the configured ones')
    }
  })

  it.each(['', 'x'.repeat(129), undefined as never, 7 as never])(
    'has connections with ids, and %j is none',
    async connectionId => {
      const { endpoint, hub, clients } = await setUp(ok)
      expect(() => clients.register({ endpoint, connectionId })).toThrow('connectionId: it has 1 to 128 characters')
      expect(hub.getConnectionStats().clients).toBe(0)
    },
  )

  it.each(['http://169.254.169.254/prod', 'file:///prod', 'http://user@example.org/'])(
    'may not be %s',
    async endpoint => {
      await expect(hubFor([endpoint])).rejects.toMatchObject({ code: 'CALLBACK_URL_INVALID' })
    },
  )

  it('by a name is refused once that is an address inside: the SDK’s own connection asks', async () => {
    const inside = await httpReceiver(ok)
    ends.push(() => inside[Symbol.asyncDispose]())
    const endpoint = `http://rebind.example:${inside.port}/prod`
    const { hub, clients } = await hubFor([endpoint], {
      allow: [],
      resolve: (_hostname, _options, callback) => callback(null, [{ address: '127.0.0.1', family: 4 }]),
    })
    clients.register({ id: 'c', endpoint, connectionId: 'x' })
    await expect(hub.send('c', 'a')).rejects.toMatchObject({
      ...{ code: 'SEND_FAILED', message: expect.stringContaining('was tried once') },
    })
    expect(inside.connections).toBe(0)
  })

  it('has its clients restored of what they were stored as', async () => {
    const { api, endpoint, hub, clients } = await setUp(ok)
    let stored: unknown
    hub.events.on('register', ({ restore }) => (stored = restore))
    clients.register({ id: 'c', endpoint, connectionId: 'x' })
    hub.unregisterClient('c', 'replaced')
    clients.restore(JSON.parse(JSON.stringify(stored)), { id: 'c', topics: [{ name: 'news' }] })
    expect(await outcome(hub.send('c', 'a'))).toBe('ok')
    expect(lines(api)).toEqual(['POST /prod/@connections/x'])
    for (const wrong of [undefined, null, {}, { endpoint }, 7]) {
      expect(() => clients.restore(wrong, {})).toThrow(expect.objectContaining({ code: 'REQUEST_INVALID' }))
    }
  })
})

describe('the region of an endpoint', () => {
  afterEach(() => vi.unstubAllEnvs())
  const checked = async (endpoint: string, region?: string): Promise<string> => {
    // Nothing to be found on this machine, whatever it has.
    for (const name of ['AWS_REGION', 'AWS_DEFAULT_REGION', 'AWS_PROFILE']) vi.stubEnv(name, undefined)
    for (const name of ['AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE']) vi.stubEnv(name, '/nonexistent')
    const { clients } = await hubFor([endpoint], { region })
    return clients.check().then(
      () => 'ok',
      (error: HubError) => `${error.code} ${error.message}`,
    )
  }

  it('is the one given, or the one in its name; without any nothing is started', async () => {
    expect(await checked('https://abc123.execute-api.eu-west-1.amazonaws.com/prod')).toBe('ok')
    expect(await checked('https://api.example.org/prod', 'us-east-1')).toBe('ok')
    expect(await checked('https://api.example.org/prod')).toBe(
      'CONFIG_INVALID apiGateway.region: there is none for https://api.example.org/prod; set apiGateway.region, or AWS_REGION in the environment',
    )
  })
})
