import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { HubError } from '../../../src/core/errors.ts'
import type { RefusalReason, SessionManager } from '../../../src/core/sessions.ts'
import { createHub } from '../../../src/hub.ts'
import type { EdgeOptions } from '../../../src/server/edge/edge.ts'
import { hubline } from '../../../src/server/fastify.ts'
import { ManualScheduler } from '../../../src/testing/index.ts'

const STRANGER = '203.0.113.9'
const OTHER = '198.51.100.2'

let app: FastifyInstance
let time: ManualScheduler
afterEach(() => app.close())

/** An app whose clock stands still. Nothing of it listens. */
async function start(edge: EdgeOptions = {}, sessions?: SessionManager): Promise<void> {
  time = new ManualScheduler()
  app = Fastify({ trustProxy: [...(edge.trustedProxies ?? [])] })
  await app.register(hubline, { hub: createHub({ scheduler: time }), open: true, edge, ...(sessions && { sessions }) })
  await app.ready()
}

interface Asked {
  readonly method?: 'GET' | 'POST' | 'DELETE'
  readonly path?: string
  readonly from?: string
  readonly headers?: Record<string, string>
}

async function ask({ method = 'POST', path = '/topics/a', from = STRANGER, headers = {} }: Asked = {}) {
  const payload = method === 'POST' ? { payload: 'x' } : {}
  const answer = await app.inject({ method, url: path, remoteAddress: from, headers, ...payload })
  return { status: answer.statusCode, headers: answer.headers, body: answer.body }
}

/** How many of so many requests were answered how. */
async function statuses(count: number, asked: Asked = {}): Promise<Record<number, number>> {
  const tally: Record<number, number> = {}
  for (let i = 0; i < count; i++) {
    const { status } = await ask(asked)
    tally[status] = (tally[status] ?? 0) + 1
  }
  return tally
}

const refused = () => Object.entries(app.hubContext.edge.refused).filter(([, count]) => count > 0)

describe('requests that change something', () => {
  const limits = { requestsPerSecondPerAddress: 5 }

  it('are limited by address: two seconds’ worth at once, then as fast as it may', async () => {
    await start({ limits })
    expect(await statuses(12)).toEqual({ 202: 10, 429: 2 })
    expect(await statuses(1, { from: OTHER })).toEqual({ 202: 1 })
    time.advance(400)
    expect(await statuses(3)).toEqual({ 202: 2, 429: 1 })
    const { headers, body } = await ask()
    expect(headers['retry-after']).toBe('1')
    expect(JSON.parse(body)).toEqual({
      error: {
        code: 'RATE_LIMITED',
        message:
          'limits.requestsPerSecondPerAddress: there are more than 5 requests of one address a second; wait 200 ms, or raise it',
      },
    })
    expect(refused()).toEqual([['requestsPerSecondPerAddress', 4]])
  })

  it('are all that is no GET, on any route', async () => {
    await start({ limits })
    await statuses(10)
    for (const path of ['/api/clients', '/api/broadcast', '/@connections/x', '/api/clients/x/send', '/topics/b']) {
      expect([path, (await ask({ path })).status]).toEqual([path, 429])
    }
    expect((await ask({ method: 'DELETE', path: '/api/clients/x' })).status).toBe(429)
    expect((await ask({ method: 'GET', path: '/api/stats' })).status).toBe(200)
  })

  it('of one IPv6 household count together', async () => {
    await start({ limits })
    await statuses(10, { from: '2001:db8:1:2::a' })
    expect(await statuses(1, { from: '2001:db8:1:2:ffff::b' })).toEqual({ 429: 1 })
    expect(await statuses(1, { from: '2001:db8:1:3::a' })).toEqual({ 202: 1 })
  })

  it('of an address that is exempt are not counted; loopback is one of those', async () => {
    await start({ limits })
    expect(await statuses(30, { from: '127.0.0.1' })).toEqual({ 202: 30 })
    await app.close()
    await start({ limits, exempt: [STRANGER] })
    expect(await statuses(30)).toEqual({ 202: 30 })
    expect(await statuses(12, { from: '127.0.0.1' })).toEqual({ 202: 10, 429: 2 })
  })

  it('are limited anew, live', async () => {
    await start({ limits })
    await statuses(10)
    app.hubContext.edge.set({ requestsPerSecondPerAddress: 1 })
    expect(await statuses(5)).toEqual({ 202: 2, 429: 3 })
    app.hubContext.edge.set({ requestsPerSecondPerAddress: 0 })
    expect(await statuses(50)).toEqual({ 202: 50 })
  })

  it('leave nothing behind', async () => {
    await start({ limits })
    for (let i = 1; i <= 200; i++) await ask({ from: `198.51.100.${i}` })
    expect(app.hubContext.edge.addresses).toBe(200)
    time.advance(2000)
    expect(app.hubContext.edge.addresses).toBe(0)
  })
})

describe('F14: X-Forwarded-For', () => {
  const limits = { requestsPerSecondPerAddress: 1 }
  const by = (forwarded: string, from: string): Asked => ({ from, headers: { 'x-forwarded-for': forwarded } })

  it('of a stranger counts nothing', async () => {
    await start({ limits, trustedProxies: ['10.0.0.1'] })
    for (let i = 0; i < 2; i++) expect((await ask(by(`198.51.100.${i}`, STRANGER))).status).toBe(202)
    expect((await ask(by('198.51.100.3', STRANGER))).status).toBe(429)
  })

  it('counts as far as trusted hops say it', async () => {
    await start({ limits, trustedProxies: ['10.0.0.0/24'] })
    expect(await statuses(3, by(STRANGER, '10.0.0.1'))).toEqual({ 202: 2, 429: 1 })
    expect(await statuses(1, by(OTHER, '10.0.0.1'))).toEqual({ 202: 1 })
    // What the stranger wrote itself stands before what the first trusted hop appended.
    expect(await statuses(1, by(`192.0.2.77, ${STRANGER}, 10.0.0.2`, '10.0.0.1'))).toEqual({ 429: 1 })
  })

  it('is nothing where no proxy is trusted', async () => {
    await start({ limits })
    expect(await statuses(2, by(OTHER, STRANGER))).toEqual({ 202: 2 })
    expect(await statuses(1, by('192.0.2.1', STRANGER))).toEqual({ 429: 1 })
  })

  it('does not make another Host or Origin ours', async () => {
    await start({ hosts: ['hub.example.org'], trustedProxies: ['10.0.0.1'] })
    const call = async (from: string, headers: Record<string, string>) => (await ask({ from, headers })).status
    const forwarded = { 'x-forwarded-host': 'hub.example.org', 'x-forwarded-proto': 'https' }
    const origin = 'https://hub.example.org'
    expect(await call('10.0.0.1', { host: 'localhost', origin, ...forwarded })).toBe(202)
    expect(await call(STRANGER, { host: 'localhost', origin, ...forwarded })).toBe(403)
    expect(await call('10.0.0.1', { host: 'evil.example', ...forwarded })).toBe(421)
    expect(await call('10.0.0.1', { host: 'localhost', 'x-forwarded-host': 'evil.example' })).toBe(421)
  })
})

describe('handshakes', () => {
  const OPENING: Asked = { method: 'GET', path: '/topics/..%2f' }

  it('are limited by address, whatever comes of them', async () => {
    await start({ limits: { handshakesPerSecondPerAddress: 2 } })
    expect(await statuses(12, OPENING)).toEqual({ 400: 10, 429: 2 })
    expect(await statuses(1, { ...OPENING, path: '/events' })).toEqual({ 429: 1 })
    expect(await statuses(1, { ...OPENING, path: '/connection/websocket' })).toEqual({ 429: 1 })
    expect(await statuses(1, { ...OPENING, from: OTHER })).toEqual({ 400: 1 })
    expect(refused()).toEqual([['handshakesPerSecondPerAddress', 4]])
  })

  it('are limited for all together, loopback as well', async () => {
    await start({ limits: { handshakesPerSecond: 2 } })
    expect(await statuses(2, OPENING)).toEqual({ 400: 2 })
    expect(await statuses(3, { ...OPENING, from: '127.0.0.1' })).toEqual({ 400: 2, 429: 1 })
    expect(refused()).toEqual([['handshakesPerSecond', 1]])
    time.advance(500)
    expect(await statuses(2, { ...OPENING, from: OTHER })).toEqual({ 400: 1, 429: 1 })
  })
})

describe('F14: logins', () => {
  const asked: (string | undefined)[] = []
  /** Takes the token `right`; any other is refused for the reason that it names. */
  const refusing = (later: boolean): SessionManager => ({
    authenticate({ headers, address }) {
      asked.push(address)
      const token = String(headers?.authorization)
      const refusal = new HubError('UNAUTHENTICATED', 'token: no', { reason: token as RefusalReason })
      if (token === 'right') return {}
      if (later) return Promise.reject(refusal)
      throw refusal
    },
    authorize: () => true,
  })
  const login = (token: string, from = STRANGER, more = {}): Asked => ({
    from,
    headers: { authorization: token, ...more },
  })

  it.each([false, true])('that fail 100 times a second are answered 429, later: %s', async later => {
    await start({}, refusing(later))
    asked.length = 0
    expect(await statuses(100, login('signature'))).toEqual({ 401: 20, 429: 80 })
    expect(asked).toHaveLength(20)
    // Its own right token has to wait as well, or it could go on guessing.
    expect(await statuses(1, login('right'))).toEqual({ 429: 1 })
    expect(await statuses(1, login('right', OTHER))).toEqual({ 202: 1 })
    for (let i = 0; i < 20; i++) {
      expect((await ask(login('signature', STRANGER, { 'x-forwarded-for': `192.0.2.${i}` }))).status).toBe(429)
    }
    time.advance(100)
    expect(await statuses(2, login('signature'))).toEqual({ 401: 1, 429: 1 })
  })

  it('of loopback are counted as those of anybody', async () => {
    await start({}, refusing(false))
    expect(await statuses(100, login('malformed', '127.0.0.1'))).toEqual({ 401: 20, 429: 80 })
    expect(refused()).toEqual([['failedLoginsPerSecondPerAddress', 80]])
  })

  it('that guess nothing are not counted: no token, or a real one that is over', async () => {
    await start({}, refusing(false))
    for (const reason of ['missing', 'expired', 'early', 'revoked']) {
      expect(await statuses(30, login(reason))).toEqual({ 401: 30 })
    }
    expect(await statuses(1, login('right'))).toEqual({ 202: 1 })
  })

  it('of an address that are right do not count', async () => {
    await start({}, refusing(true))
    expect(await statuses(60, login('right'))).toEqual({ 202: 60 })
  })
})

describe('a limit that refused something', () => {
  it('is in the metrics, under the name of its setting and no other label', async () => {
    await start({ hosts: [], limits: { requestsPerSecondPerAddress: 1 } })
    await statuses(5)
    await ask({ headers: { origin: 'https://evil.example' } })
    await ask({ headers: { host: 'evil.example' } })
    const { body } = await ask({ method: 'GET', path: '/metrics' })
    const lines = body.split('\n').filter(line => line.startsWith('hubline_refused_total'))
    expect(lines.filter(line => !line.endsWith(' 0')).sort()).toEqual([
      'hubline_refused_total{limit="hosts"} 1',
      'hubline_refused_total{limit="origins"} 1',
      'hubline_refused_total{limit="requestsPerSecondPerAddress"} 3',
    ])
    expect(lines).toHaveLength(16)
  })
})
