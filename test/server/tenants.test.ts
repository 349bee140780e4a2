import { once } from 'node:events'
import { SignJWT } from 'jose'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { HubError } from '../../src/core/errors.ts'
import { loadConfig } from '../../src/server/config.ts'
import { newApiKey } from '../../src/sessions/api-keys.ts'
import { startTestServer, type TestServer } from './test-server.ts'

/** One secret for both, as an identity provider has it: the audience is what tells them apart. */
const SECRET = 'k3J9-qfXw7Zp0aVd2LmR8sTtYb5HcNe1UuGgQi4'
const NAMES = ['acme', 'globex'] as const
type Name = (typeof NAMES)[number]

const keys = { acme: newApiKey(), globex: newApiKey() }
/** In everything that the first tenant says, and in nothing that the second may ever see. */
const MARK = 'of-acme-alone'

function tenant(name: Name) {
  return {
    sessions: {
      mode: 'jwt',
      jwt: { secret: SECRET, algorithms: ['HS256'], issuer: ['https://login.example'], audience: [name] },
      apiKeys: { ops: { sha256: keys[name].sha256, scopes: ['admin', 'publish'] } },
    },
    topics: {
      'rooms/*': { presence: true, metadata: { whose: name === 'acme' ? MARK : 'globex' } },
      strict: { schema: { type: 'object', required: [name === 'acme' ? MARK : 'id'] } },
    },
  }
}

const token = (name: Name, claims: Record<string, unknown> = {}): Promise<string> =>
  new SignJWT({
    topics: { subscribe: ['**'], publish: ['**'] },
    info: { seen: name === 'acme' ? MARK : 'here' },
    ...claims,
  })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('ada')
    .setJti('token-1')
    .setIssuer('https://login.example')
    .setAudience(name)
    .setIssuedAt()
    .setExpirationTime('10m')
    .sign(new TextEncoder().encode(SECRET))

let server: TestServer
const open: { close(): void }[] = []
/** All that the second tenant's clients and operators were ever sent. */
let seen = ''

beforeEach(async () => {
  seen = ''
  server = await startTestServer({
    tenants: { acme: tenant('acme'), globex: tenant('globex') },
    callbacks: { enabled: false },
  })
})
afterEach(async () => {
  for (const each of open.splice(0)) each.close()
  await server.close()
})

const at = (name: Name, path: string): string => `${server.url}/tenants/${name}${path}`

async function ask(name: Name, path: string, init: RequestInit = {}): Promise<{ status: number; text: string }> {
  const headers = { authorization: `Bearer ${keys[name].key}`, ...(init.headers as Record<string, string>) }
  const answer = await fetch(at(name, path), { ...init, headers })
  const text = await answer.text()
  if (name === 'globex') seen += `${path}\n${JSON.stringify([...answer.headers])}\n${text}\n`
  return { status: answer.status, text }
}

const post = (name: Name, path: string, body: unknown, headers: Record<string, string> = {}) =>
  ask(name, path, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json', ...headers },
  })

/** A WebSocket of a tenant, all frames of which are kept; ready once it is open. */
async function socket(name: Name, path: string, first?: unknown): Promise<{ text: () => string; socket: WebSocket }> {
  const opened = new WebSocket(at(name, path).replace('http', 'ws'), {
    headers: { authorization: `Bearer ${await token(name)}`, 'user-agent': name === 'acme' ? MARK : 'agent' },
  })
  open.push(opened)
  let text = ''
  opened.on('message', (data: Buffer) => {
    text += `${data}\n`
    if (name === 'globex') seen += `${data}\n`
  })
  await once(opened, 'open')
  if (first !== undefined) opened.send(JSON.stringify(first))
  return { text: () => text, socket: opened }
}

async function stream(name: Name, path: string, accept: string): Promise<() => string> {
  const leave = new AbortController()
  open.push({ close: () => leave.abort() })
  const headers = { accept, authorization: `Bearer ${await token(name)}` }
  const answer = await fetch(at(name, path), { headers, signal: leave.signal })
  let text = JSON.stringify([...answer.headers])
  const read = async (): Promise<void> => {
    for await (const piece of answer.body!) {
      text += Buffer.from(piece).toString()
      if (name === 'globex') seen += Buffer.from(piece).toString()
    }
  }
  read().catch(() => {})
  return () => text
}

async function until(what: () => boolean): Promise<void> {
  const end = Date.now() + 10_000
  while (!what()) {
    if (Date.now() > end) throw new Error('it never came')
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}

/** The same clients, users and topics, on every protocol. */
async function populate(name: Name) {
  const centrifuge = { id: 1, connect: {} }
  const [webSocket, many, events, plain] = await Promise.all([
    socket(name, '/topics/rooms/one?client=phone'),
    socket(name, '/connection/websocket?client=laptop', centrifuge),
    stream(name, '/events?topic=rooms/one&topic=strict&client=tab', 'text/event-stream'),
    stream(name, '/topics/rooms/one?client=radio', '*/*'),
  ])
  many.socket.send(
    '{"id":2,"subscribe":{"channel":"**"}}\n{"id":3,"subscribe":{"channel":"rooms/one","join_leave":true}}',
  )
  await until(() => many.text().includes('"id":3'))
  return { webSocket, many, events, plain }
}

async function publish(name: Name, text: string): Promise<void> {
  const correlation = { 'x-correlation-id': `${text}-correlation`, 'idempotency-key': 'the-same' }
  await ask(name, '/topics/rooms/one', {
    method: 'POST',
    body: JSON.stringify({ text }),
    headers: { 'content-type': 'application/json', ...correlation },
  })
  await post(
    name,
    '/api/publish',
    { publications: [{ topic: 'rooms/two', data: { text } }] },
    { 'idempotency-key': 'batch' },
  )
}

/** Those that clients open are among the streams above. */
const ENDLESS = ['/topics/{topic}', '/events', '/connection/websocket']

describe('two tenants with the same names', () => {
  it('F13: nothing of the one is in any byte that the other is sent', async () => {
    const acme = await populate('acme')
    const globex = await populate('globex')
    await publish('acme', MARK)
    await publish('globex', 'hello')
    for (const { webSocket, many, events, plain } of [globex]) {
      await until(() => [webSocket.text(), many.text(), events(), plain()].every(text => text.includes('hello')))
    }
    await until(() => [acme.webSocket.text(), acme.events()].every(text => text.includes(MARK)))
    await post('acme', '/api/clients/phone/send', { for: MARK })
    await ask('acme', '/api/clients/tab', { method: 'DELETE' })
    globex.many.socket.send(
      '{"id":4,"presence":{"channel":"rooms/one"}}\n{"id":5,"history":{"channel":"rooms/one","limit":10}}\n' +
        '{"id":6,"publish":{"channel":"strict","data":{}}}',
    )
    await until(() => globex.many.text().includes('"id":6'))

    // Every answer that an operator of the other can have, as its own document lists them.
    const document = JSON.parse((await ask('globex', '/api/openapi.json')).text)
    const values: Record<string, string> = { id: 'phone', user: 'ada', topic: 'rooms/one', pattern: 'rooms%2F*' }
    const paths = Object.entries(document.paths as Record<string, object>).flatMap(([path, methods]) =>
      'get' in methods && !path.endsWith('/tail') && !ENDLESS.includes(path) ? path : [],
    )
    expect(paths.length).toBeGreaterThan(12)
    for (const path of [
      ...paths,
      '/metrics',
      '/health/ready',
      '/api/clients/nobody',
      '/topics/rooms/one?describe',
      '/topics/rooms/one?history&limit=10',
    ]) {
      const { status } = await ask(
        'globex',
        path.replace(/\{(\w+)\}/g, (_, name: string) => values[name] ?? 'phone'),
      )
      expect([path, status < 500]).toEqual([path, true])
    }
    expect((await post('globex', '/topics/strict', {})).text).toMatch(/SCHEMA_MISMATCH.*id/)

    const epochs = ['rooms/one', 'rooms/two'].map(topic => acmeHub().getTopic(topic)!.position.epoch)
    expect(seen).toContain('hello')
    expect(seen.length).toBeGreaterThan(5000)
    for (const mark of [MARK, 'acme', keys.acme.key, keys.acme.sha256, ...epochs]) {
      expect([mark, seen.includes(mark)]).toEqual([mark, false])
    }
  })

  it('F13: neither counts, nor ends, nor answers for the other', async () => {
    await populate('acme')
    await populate('globex')
    for (let i = 0; i < 5; i++) await publish('acme', `${MARK}${i}`)
    const stats = JSON.parse((await ask('globex', '/api/stats')).text)
    expect(stats).toMatchObject({ published: 0, clients: 4, users: 1, patterns: 1, drops: [] })
    expect(server.hub.getConnectionStats()).toMatchObject({ clients: 0, clientsTotal: 0, topics: 0, published: 0 })

    // The same key for something else, which is a conflict within a tenant.
    await publish('acme', 'first')
    expect(
      (
        await post(
          'globex',
          '/api/publish',
          { publications: [{ topic: 'a', data: 1 }] },
          { 'idempotency-key': 'batch' },
        )
      ).status,
    ).toBe(200)

    await ask('globex', '/api/users/ada', { method: 'DELETE' })
    await post('globex', '/api/revocations', { user: 'ada' })
    expect(JSON.parse((await ask('globex', '/api/stats')).text).clients).toBe(0)
    expect(JSON.parse((await ask('acme', '/api/stats')).text)).toMatchObject({ clients: 4, users: 1 })
    const again = await fetch(at('acme', '/topics/rooms/one?history'), {
      headers: { authorization: `Bearer ${await token('acme')}` },
    })
    expect(again.status).toBe(200)
  })

  it('a token, a key or a ticket of the one is none of the other, nor of the host', async () => {
    const bearer = (value: string) => ({ authorization: `Bearer ${value}` })
    const foreign = await fetch(at('globex', '/topics/a'), { headers: bearer(await token('acme')) })
    expect([foreign.status, await foreign.json()]).toMatchObject([
      401,
      { error: { code: 'UNAUTHENTICATED', reason: 'audience' } },
    ])
    const key = await fetch(at('globex', '/api/stats'), { headers: bearer(keys.acme.key) })
    expect([key.status, await key.json()]).toMatchObject([401, { error: { code: 'UNAUTHENTICATED' } }])
    const { ticket } = JSON.parse((await post('acme', '/api/tickets', { user: 'ada', topics: ['**'] })).text)
    const used = await fetch(at('globex', `/topics/a?ticket=${ticket}`))
    expect([used.status, await used.json()]).toMatchObject([401, { error: { code: 'UNAUTHENTICATED' } }])
    const none = await fetch(at('globex', '/topics/a'))
    expect([none.status, await none.json()]).toMatchObject([401, { error: { reason: 'missing' } }])
    // It is there all the same, for whom it was made.
    const leave = new AbortController()
    const own = await fetch(at('acme', `/topics/a?ticket=${ticket}`), { signal: leave.signal })
    expect(own.status).toBe(200)
    leave.abort()
  })
})

describe('tenants in the configuration', () => {
  const refusal = (flags: Record<string, unknown>): string => {
    try {
      loadConfig({ env: {}, flags })
      return 'nothing'
    } catch (error) {
      return error instanceof HubError ? `${error.code}: ${error.message}` : String(error)
    }
  }

  it.each([
    [{ tenants: { Acme: {} } }, /tenants\.Acme: .*a-z, 0-9/],
    [{ tenants: { acme: { limit: {} } } }, /tenants\.acme\.limit.*did you mean "tenants\.acme\.limits"/],
    [
      { tenants: { acme: { maxMessageBytes: 2_000_000 } } },
      /tenants\.acme\.maxMessageBytes must be at most 1048576, the server's own, got 2000000/,
    ],
    [{ tenants: { acme: { topics: { 'a/../b': {} } } } }, /topics: .*is no/],
    [
      { tenants: { acme: { sessions: { apiKeys: { ops: { sha256: 'not-a-hash-not-a-hash', scopes: ['admin'] } } } } } },
      /^(?!.*not-a-hash).*tenants\.acme\.sessions\.apiKeys/,
    ],
  ])('%j is told what to mend', (flags, sentence) => {
    expect(refusal(flags)).toMatch(sentence)
  })

  it('on an address that others reach each needs a login and a key of its own', () => {
    const guarded = tenant('acme')
    const host = { host: '0.0.0.0', sessions: guarded.sessions }
    expect(refusal({ ...host, tenants: { acme: guarded } })).toBe('nothing')
    expect(refusal({ ...host, tenants: { acme: guarded, globex: {} } })).toMatch(
      /^BIND_REFUSED: .*set tenants\.globex\.sessions\.mode; .*tenants\.globex\.sessions\.apiKeys/,
    )
  })
})

function acmeHub() {
  return server.tenants.acme!
}
