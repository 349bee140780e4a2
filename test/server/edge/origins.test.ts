import Fastify, { type FastifyInstance } from 'fastify'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createHub, type Hub } from '../../../src/hub.ts'
import { hubline } from '../../../src/server/fastify.ts'
import { rawRequest, upgradeRequest } from '../raw-request.ts'
import { startTestServer, type TestServer } from '../test-server.ts'

const LISTED = 'https://app.example.org'
let server: TestServer
let port: string
beforeAll(async () => {
  server = await startTestServer({ hosts: ['hub.example.org'], origins: [LISTED] })
  port = new URL(server.url).port
})
afterAll(() => server.close())

type Headers = Record<string, string>

/** `Host` is the server's own, unless it is given. */
async function send(method: string, path: string, headers: Headers = {}, body = '') {
  const all: Headers = { Host: `127.0.0.1:${port}`, Connection: 'close', ...headers }
  if (body !== '') all['Content-Length'] = String(Buffer.byteLength(body))
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`)
  const answer = await rawRequest(server.url, `${[`${method} ${path} HTTP/1.1`, ...lines].join('\r\n')}\r\n\r\n${body}`)
  return { ...answer, code: codeOf(answer.body) }
}

async function upgrade(path: string, headers: Headers = {}) {
  const answer = await rawRequest(server.url, upgradeRequest(path, { Host: `127.0.0.1:${port}`, ...headers }))
  return { ...answer, code: codeOf(answer.body) }
}

function codeOf(body: string): string | undefined {
  return body.startsWith('{') ? (JSON.parse(body) as { error?: { code: string } }).error?.code : undefined
}

const published = () => server.hub.getConnectionStats().published
const clientsEver = () => server.hub.getConnectionStats().clientsTotal

describe('G8: Host', () => {
  const FOREIGN = ['evil.example', `evil.example:8000`, '127.0.0.1.evil.example', 'localhost.evil.example', '10.0.0.1']
  const ODD = ['user@localhost', 'localhost:8000:1', '0.0.0.0', '[::ffff:10.0.0.1]', 'localhost/x', '']
  const PATHS = ['/', '/health/live', '/metrics', '/api/stats', '/nothing', '/topics/a', '/events?topic=a']

  it.each([...FOREIGN, ...ODD])('%s is nobody here: 421 before any route', async Host => {
    for (const path of PATHS) expect([path, await send('GET', path, { Host })]).toMatchObject([path, { status: 421 }])
    expect(await send('POST', '/topics/a', { Host }, 'x')).toMatchObject({ status: 421, code: 'HOST_DENIED' })
    expect(await upgrade('/topics/a', Host === '' ? { Host: ' ' } : { Host })).toMatchObject({ status: 421 })
    expect([published(), clientsEver()]).toEqual([0, 0])
  })

  it.each([
    'localhost',
    'LOCALHOST:1',
    'hub.localhost',
    '127.0.0.1',
    '127.1.2.3:80',
    '[::1]:8000',
    'Hub.Example.org:443',
  ])('%s is us', async Host => {
    expect(await send('GET', '/health/live', { Host })).toMatchObject({ status: 200 })
    expect(await upgrade('/topics/a', { Host })).toMatchObject({ status: 101 })
  })

  it('says which setting mends it', async () => {
    const { body } = await send('GET', '/', { Host: 'hub.example.com' })
    expect(body).toContain('this server is not called \\"hub.example.com\\"; if it should be, add the name to hosts')
  })
})

describe('a server on all addresses', () => {
  it('may be called by any address, and by no name', async () => {
    const open = await startTestServer({ host: '0.0.0.0', insecure: true })
    const ask = async (Host: string) =>
      (await rawRequest(open.url, `GET /health/live HTTP/1.1\r\nHost: ${Host}\r\nConnection: close\r\n\r\n`)).status
    expect(await ask('192.0.2.7:8000')).toBe(200)
    expect(await ask('[2001:db8::1]')).toBe(200)
    expect(await ask('evil.example')).toBe(421)
    expect(await ask('3221225985')).toBe(421)
    await open.close()
  })
})

describe('F10: Origin', () => {
  const own = () => `http://127.0.0.1:${port}`
  const FOREIGN: Record<string, () => string> = {
    null: () => 'null',
    'another site': () => 'https://evil.example',
    'a name that begins like ours': () => `http://127.0.0.1.evil.example:${port}`,
    'a listed one with another ending': () => `${LISTED}.evil`,
    'a name before a listed one': () => 'https://evil.app.example.org',
    'a listed one in other letters': () => 'https://APP.example.org',
    'a listed one with a port': () => `${LISTED}:8443`,
    'a listed one without TLS': () => LISTED.replace('https', 'http'),
    'a listed one with a slash': () => `${LISTED}/`,
    'our own with another port': () => `http://127.0.0.1:${Number(port) + 1}`,
    'our own without its port': () => 'http://127.0.0.1',
    'our own with TLS': () => own().replace('http', 'https'),
    'our own by another name': () => `http://localhost:${port}`,
    'two of them': () => `${own()}, https://evil.example`,
  }
  const REQUESTS: Record<string, (headers: Headers) => Promise<{ status: number; code: string | undefined }>> = {
    'an upgrade to a topic': headers => upgrade('/topics/a?role=both', headers),
    'an upgrade to the client protocol': headers => upgrade('/connection/websocket', headers),
    'an event stream': headers => send('GET', '/events?topic=a', { ...headers, accept: 'text/event-stream' }),
    'a stream': headers => send('GET', '/topics/a', headers),
    'a publication': headers => send('POST', '/topics/a', headers, 'x'),
    'a live source': headers => send('PUT', '/topics/a', headers, 'x'),
    'a change by the API': headers => send('DELETE', '/api/topics/a/policy', headers),
    'a look into the API': headers => send('GET', '/api/clients', headers),
    'a page': headers => send('GET', '/', headers),
  }

  it.each(Object.keys(FOREIGN))('%s: 403 for everything, and before 101', async name => {
    const before = [published(), clientsEver()]
    for (const [what, ask] of Object.entries(REQUESTS)) {
      const answer = await ask({ Origin: FOREIGN[name]!() })
      expect([what, answer]).toMatchObject([what, { status: 403, code: 'ORIGIN_DENIED' }])
    }
    expect([published(), clientsEver()]).toEqual(before)
  })

  it.each([
    ['none', undefined],
    ['our own', own],
    ['a listed one', () => LISTED],
  ])('%s: let in', async (_name, origin) => {
    const headers: Headers = origin === undefined ? {} : { Origin: origin() }
    expect(await upgrade('/topics/a', headers)).toMatchObject({ status: 101 })
    expect(await upgrade('/connection/websocket', headers)).toMatchObject({ status: 101 })
    expect(await send('POST', '/topics/a', headers, 'x')).toMatchObject({ status: 202 })
    expect(await send('DELETE', '/api/topics/a/policy', headers)).toMatchObject({ status: 204 })
    expect(await send('GET', '/api/clients', headers)).toMatchObject({ status: 200 })
  })

  it('is our own under whatever name we are called, without the port that its scheme has', async () => {
    const ask = (Host: string, Origin: string) => upgrade('/topics/a', { Host, Origin })
    expect(await ask('Hub.example.org:80', 'http://hub.example.org')).toMatchObject({ status: 101 })
    expect(await ask('hub.example.org', 'http://hub.example.org')).toMatchObject({ status: 101 })
    expect(await ask('hub.example.org:81', 'http://hub.example.org')).toMatchObject({ status: 403 })
  })
})

describe('a browser that says no Origin', () => {
  const POST = ['POST', '/topics/a'] as const

  it.each(['cross-site', 'same-site', 'nonsense'])(
    'Sec-Fetch-Site: %s may follow a link, and nothing else',
    async site => {
      const before = [published(), clientsEver()]
      const headers = { 'Sec-Fetch-Site': site, 'Sec-Fetch-Mode': 'no-cors' }
      expect(await send(...POST, headers, 'x')).toMatchObject({ status: 403, code: 'ORIGIN_DENIED' })
      expect(await send('GET', '/topics/a', headers)).toMatchObject({ status: 403 })
      expect(await upgrade('/topics/a', { ...headers, 'Sec-Fetch-Mode': 'navigate' })).toMatchObject({ status: 403 })
      expect(await send(...POST, { ...headers, 'Sec-Fetch-Mode': 'navigate' }, 'x')).toMatchObject({ status: 403 })
      expect([published(), clientsEver()]).toEqual(before)
      expect(await send('GET', '/', { ...headers, 'Sec-Fetch-Mode': 'navigate' })).toMatchObject({ status: 200 })
    },
  )

  it.each(['same-origin', 'none'])('Sec-Fetch-Site: %s is let in', async site => {
    expect(await send(...POST, { 'Sec-Fetch-Site': site }, 'x')).toMatchObject({ status: 202 })
  })

  it('is known by its Referer, where it is too old for both', async () => {
    const refer = async (Referer: string) => (await send(...POST, { Referer }, 'x')).status
    expect(await refer('https://evil.example/form.html')).toBe(403)
    expect(await refer('nonsense')).toBe(403)
    expect(await refer(`http://127.0.0.1:${port}/page`)).toBe(202)
    expect(await refer(`${LISTED}/page?x=1`)).toBe(202)
    expect(await send('GET', '/', { Referer: 'https://evil.example/' })).toMatchObject({ status: 200 })
  })
})

describe('G3: forms', () => {
  const FORM = 'application/x-www-form-urlencoded'
  const SIMPLE = [FORM, 'text/plain', 'multipart/form-data; boundary=x', 'application/json', undefined]
  let app: FastifyInstance
  let hub: Hub
  let url: string
  const routes: [method: string, path: string][] = []

  beforeAll(async () => {
    hub = createHub()
    app = Fastify()
    app.addHook('onRoute', ({ method, path }) => {
      for (const each of [method].flat()) routes.push([each, path.replace('*', 'a').replace(/:\w+/g, 'x')])
    })
    await app.register(hubline, { hub })
    url = await app.listen({ port: 0, host: '127.0.0.1' })
  })
  afterAll(() => app.close())

  it('of another page change nothing on any route', async () => {
    const changing = routes.filter(([method]) => !['GET', 'HEAD', 'OPTIONS'].includes(method))
    const paths = changing.map(([method, path]) => `${method} ${path}`)
    expect(paths).toEqual(expect.arrayContaining(['POST /topics/a', 'POST /@connections/x', 'POST /api/clients']))
    for (const [method, path] of changing) {
      for (const type of SIMPLE) {
        const headers = { origin: 'https://evil.example', ...(type && { 'content-type': type }) }
        const answer = await app.inject({ method: method as 'POST', url: path, headers, payload: '{"url":"http://x"}' })
        expect([method, path, type, answer.statusCode]).toEqual([method, path, type, 403])
      }
    }
    expect([hub.getConnectionStats().published, [...hub.getTopics()]]).toEqual([0, []])
  })

  it('are no JSON where JSON is asked for, whoever sends them', async () => {
    for (const path of ['/api/clients', '/api/broadcast', '/api/clients/x/ack', '/api/clients/x/subscriptions']) {
      for (const type of [FORM, 'text/plain', 'multipart/form-data; boundary=x']) {
        const answer = await app.inject({ method: 'POST', url: path, headers: { 'content-type': type }, payload: '{}' })
        expect([path, type, answer.statusCode]).toEqual([path, type, 415])
      }
    }
  })

  it('of curl publish: it is no browser', async () => {
    const headers = { 'content-type': FORM, 'user-agent': 'curl/8.5.0', accept: '*/*' }
    const answer = await fetch(`${url}/topics/curl`, { method: 'POST', headers, body: 'hi there' })
    expect([answer.status, await answer.json()]).toMatchObject([202, { topic: 'curl' }])
  })
})
