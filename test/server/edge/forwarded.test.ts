import fc from 'fast-check'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { SessionManager } from '../../../src/core/sessions.ts'
import { createHub } from '../../../src/hub.ts'
import type { KeyRing } from '../../../src/server/api/guard.ts'
import type { EdgeOptions } from '../../../src/server/edge/edge.ts'
import { normalizeForwarded } from '../../../src/server/edge/forwarded.ts'
import { hubline } from '../../../src/server/fastify.ts'
import { runs } from '../../property-runs.ts'
import { rawRequest, upgradeRequest } from '../raw-request.ts'
import { startTestServer, type TestServer } from '../test-server.ts'

let app: FastifyInstance | undefined
let server: TestServer | undefined
afterEach(async () => {
  await app?.close()
  await server?.close()
  app = undefined
  server = undefined
})

const forwarded = (said: string) => {
  const headers = { 'x-forwarded-for': said }
  const strange = normalizeForwarded(headers)
  return [headers['x-forwarded-for'], strange]
}

describe('X-Forwarded-For', () => {
  it.each([
    ['1.2.3.4:5', '1.2.3.4'],
    ['1.2.3.4', '1.2.3.4'],
    ['[2001:db8::1]:443', '2001:db8::1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['"[2001:db8::1]:443"', '2001:db8::1'],
    ['2001:db8::1', '2001:db8::1'],
    ['::ffff:1.2.3.4', '::ffff:1.2.3.4'],
    ['9.9.9.9:1, [::1]:2 ,1.2.3.4:65535', '9.9.9.9, ::1, 1.2.3.4'],
    ['unknown, 1.2.3.4:5', '1.2.3.4'],
    ['1.1.1.1, _hidden, 1.2.3.4', '1.2.3.4'],
  ])('%s is %s', (said, read) => {
    expect(forwarded(said)).toEqual([read, false])
  })

  it.each([
    'unknown',
    '',
    '1.2.3.4, unknown',
    '1.2.3',
    '1.2.3.4:',
    '1.2.3.4:123456',
    '999.1.1.1:5',
    '[1.2.3.4',
    'evil.example',
  ])('%j ends with what is no address: the proxy itself is the peer', said => {
    expect(forwarded(said)).toEqual([undefined, true])
  })

  it('is the same address whatever the port, for all addresses and ports', () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(65_535), (address, port) => {
        const written = address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
        expect(forwarded(`1.1.1.1, ${written}`)).toEqual([`1.1.1.1, ${address}`, false])
      }),
      runs(100),
    )
  })
})

async function start(edge: EdgeOptions, warn = vi.fn()) {
  app = Fastify({ trustProxy: [...(edge.trustedProxies ?? [])] })
  app.log.warn = warn
  app.addHook('onRequest', async request => {
    request.log.warn = warn
  })
  await app.register(hubline, { hub: createHub(), edge })
  return app
}

const publish = (said: string, remoteAddress = '10.0.0.1') =>
  app!.inject({ method: 'POST', url: '/topics/a', payload: 'x', remoteAddress, headers: { 'x-forwarded-for': said } })

describe('limits by address, behind a trusted proxy', () => {
  const limits = { requestsPerSecondPerAddress: 1 }

  it.each([(n: number) => `198.51.100.14:${1000 + n}`, (n: number) => `[2001:db8::1]:${1000 + n}`])(
    'count one address as one, whatever the port it comes from',
    async say => {
      await start({ limits, trustedProxies: ['10.0.0.1'], exempt: [] })
      const statuses = []
      for (let n = 0; n < 10; n++) statuses.push((await publish(say(n))).statusCode)
      expect(statuses.filter(status => status === 202)).toHaveLength(2)
      expect(statuses.filter(status => status === 429)).toHaveLength(8)
    },
  )

  it('count what is no address as the proxy, and say so once', async () => {
    const warn = vi.fn()
    await start({ limits, trustedProxies: ['10.0.0.1'], exempt: [] }, warn)
    const statuses = []
    for (const said of ['unknown', 'a', 'b', '_c', '']) statuses.push((await publish(said)).statusCode)
    expect(statuses).toEqual([202, 202, 429, 429, 429])
    expect(warn.mock.calls.filter(([, text]) => String(text).includes('x-forwarded-for'))).toHaveLength(1)
  })

  it('do not hear of it from a peer that is no proxy', async () => {
    const warn = vi.fn()
    await start({ limits, trustedProxies: ['10.0.0.1'], exempt: [] }, warn)
    for (let n = 0; n < 3; n++) await publish('unknown', '203.0.113.1')
    expect(warn.mock.calls.flat().filter(text => String(text).includes('x-forwarded-for'))).toEqual([])
  })
})

describe('in an app that trusts a proxy itself', () => {
  it.each([
    ['1.2.3.4:5678', '1.2.3.4'],
    ['[2001:db8::1]:443', '2001:db8::1'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['9.9.9.9, 1.2.3.4:5', '1.2.3.4'],
    ['unknown', '127.0.0.1'],
    ['1.2.3.4, unknown', '127.0.0.1'],
    ['', '127.0.0.1'],
  ])('the address of a session and of a login that failed has no port and no brackets: %j', async (said, address) => {
    const told: unknown[] = []
    const sessions: SessionManager = {
      authenticate: ({ address }) => {
        told.push(address)
        return {}
      },
      authorize: () => true,
    }
    const keys: KeyRing = { size: 1, verify: () => undefined }
    app = Fastify({ trustProxy: '127.0.0.1' })
    await app.register(hubline, { hub: createHub(), sessions, apiKeys: keys })
    const headers = { 'x-forwarded-for': said }
    const post = { method: 'POST', url: '/topics/a', payload: 'x', headers } as const
    expect((await app.inject(post)).statusCode).toBe(202)
    const authorization = 'Bearer a.b.c'
    expect((await app.inject({ url: '/api/stats', headers: { ...headers, authorization } })).statusCode).toBe(403)
    expect(told).toEqual([address, address])
  })

  it.each(['1.2.3.4:1', 'unknown'])('logins that fail count for it, whatever the port: %s', async said => {
    const keys: KeyRing = { size: 1, verify: () => undefined }
    app = Fastify({ trustProxy: '127.0.0.1' })
    const edge = { limits: { failedLoginsPerSecondPerAddress: 1 } }
    await app.register(hubline, { hub: createHub(), apiKeys: keys, edge })
    const statuses: number[] = []
    for (let n = 0; n < 9; n++) {
      const headers = { authorization: 'Bearer wrong', 'x-forwarded-for': said.replace(/1$/, `${n + 1}`) }
      statuses.push((await app.inject({ url: '/api/stats', headers })).statusCode)
    }
    expect(statuses).toContain(429)
  })

  it.each(['unknown', 'unknown, 127.0.0.1', '1.2.3.4:5', '127.0.0.1, _hidden', ''])(
    'a request is not local where the proxy does not say that: %j',
    async said => {
      app = Fastify({ trustProxy: '127.0.0.1' })
      await app.register(hubline, { hub: createHub() })
      const status = async (value: string) =>
        (await app!.inject({ url: '/api/stats', headers: { 'x-forwarded-for': value } })).statusCode
      expect([await status('127.0.0.1:5'), await status(said)]).toEqual([200, 403])
    },
  )
})

describe('the same origin', () => {
  const open = async (headers: Record<string, string>, hosts = ['hub.example.org']) => {
    server = await startTestServer({ hosts, trustedProxies: ['127.0.0.1'] })
    return (await rawRequest(server.url, upgradeRequest('/topics/a', headers))).status
  }

  it.each([
    ['wss', 'https'],
    ['WSS', 'https'],
    ['HTTPS', 'https'],
    ['ws', 'http'],
    ['https', 'https'],
    ['http, wss', 'https'],
  ])('is read from X-Forwarded-Proto: %s as %s', async (said, scheme) => {
    const headers = { Host: 'hub.example.org', 'X-Forwarded-Proto': said, Origin: `${scheme}://hub.example.org` }
    expect(await open(headers)).toBe(101)
  })

  it.each([
    ['https, http', '203.0.113.1, 10.0.0.2', 'https'],
    ['http, https, http', '203.0.113.1, 10.0.0.2', 'https'],
    ['https', '203.0.113.1, 10.0.0.2', 'https'],
    ['https, http', '203.0.113.1', 'http'],
    ['https, http', '203.0.113.1, 203.0.113.2', 'http'],
    ['wss, ws', '203.0.113.1, 10.0.0.2, 10.0.0.3', 'https'],
  ])('is what the farthest trusted proxy wrote, as the address is: %s for %s is %s', async (said, address, scheme) => {
    await start({ trustedProxies: ['10.0.0.0/8'] })
    for (const each of ['https', 'http']) {
      const answer = await app!.inject({
        ...{ url: '/topics/a?describe', remoteAddress: '10.0.0.1' },
        headers: {
          ...{ host: 'hub.example.org', origin: `${each}://hub.example.org` },
          ...{ 'x-forwarded-proto': said, 'x-forwarded-for': address },
        },
      })
      expect([each, answer.statusCode]).toEqual([each, each === scheme ? 200 : 403])
    }
  })

  it.each([
    ['hub.example.org:443', 'https://hub.example.org'],
    ['hub.example.org', 'https://hub.example.org'],
    ['hub.example.org.', 'https://hub.example.org'],
    ['hub.example.org', 'https://hub.example.org.'],
    ['hub.example.org:', 'https://hub.example.org'],
    ['hub.example.org:8443', 'https://hub.example.org:8443'],
  ])('is read from X-Forwarded-Host: %s as %s', async (host, origin) => {
    const headers = { Host: 'localhost', 'X-Forwarded-Host': host, 'X-Forwarded-Proto': 'wss', Origin: origin }
    expect(await open(headers)).toBe(101)
  })

  it.each([
    ['wss', 'http://hub.example.org'],
    ['wss', 'https://hub.example.org.evil'],
    ['wss', 'https://hub.example.org..'],
    ['ftp', 'https://hub.example.org'],
  ])('is not another: %s and %s', async (said, origin) => {
    expect(await open({ Host: 'hub.example.org', 'X-Forwarded-Proto': said, Origin: origin })).toBe(403)
  })
})

describe('Host', () => {
  const status = async (target: string, host: string) => {
    server ??= await startTestServer({ hosts: ['hub.example.org'] })
    return (await rawRequest(server.url, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)).status
  }

  it.each(['localhost.', 'hub.example.org.', 'HUB.example.org.:8000', 'hub.example.org:', 'localhost:'])(
    '%s is as good as without the dot or the colon',
    async host => expect(await status('/health/live', host)).toBe(200),
  )

  it.each(['.', 'hub.example.org..', 'evil.example.', ':', '.:80'])('%s is refused', async host => {
    expect(await status('/health/live', host)).toBe(421)
  })

  it('is not asked where the target names the host itself', async () => {
    expect(await status('http://evil.example/health/live', 'localhost')).toBe(421)
    expect(await status('http://hub.example.org/health/live', 'localhost')).toBe(200)
    expect(await status('HTTP://localhost:80/health/live', 'evil.example')).toBe(200)
    expect(await status('http://localhost@evil.example/health/live', 'localhost')).toBe(400)
  })
})
