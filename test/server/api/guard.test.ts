import Fastify, { type FastifyInstance, type RouteOptions } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { HubError } from '../../../src/core/errors.ts'
import type { SessionManager } from '../../../src/core/sessions.ts'
import { createHub } from '../../../src/hub.ts'
import { AdminGuard, type KeyRing } from '../../../src/server/api/guard.ts'
import { errorHandler } from '../../../src/server/errors.ts'
import { hubline, hublineOperators } from '../../../src/server/fastify.ts'
import type { KeyScope } from '../../../src/sessions/api-keys.ts'
import { TopicRules } from '../../../src/topics/registry.ts'

const KEYS: Record<string, KeyScope[]> = {
  'the-admins-key': ['admin'],
  'the-backends-key': ['publish'],
  'the-readers-key': ['read'],
  'prometheus-key': ['metrics'],
  'no-scope': [],
}
const apiKeys: KeyRing = {
  size: 5,
  verify: key => (Object.hasOwn(KEYS, key) ? { name: `name of ${key}`, scopes: KEYS[key]! } : undefined),
}
const CLIENT_TOKEN = 'header.of-a-client.signature'
const sessions: SessionManager = {
  authenticate: ({ token, headers }) => {
    if (token === CLIENT_TOKEN || headers?.authorization === `Bearer ${CLIENT_TOKEN}`) return { user: 'ada' }
    throw new HubError('UNAUTHENTICATED', 'token: refused', { reason: 'signature' })
  },
  authorize: () => true,
}

const apps: FastifyInstance[] = []
afterEach(async () => {
  for (const app of apps.splice(0)) await app.close()
})

interface Table {
  readonly app: FastifyInstance
  /** Every route that was registered, whoever did. */
  readonly routes: { method: string; url: string; access: string | undefined }[]
  /** Those that say which methods a path has, and nothing else. */
  readonly answers: Table['routes']
}

/** An app with a hub, and its route table. */
async function build(register: (app: FastifyInstance) => Promise<void>): Promise<Table> {
  const app = Fastify({ exposeHeadRoutes: false })
  app.setErrorHandler(errorHandler(1000))
  apps.push(app)
  const routes: Table['routes'] = []
  const answers: Table['routes'] = []
  app.addHook('onRoute', ({ method, url, config }: RouteOptions) => {
    const known = config?.methodsOnly ? answers : routes
    for (const each of [method].flat()) known.push({ method: each, url, access: config?.access })
  })
  await register(app)
  await app.ready()
  return { app, routes, answers }
}

const whole = (options: object = {}) =>
  build(async app => {
    const topicRules = new TopicRules({})
    const hub = createHub({ topics: topicRules })
    // Wrong keys are counted, and too many of them are another answer.
    const edge = { limits: { failedLoginsPerSecondPerAddress: 0 } }
    const given = Object.entries({ hub, topicRules, apiKeys, sessions, edge, ...options })
    const said = Object.fromEntries(given.filter(([, value]) => value !== undefined))
    await app.register(hubline, { hub, ...said })
  })

/** What clients and probes call: everything else is for operators and backends. */
const PUBLIC = ['/topics/*', '/events', '/connection/websocket', '/health/live', '/health/ready', '/api/tickets']
/** Files of the package, the same for everybody. */
const OPEN = ['/api/docs', '/api/docs/page.js', '/api/docs/page.css', '/api/docs/icon.svg']
/** What a key of the scope publish may do. */
const BACKENDS = [
  'GET /api/clients/:id/active',
  'HEAD /api/clients/:id/active',
  'POST /api/clients/:id/send',
  'POST /api/users/:user/send',
  'POST /api/broadcast',
  'POST /api/publish',
  'POST /@connections/:id',
  'POST /:stage/@connections/:id',
]

async function ask({ app }: Table, { method, url }: { method: string; url: string }, headers: Record<string, string>) {
  const path = url.replaceAll(/:\w+|\*/g, 'nobody')
  const { statusCode, headers: answered, body } = await app.inject({ method: method as 'GET', url: path, headers })
  return { status: statusCode, headers: answered, body }
}
const guardedBy = ({ routes }: Table) => routes.filter(({ url }) => !PUBLIC.includes(url) && !OPEN.includes(url))
const bearer = (key: string) => ({ authorization: `Bearer ${key}` })

describe('the routes of operators and backends', () => {
  it('G1: are found in the route table: each asks for a key, and answers 401, 401 and 403', async () => {
    const table = await whole()
    const guarded = guardedBy(table)
    expect(guarded.length).toBeGreaterThan(35)
    for (const route of guarded) {
      const name = `${route.method} ${route.url}`
      const statuses = [
        (await ask(table, route, {})).status,
        (await ask(table, route, bearer('nobodys-key'))).status,
        (await ask(table, route, bearer(CLIENT_TOKEN))).status,
        (await ask(table, route, bearer('no-scope'))).status,
      ]
      expect([name, ...statuses]).toEqual([name, 401, 401, 403, 403])
      const scoped = (await ask(table, route, bearer('the-backends-key'))).status
      expect([name, scoped === 403]).toEqual([name, !BACKENDS.includes(name)])
    }
    expect(guarded.map(({ method, url }) => `${method} ${url}`)).toEqual(expect.arrayContaining(BACKENDS))
  })

  it('let a key of the scope read read everything and change nothing', async () => {
    const table = await whole()
    for (const route of guardedBy(table)) {
      const name = `${route.method} ${route.url}`
      const opens = (await ask(table, route, bearer('the-readers-key'))).status !== 403
      expect([name, opens]).toEqual([name, ['GET', 'HEAD'].includes(route.method) && !BACKENDS.includes(name)])
    }
  })

  it('let a key of the scope metrics read the metrics alone', async () => {
    const table = await whole()
    const open = []
    for (const route of guardedBy(table)) {
      if ((await ask(table, route, bearer('prometheus-key'))).status !== 403) open.push(`${route.method} ${route.url}`)
    }
    expect(open.sort()).toEqual(['GET /api/metrics', 'GET /metrics', 'HEAD /api/metrics', 'HEAD /metrics'])
  })

  it('let an admin in', async () => {
    const table = await whole()
    for (const url of ['/api/stats', '/api/clients', '/metrics', '/api/openapi.json']) {
      expect([url, (await ask(table, { method: 'GET', url }, bearer('the-admins-key'))).status]).toEqual([url, 200])
    }
  })

  it('tell everybody which methods a path has, and nothing else', async () => {
    const table = await whole()
    expect(table.answers.length).toBeGreaterThan(100)
    for (const route of table.answers.filter(({ url }) => url.startsWith('/api'))) {
      const answer = await ask(table, route, {})
      expect([route, answer.status]).toEqual([route, route.method === 'OPTIONS' ? 204 : 405])
    }
  })

  it('are closed where somebody adds one and says nothing of it', async () => {
    const table = await build(async app => {
      new AdminGuard(apiKeys, sessions, { checkLogins() {}, loginFailed() {} }).protect(app)
      app.get('/anything/new', () => 'secret')
    })
    const route = { method: 'GET', url: '/anything/new' }
    expect((await ask(table, route, {})).status).toBe(401)
    expect((await ask(table, route, bearer('the-backends-key'))).status).toBe(403)
    expect((await ask(table, route, bearer('the-admins-key'))).status).toBe(200)
    // Only these say that they need none.
    const { routes } = await whole()
    const unguarded = routes.filter(({ access }) => access === 'open' || access === 'session')
    expect([...new Set(unguarded.map(({ url }) => url))].sort()).toEqual([...OPEN, '/api/tickets'].sort())
  })

  it('say nothing of the key, and how to bring one', async () => {
    const table = await whole()
    const route = { method: 'GET', url: '/api/stats' }
    const none = await ask(table, route, {})
    expect([none.headers['www-authenticate'], JSON.parse(none.body).error]).toEqual([
      'Bearer',
      { code: 'UNAUTHENTICATED', reason: 'missing', message: expect.stringContaining('Bearer <key>') },
    ])
    for (const wrong of [
      bearer('nobodys-key'),
      { authorization: 'Basic bm9ib2R5cy1rZXk=' },
      bearer('k'.repeat(2000)),
    ]) {
      const { status, body } = await ask(table, route, wrong)
      expect([status, body.includes('nobodys-key'), body.includes('kkk')]).toEqual([401, false, false])
    }
    expect((await ask(table, route, { 'x-api-key': 'the-admins-key' })).status).toBe(200)
    // AWS's SDKs sign in the one header, and have the key in the other.
    expect(
      (await ask(table, route, { 'x-api-key': 'the-admins-key', authorization: 'AWS4-HMAC-SHA256 x' })).status,
    ).toBe(200)
  })

  it('are answered before their body is looked at', async () => {
    const { app } = await whole()
    const { statusCode } = await app.inject({
      method: 'POST',
      url: '/api/publish',
      headers: { 'content-type': 'text/plain' },
      payload: 'x'.repeat(100_000),
    })
    expect(statusCode).toBe(401)
  })

  it('answer 429 to whoever goes on guessing, whatever the key', async () => {
    const table = await whole({ edge: { limits: { failedLoginsPerSecondPerAddress: 3 } } })
    const route = { method: 'GET', url: '/api/stats' }
    const statuses = []
    for (let guess = 0; guess < 20; guess++) statuses.push((await ask(table, route, bearer(`guess-${guess}`))).status)
    expect([statuses[0], statuses.at(-1)]).toEqual([401, 429])
    expect((await ask(table, route, bearer('the-admins-key'))).status).toBe(429)
    expect((await ask(table, { method: 'GET', url: '/health/ready' }, {})).status).toBe(200)
  })

  it('are open where there are no keys', async () => {
    const table = await whole({ apiKeys: undefined, sessions: undefined })
    for (const url of ['/api/stats', '/metrics']) {
      expect((await ask(table, { method: 'GET', url }, {})).status).toBe(200)
    }
  })

  it('are closed where clients have to log in and nobody has a key: a proxy may stand before them', async () => {
    const table = await whole({ apiKeys: undefined })
    expect((await ask(table, { method: 'GET', url: '/api/stats' }, {})).status).toBe(401)
    expect((await ask(table, { method: 'GET', url: '/api/stats' }, bearer(CLIENT_TOKEN))).status).toBe(403)
  })

  it('ask a client for its own token where it gets a ticket', async () => {
    const table = await whole()
    const route = { method: 'POST', url: '/api/tickets' }
    expect((await ask(table, route, {})).status).toBe(401)
    expect((await ask(table, route, bearer('nobodys-key'))).status).toBe(401)
    expect((await ask(table, route, bearer(CLIENT_TOKEN))).status).toBe(201)
  })

  it('leave probes and clients alone', async () => {
    const table = await whole()
    for (const url of ['/health/live', '/health/ready']) {
      expect((await ask(table, { method: 'GET', url }, {})).status).toBe(200)
    }
    expect((await ask(table, { method: 'POST', url: '/topics/*' }, bearer(CLIENT_TOKEN))).status).toBe(202)
  })
})

describe('an app of their own', () => {
  it('has them, and the public one has not', async () => {
    const topicRules = new TopicRules({})
    const hub = createHub({ topics: topicRules })
    const open = await build(async app => {
      await app.register(hubline, { hub, topicRules, apiKeys, sessions, operators: false })
    })
    const own = await build(async app => {
      await app.register(hublineOperators, { context: open.app.hubContext })
    })
    expect([...new Set(open.routes.map(({ url }) => url))].sort()).toEqual([...PUBLIC].sort())
    const whose = await whole()
    const missing = whose.routes.filter(
      ({ method, url }) =>
        !PUBLIC.includes(url) && !own.routes.some(each => each.method === method && each.url === url),
    )
    expect(missing).toEqual([])
    const route = { method: 'GET', url: '/api/stats' }
    expect((await ask(open, route, bearer('the-admins-key'))).status).toBe(404)
    expect((await ask(own, route, bearer('the-admins-key'))).status).toBe(200)
    expect((await ask(own, route, {})).status).toBe(401)
    expect((await ask(own, { method: 'GET', url: '/health/ready' }, {})).status).toBe(200)
  })
})
