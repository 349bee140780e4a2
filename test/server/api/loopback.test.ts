import Fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { createHub } from '../../../src/hub.ts'
import { type HublinePluginOptions, hubline, hublineOperators } from '../../../src/server/fastify.ts'
import { jwtSessions } from '../../../src/sessions/jwt.ts'

const apps: FastifyInstance[] = []
afterEach(async () => {
  for (const app of apps.splice(0)) await app.close()
})

interface Line {
  readonly level: number
  readonly msg: string
}

const WARN = 40

async function embed(options: Partial<HublinePluginOptions> = {}, server: FastifyServerOptions = {}) {
  const lines: Line[] = []
  const stream = { write: (line: string) => void lines.push(JSON.parse(line)) }
  const app = Fastify({ ...server, logger: { level: 'warn', stream } })
  apps.push(app)
  await app.register(hubline, { hub: createHub(), ...options })
  await app.ready()
  // Refusals have lines of their own.
  const warnings = () => lines.filter(({ level, msg }) => level === WARN && msg !== 'rejected').map(({ msg }) => msg)
  return { app, warnings }
}

type Headers = Readonly<Record<string, string>>

function ask(app: FastifyInstance, url: string, remoteAddress: string, headers: Headers = {}) {
  return app.inject({ method: 'GET', url, remoteAddress, headers })
}

const OPERATORS = ['/api/stats', '/api/clients', '/metrics', '/@connections/ada', '/prod/@connections/ada']

describe('a hub without sessions and keys', () => {
  it.each(OPERATORS)('answers %s to peers on loopback and to no other', async url => {
    const { app } = await embed()
    for (const local of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1']) {
      expect((await ask(app, url, local)).statusCode, local).not.toBe(403)
    }
    for (const remote of ['203.0.113.9', '10.0.0.3', '2001:db8::1', '::ffff:10.0.0.3', '0.0.0.0']) {
      const answer = await ask(app, url, remote)
      expect(answer.statusCode, remote).toBe(403)
      expect(answer.body).toMatch(/loopback addresses only; give it API keys .* or the plugin open: true/)
    }
  })

  it('answers no page of a DNS name that was made to resolve to loopback', async () => {
    const { app } = await embed()
    for (const host of ['localhost', 'LOCALHOST.:8000', 'app.localhost', '127.0.0.1:8000', '[::1]:8000']) {
      expect((await ask(app, '/api/stats', '127.0.0.1', { host })).statusCode, host).toBe(200)
    }
    for (const host of ['rebound.example', 'rebound.example:8000', '127.0.0.1.example', 'localhost.example']) {
      expect((await ask(app, '/api/stats', '127.0.0.1', { host })).statusCode, host).toBe(403)
    }
  })

  it('changes nothing for a stranger', async () => {
    const hub = createHub()
    const { app } = await embed({ hub })
    const posted = await app.inject({ method: 'POST', url: '/api/drain', remoteAddress: '203.0.113.9' })
    expect([posted.statusCode, hub.draining]).toEqual([403, false])
  })

  it('still lets everybody publish, subscribe and probe', async () => {
    const { app } = await embed()
    const publication = { method: 'POST', url: '/topics/news', remoteAddress: '203.0.113.9', payload: 'hello' } as const
    expect((await app.inject(publication)).statusCode).toBe(202)
    expect((await ask(app, '/health/live', '203.0.113.9')).statusCode).toBe(200)
  })

  it.each<Headers>([
    { 'x-forwarded-for': '203.0.113.9' },
    { 'x-forwarded-for': '127.0.0.1' },
    { forwarded: 'for=203.0.113.9' },
    { forwarded: 'for=127.0.0.1' },
    { 'x-real-ip': '127.0.0.1' },
    { via: '1.1 proxy' },
    { 'x-forwarded-proto': 'https' },
  ])('takes %j from loopback for a proxy that nobody trusts', async headers => {
    const { app } = await embed()
    expect((await ask(app, '/api/stats', '127.0.0.1', headers)).statusCode).toBe(403)
  })

  it.each<[Headers, number]>([
    [{ 'x-forwarded-for': '127.0.0.1' }, 200],
    [{ 'x-forwarded-for': '::1', 'x-forwarded-proto': 'https' }, 200],
    [{ 'x-forwarded-for': '127.0.0.1', forwarded: 'for="[::1]:4711"' }, 200],
    [{}, 200],
    [{ 'x-forwarded-for': '203.0.113.9' }, 403],
    // Each proxy appends: the first is what the client says of itself.
    [{ 'x-forwarded-for': '127.0.0.1, 203.0.113.9' }, 403],
    [{ 'x-forwarded-for': '203.0.113.9, 127.0.0.1' }, 403],
    [{ 'x-forwarded-for': 'nonsense' }, 403],
    [{ 'x-forwarded-for': '127.0.0.1', forwarded: 'for=203.0.113.9' }, 403],
    [{ 'x-forwarded-for': '127.0.0.1', forwarded: 'for=127.0.0.1, for=203.0.113.9' }, 403],
    [{ 'x-forwarded-for': '127.0.0.1', 'x-real-ip': '203.0.113.9' }, 403],
    [{ forwarded: 'for=127.0.0.1' }, 403],
  ])('behind a trusted proxy judges the client: %j is %i', async (headers, status) => {
    for (const trustProxy of [true, '127.0.0.1']) {
      const { app } = await embed({}, { trustProxy })
      expect((await ask(app, '/api/stats', '127.0.0.1', headers)).statusCode, String(trustProxy)).toBe(status)
    }
  })

  it('with open: true answers everybody', async () => {
    const { app, warnings } = await embed({ open: true })
    expect((await ask(app, '/api/stats', '203.0.113.9')).statusCode).toBe(200)
    expect((await ask(app, '/metrics', '127.0.0.1', { 'x-forwarded-for': '203.0.113.9' })).statusCode).toBe(200)
    expect(warnings()).toEqual([expect.stringMatching(/^open: true: whoever reaches this server/)])
  })

  it('says it once at start, unless open: false says that it is known', async () => {
    const { app, warnings } = await embed()
    await ask(app, '/api/stats', '203.0.113.9')
    await ask(app, '/api/stats', '203.0.113.9')
    expect(warnings()).toEqual([expect.stringMatching(/^there are no API keys: \/api.*give it API keys/)])
    const silent = await embed({ open: false })
    expect((await ask(silent.app, '/api/stats', '203.0.113.9')).statusCode).toBe(403)
    expect(silent.warnings()).toEqual([])
  })

  it('answers the operators of an app of their own by the same rule', async () => {
    for (const open of [undefined, true]) {
      const { app } = await embed({ operators: false, open })
      const operators = Fastify()
      apps.push(operators)
      await operators.register(hublineOperators, { context: app.hubContext })
      expect((await ask(app, '/api/stats', '127.0.0.1')).statusCode).toBe(404)
      expect((await ask(operators, '/api/stats', '127.0.0.1')).statusCode).toBe(200)
      expect((await ask(operators, '/api/stats', '203.0.113.9')).statusCode).toBe(open ? 200 : 403)
    }
  })
})

describe('with sessions and without keys', () => {
  it('nobody has a key, and open: true changes nothing', async () => {
    const sessions = jwtSessions({
      secret: 'k3wq09uVfE2nG7sX1hT5bYzR8mLpJ4aD',
      algorithms: ['HS256'],
      issuer: 'a',
      audience: 'b',
    })
    const { app, warnings } = await embed({ sessions, open: true })
    expect((await ask(app, '/api/stats', '127.0.0.1')).statusCode).toBe(401)
    expect(warnings()).toEqual([])
  })
})

describe('the options of the plugin', () => {
  const hub = createHub()
  it.each<[Readonly<Record<string, unknown>>, string]>([
    [{ hub, pingMs: 1 }, 'hubline: pingMs must be a number from 100 to 2147483647, got 1'],
    [{ hub, pongMs: 99 }, 'hubline: pongMs must be a number from 100 to 2147483647, got 99'],
    [{ hub, session: {} }, 'hubline: unknown option "session": did you mean "sessions"?'],
    [{ hub, apiKey: [] }, 'hubline: unknown option "apiKey": did you mean "apiKeys"?'],
    [{}, 'hubline: hub must be a hub, got undefined; make one with createHub()'],
    [{ hub: {} }, 'hubline: hub must be a hub with the methods publish, registerClient, shutdown, got an object'],
    [{ hub, sessions: undefined }, 'hubline: sessions must not be undefined; leave it out for a hub without logins'],
    [{ hub, apiKeys: undefined }, 'hubline: apiKeys must not be undefined; leave it out for a hub without logins'],
    [{ hub, sessions: {} }, 'hubline: sessions must be a session manager with the methods authenticate, authorize'],
    [{ hub, apiKeys: ['k'] }, 'hubline: apiKeys must be API keys, as new ApiKeys([...]) with the methods verify'],
    [{ hub, open: 'yes' }, 'hubline: open must be true or false, got "yes"'],
    [{ hub, pingMs: 0 }, 'hubline: pingMs must be a number from 100 to 2147483647, got 0'],
    [{ hub, edge: { host: ['a'] } }, 'hubline: edge: unknown option "host": did you mean "hosts"?'],
    [{ hub, edge: { limits: { maxConnection: 1 } } }, 'hubline: edge.limits: unknown option "maxConnection"'],
    [{ hub, edge: { exempt: ['nonsense'] } }, 'hubline: edge.exempt: "nonsense" is neither an address nor a CIDR'],
    [{ hub, edge: { trustedProxies: ['10/8'] } }, 'hubline: edge.trustedProxies: "10/8" is neither an address'],
    [{ hub, shutdown: { deadline: 1 } }, 'hubline: shutdown: unknown option "deadline": did you mean "deadlineMs"?'],
    [{ hub, prefix: '/rt' }, 'hubline: prefix has no effect on this plugin; register it in a scope'],
  ])('%# are refused at the call', async (options, why) => {
    const app = Fastify()
    apps.push(app)
    const registered = Promise.resolve(app.register(hubline, options as never))
    await expect(registered).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(why),
    })
  })

  it.each<[Readonly<Record<string, unknown>>, string]>([
    [{}, 'hublineOperators: context must be the hubContext of the app that has the hub, got undefined'],
    [{ context: {} }, 'hublineOperators: context must be the hubContext of the app that has the hub, got an object'],
    [{ contxt: {} }, 'hublineOperators: unknown option "contxt": did you mean "context"?'],
  ])('those of the operators %# as well', async (options, why) => {
    const app = Fastify()
    apps.push(app)
    const registered = Promise.resolve(app.register(hublineOperators, options as never))
    await expect(registered).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: why })
  })
})
