import { afterAll, beforeAll, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { newApiKey } from '../../src/sessions/api-keys.ts'
import { hubline, type Running } from '../cli/run.ts'
import { HS_OPTIONS, SECRET, token } from './tokens.ts'

const backend = newApiKey()
const now = Math.floor(Date.now() / 1000)
const times = { iat: now, exp: now + 600, topics: { subscribe: ['**'], publish: ['**'] } }
let server: Running
let url: string

beforeAll(async () => {
  server = hubline(['serve', '--port', '0', '--log-level', 'trace'], {
    HUBLINE_SESSIONS_MODE: 'jwt',
    HUBLINE_SESSIONS_JWT_SECRET: SECRET,
    HUBLINE_SESSIONS_JWT_ALGORITHMS: 'HS256',
    HUBLINE_SESSIONS_JWT_ISSUER: HS_OPTIONS.issuer,
    HUBLINE_SESSIONS_JWT_AUDIENCE: HS_OPTIONS.audience,
    HUBLINE_SESSIONS_COOKIE: 'hub',
    HUBLINE_SESSIONS_API_KEYS: JSON.stringify({ ops: { sha256: backend.sha256, scopes: ['admin', 'publish'] } }),
  })
  await server.says('http://')
  url = /http:\/\/[\w.:]+/.exec(server.output())![0]
})
afterAll(async () => {
  server.kill('SIGTERM')
  await server.finished
})

it('F12: no token, ticket, key or secret is in a log, an answer, a metric or an error', async () => {
  const good = await token(times)
  const bad = [
    await token({ ...times, aud: 'other' }),
    await token({ ...times, exp: now - 100, iat: now - 200 }),
    await token({ ...times, sub: 'x'.repeat(300) }),
    `${good.slice(0, -4)}AAAA`,
    `hubline_${'wrongkey'.repeat(6)}`,
  ]
  const said: string[] = []
  const secrets = new Set([good, ...bad, backend.key, backend.sha256, SECRET])
  const get = async (path: string, headers: Record<string, string> = {}, init: RequestInit = {}) => {
    const cut = new AbortController()
    const response = await fetch(url + path, { ...init, headers, signal: cut.signal })
    // A stream has no end.
    const whole = response.headers.has('content-length')
    said.push(JSON.stringify([...response.headers]), whole ? await response.text() : '')
    cut.abort()
    return said.at(-1)!
  }
  for (const text of [good, ...bad]) {
    const headers = { authorization: `Bearer ${text}` }
    await get('/topics/x', headers)
    await get('/events?topic=x', { ...headers, accept: 'text/event-stream' })
    await get('/topics/x', headers, { method: 'POST', body: 'hello' })
    await get('/topics/x', { cookie: `hub=${text}` })
    await get('/topics/x', { 'x-api-key': text })
    await get('/nothing/here', headers)
    // Where it does not belong.
    for (const name of ['token', 'ticket', 'access_token']) {
      await get(`/topics/x?${name}=${text}`)
      await get(`/nothing/here?${name}=${text}`)
    }
    await connect({ token: text })
    await connect({}, `?ticket=${encodeURIComponent(text.slice(0, 43))}`)
  }
  for (let count = 0; count < 2; count++) {
    const body = await get('/api/tickets', { authorization: `Bearer ${good}` }, { method: 'POST' })
    const { ticket } = JSON.parse(body)
    said.pop()
    secrets.add(ticket)
    await get(`/topics/x?ticket=${ticket}`)
    await get(`/topics/x?ticket=${ticket}`)
    await connect({}, `?ticket=${ticket}`)
  }
  const admin = { authorization: `Bearer ${backend.key}`, 'content-type': 'application/json' }
  await get('/api/revocations', admin, { method: 'POST', body: '{"user":"nobody"}' })
  for (const path of ['/metrics', '/api/stats', '/api/clients', '/api/metrics', '/health/ready']) await get(path, admin)
  const everything = [server.output(), server.errors(), ...said].join('\n')
  expect(server.errors()).toContain('client connected')
  for (const secret of secrets) expect([secret, everything.includes(secret)]).toEqual([secret, false])
  // Nor a piece of one: a signature, the claims.
  for (const piece of good.split('.').slice(1)) expect(everything).not.toContain(piece)
})

/** Connects, and waits for whatever comes of it. */
async function connect(command: object, query = ''): Promise<void> {
  const webSocket = new WebSocket(`${url.replace('http', 'ws')}/connection/websocket${query}`)
  webSocket.on('open', () => webSocket.send(JSON.stringify({ id: 1, connect: command })))
  webSocket.on('message', () => webSocket.close())
  await new Promise(resolve => webSocket.on('close', resolve))
}
