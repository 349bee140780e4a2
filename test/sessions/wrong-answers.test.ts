import { once } from 'node:events'
import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { SessionManager, SubscriptionGrant } from '../../src/core/sessions.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { hubline } from '../../src/server/fastify.ts'
import { rawRequest, upgradeRequest } from '../server/raw-request.ts'

/** What JavaScript may answer where TypeScript would refuse. */
type Wrong = never

let app: FastifyInstance
let hub: Hub
let url: string
let log: string[]
afterEach(() => app.close())

async function start(sessions: Partial<SessionManager>): Promise<void> {
  hub = createHub()
  log = []
  const loggerInstance: FastifyBaseLogger = pino({}, { write: line => void log.push(line) })
  app = Fastify({ loggerInstance })
  await app.register(hubline, { hub, sessions: { authenticate: () => ({}), authorize: () => true, ...sessions } })
  url = await app.listen({ port: 0, host: '127.0.0.1' })
}

const faults = () => log.filter(line => line.includes('"level":50'))

async function overHttp(method: string, accept = '*/*') {
  const answer = await fetch(`${url}/topics/a`, {
    method,
    headers: { accept },
    ...(method === 'GET' ? {} : { body: 'x' }),
  })
  return [answer.status, await answer.json()]
}

async function overUpgrade() {
  const { status, body } = await rawRequest(url, upgradeRequest('/topics/a'))
  return [status, JSON.parse(body)]
}

/** The code that the socket of the client protocol is closed with, and what it read. */
async function overClientProtocol(...commands: object[]) {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/connection/websocket`)
  const replies: unknown[] = []
  socket.on('message', data =>
    replies.push(
      ...String(data)
        .split('\n')
        .map(line => JSON.parse(line)),
    ),
  )
  await once(socket, 'open')
  for (const command of [{ id: 1, connect: {} }, ...commands]) socket.send(JSON.stringify(command))
  if (commands.length > 0) {
    await expect.poll(() => replies.length).toBe(commands.length + 1)
    socket.close()
  }
  const [code] = (await once(socket, 'close')) as [number]
  return { code, replies }
}

const INTERNAL = [500, { error: { code: 'INTERNAL', message: expect.any(String) } }]

describe('a session manager whose answer is no session', () => {
  const WRONG: readonly (readonly [answer: string, field: string, value: unknown])[] = [
    ['undefined', 'session must be', undefined],
    ['null', 'session must be', null],
    ['a number', 'session must be', 5],
    ['a list', 'session must be', []],
    ['a number as user', 'session.user must be', { user: 5 }],
    ['a text as end', 'session.expiresAt must be', { user: 'ann', expiresAt: 'tomorrow' }],
    ['a function as info', 'session.info must be', { user: 'ann', info: () => {} }],
  ]

  describe.each(WRONG)('%s', (_answer, field, value) => {
    it.each([
      ['at once', () => value as Wrong],
      ['as a promise', async () => value as Wrong],
    ])(
      '%s: INTERNAL on each protocol, a line in the log that names the field, and no client',
      async (_how, authenticate) => {
        await start({ authenticate })
        for (const ask of [
          () => overHttp('POST'),
          () => overHttp('PUT'),
          () => overHttp('GET'),
          () => overHttp('GET', 'text/event-stream, application/json'),
          overUpgrade,
        ]) {
          log.length = 0
          expect(await ask()).toEqual(INTERNAL)
          expect(faults()).toEqual([expect.stringContaining(`authenticate of the session manager: ${field}`)])
        }
        log.length = 0
        expect(await overClientProtocol()).toMatchObject({ code: 3004 })
        expect(faults()).toEqual([expect.stringContaining(`authenticate of the session manager: ${field}`)])
        const { clients, published } = hub.getConnectionStats()
        expect([clients, published]).toEqual([0, 0])
      },
    )
  })

  it('is no token of a client for the API either', async () => {
    const { ApiKeys, newApiKey } = await import('../../src/sessions/api-keys.ts')
    hub = createHub()
    app = Fastify()
    const apiKeys = new ApiKeys([{ name: 'ops', sha256: newApiKey().sha256, scopes: ['admin'] }])
    const sessions = { authenticate: () => undefined as Wrong, authorize: () => true }
    await app.register(hubline, { hub, sessions, apiKeys })
    const answer = await app.inject({ url: '/api/stats', headers: { authorization: 'Bearer a.b.c' } })
    expect(answer.statusCode).toBe(401)
  })
})

it('a chain of sessions: the tokens of a manager of one’s own are checked before it asks for revocations', async () => {
  const { sessionChain } = await import('../../src/sessions/chain.ts')
  const { Revocations } = await import('../../src/sessions/revocations.ts')
  const tokens = { authenticate: () => undefined as Wrong, authorize: () => true }
  const chain = sessionChain({ tokens, revocations: new Revocations() })
  await start({ authenticate: handshake => chain.authenticate(handshake) })
  expect(await overHttp('GET')).toEqual(INTERNAL)
  expect(faults()).toEqual([expect.stringContaining('authenticate of the session manager: session must be')])
})

describe('a newer session and a grant', () => {
  it.each([
    ['refresh', { refresh: () => null as Wrong }, { refresh: { token: 't' } }],
    ['refresh', { refresh: async () => ({ user: 5 }) as Wrong }, { refresh: { token: 't' } }],
    ['grant', { grant: () => undefined as Wrong }, { subscribe: { channel: 'a', token: 't' } }],
    [
      'grant',
      { grant: async () => ({ expiresAt: 'x' }) as Wrong as SubscriptionGrant },
      { subscribe: { channel: 'a', token: 't' } },
    ],
  ])('%s that is none is error 100 and a line in the log that names it', async (name, sessions, command) => {
    await start(sessions)
    const { replies } = await overClientProtocol({ id: 2, ...command })
    expect(replies[1]).toMatchObject({ id: 2, error: { code: 100 } })
    expect(faults()).toEqual([expect.stringContaining(`${name} of the session manager: `)])
    expect(hub.getTopic('a')?.subscribers ?? 0).toBe(0)
  })
})
