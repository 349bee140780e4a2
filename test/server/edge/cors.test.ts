import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { createHub } from '../../../src/hub.ts'
import { loadConfig } from '../../../src/server/config.ts'
import type { EdgeOptions } from '../../../src/server/edge/edge.ts'
import { corsOptions } from '../../../src/server/edge/headers.ts'
import { hubline } from '../../../src/server/fastify.ts'

const LISTED = 'https://app.example.org'
let app: FastifyInstance
afterEach(() => app.close())

async function start(edge: EdgeOptions = { origins: [LISTED, 'https://second.example.org'] }): Promise<void> {
  app = Fastify()
  await app.register(hubline, { hub: createHub(), edge })
  await app.ready()
}

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE' | 'OPTIONS'

async function ask(method: Method, url: string, headers: Record<string, string> = {}) {
  const answer = await app.inject({ method, url, headers })
  const cors = Object.entries(answer.headers).filter(([name]) => name.startsWith('access-control-'))
  return { status: answer.statusCode, vary: answer.headers.vary, cors: Object.fromEntries(cors) }
}

const preflight = (origin: string, method: string, headers: string) =>
  ask('OPTIONS', '/api/topics/a/policy', {
    origin,
    'access-control-request-method': method,
    'access-control-request-headers': headers,
  })

describe('F11: CORS', () => {
  it('allows what the API needs, to listed origins by their name', async () => {
    await start()
    const { status, vary, cors } = await preflight(LISTED, 'PUT', 'authorization,idempotency-key')
    expect([status, vary]).toEqual([204, 'Origin'])
    expect(cors).toMatchObject({
      'access-control-allow-origin': LISTED,
      'access-control-allow-credentials': 'true',
      'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE',
      'access-control-max-age': '600',
    })
    const headers = cors['access-control-allow-headers']
    for (const header of ['authorization', 'content-type', 'idempotency-key', 'last-event-id']) {
      expect(headers).toContain(header)
    }
  })

  it.each(['https://evil.example', 'null', '*', 'https://app.example.org.evil', 'https://APP.example.org'])(
    'refuses %s, and never repeats it or says * to it',
    async origin => {
      await start()
      for (const answer of [
        await preflight(origin, 'DELETE', 'authorization'),
        await ask('GET', '/api/stats', { origin }),
      ]) {
        expect(answer.status).toBe(403)
        expect(answer.cors['access-control-allow-origin']).toBeUndefined()
      }
    },
  )

  it('is given the list itself, though the gate has refused all others before', async () => {
    await start()
    expect(corsOptions([LISTED])).toMatchObject({ origin: [LISTED], credentials: true })
  })

  it('answers the same to nobody as to a listed origin, but for the name', async () => {
    await start()
    expect(await ask('GET', '/api/stats')).toMatchObject({ status: 200, vary: 'Origin', cors: {} })
    const { cors } = await ask('GET', '/api/stats', { origin: 'https://second.example.org' })
    expect(cors['access-control-allow-origin']).toBe('https://second.example.org')
  })

  it('is on errors that a page is to read, also those of limits', async () => {
    await start({ origins: [LISTED], exempt: [], limits: { requestsPerSecondPerAddress: 1 } })
    for (let i = 0; i < 2; i++) await ask('POST', '/topics/a')
    expect(await ask('POST', '/topics/a', { origin: LISTED })).toMatchObject({
      status: 429,
      cors: { 'access-control-allow-origin': LISTED },
    })
  })

  it.each([
    '/topics/a',
    '/events',
    '/connection/websocket',
    '/api/stats',
    '/api/topics/a/policy',
    '/api/tickets',
    '/metrics',
    '/health/live',
    '/@connections/a',
    '/no/such/path',
    '/api/none',
  ])('OPTIONS answers as without a list, and a preflight has that answer too: %s', async url => {
    await start({})
    const without = await app.inject({ method: 'OPTIONS', url })
    expect([without.statusCode, without.headers.allow]).toEqual(
      url.includes('no') ? [404, undefined] : [204, expect.stringContaining('OPTIONS')],
    )
    await app.close()
    await start()
    const preflight = { origin: LISTED, 'access-control-request-method': 'GET' }
    for (const headers of [{}, { origin: LISTED }, { 'access-control-request-method': 'GET' }, preflight]) {
      const answer = await app.inject({ method: 'OPTIONS', url, headers })
      expect([answer.statusCode, answer.headers.allow, answer.body]).toEqual([
        ...[without.statusCode, without.headers.allow, without.body],
      ])
      expect(answer.headers['access-control-allow-origin']).toBe('origin' in headers ? LISTED : undefined)
    }
  })

  it('is not there without a list: OPTIONS names the methods and lets no page in', async () => {
    await start({})
    expect(await ask('OPTIONS', '/api/stats', { 'access-control-request-method': 'GET' })).toMatchObject({
      status: 204,
      cors: {},
    })
    expect((await ask('GET', '/api/stats', { origin: LISTED })).status).toBe(403)
  })
})

describe('headers', () => {
  it('of the API let a page do nothing with it, and of errors say what they are', async () => {
    await start()
    for (const url of ['/api/stats', '/api/clients', '/metrics', '/health/live']) {
      const { headers } = await app.inject(url)
      expect(headers).toMatchObject({
        'content-security-policy': expect.stringMatching(/^default-src 'self';.*frame-ancestors 'none'$/),
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'x-frame-options': 'DENY',
        'cross-origin-resource-policy': 'same-origin',
      })
      expect(headers['strict-transport-security']).toBeUndefined()
    }
    const wrong = await app.inject({ method: 'POST', url: '/topics/..%2f', payload: 'x' })
    expect([wrong.statusCode, wrong.headers['x-content-type-options']]).toEqual([400, 'nosniff'])
  })
})

describe('in the configuration', () => {
  const origins =
    (...list: string[]) =>
    () =>
      loadConfig({ env: {}, flags: { origins: list } }).origins
  const hosts =
    (...list: string[]) =>
    () =>
      loadConfig({ env: {}, flags: { hosts: list } }).hosts

  it.each([
    '*',
    'null',
    'example.org',
    'https://example.org/',
    'https://Example.org',
    'https://example.org:443',
    'https://*.example.org',
    'https://a b',
    '',
  ])('the origin %j is refused', async text => {
    await start()
    expect(origins(text)).toThrow(/origins.*such as https:\/\/example\.org/)
  })

  it('origins and hosts that are right are taken', async () => {
    await start()
    const list = ['https://example.org', 'http://localhost:3000', 'http://[::1]:80', 'chrome-extension://abc']
    expect(() => origins('http://[::1]:80')()).toThrow('origins')
    expect(origins(...list.filter(each => !each.includes('[')))()).toHaveLength(3)
    expect(hosts('Hub.Example.org', '10.0.0.7', '*')()).toEqual(['hub.example.org', '10.0.0.7', '*'])
    for (const wrong of ['https://hub.example.org', 'hub.example.org:8000', 'a/b', ''])
      expect(hosts(wrong)).toThrow('hosts')
  })

  it('networks are read as such', async () => {
    await start()
    const config = (flags: object) => () => loadConfig({ env: {}, flags: { ...flags } })
    expect(config({ trustedProxies: ['10.0.0.0/8', '::1'] })().trustedProxies).toHaveLength(2)
    expect(config({ trustedProxies: ['loopback'] })).toThrow(/trustedProxies.*neither an address nor a CIDR/)
    expect(config({ limits: { exempt: ['10.0.0.0/33'] } })).toThrow(/limits.exempt/)
  })
})
