import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import WebSocket from 'ws'
import { HubError } from '../../src/core/errors.ts'
import { createHub } from '../../src/hub.ts'
import { hubline } from '../../src/server/fastify.ts'
import { Rejections } from '../../src/server/rejections.ts'
import { jwtSessions } from '../../src/sessions/jwt.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { topicRules } from '../../src/topics/registry.ts'
import { HS_OPTIONS, token } from '../sessions/tokens.ts'
import { rawRequest } from './raw-request.ts'

type Line = Record<string, unknown>

function recorded(): { readonly lines: Line[]; readonly log: pino.Logger } {
  const lines: Line[] = []
  const log = pino({ base: null, timestamp: false }, { write: line => void lines.push(JSON.parse(line)) })
  return { lines, log }
}

describe('the log of rejections', () => {
  const denied = new HubError('PERMISSION_DENIED', 'no')

  it('has 3 lines of one client and 30 in all in 10 s, and then says how many it left out', () => {
    const clock = new ManualScheduler()
    const { lines, log } = recorded()
    const rejections = new Rejections(clock, log)
    for (let i = 0; i < 100; i++)
      for (let client = 0; client < 20; client++) rejections.client(denied, `client-${client}`)
    expect(lines).toHaveLength(30)
    expect(lines.filter(({ client }) => client === 'client-0')).toHaveLength(3 - 1)
    expect([...rejections.counts]).toEqual([{ code: 'PERMISSION_DENIED', reason: '', count: 2000 }])
    clock.advance(10_000)
    expect(lines.slice(30)).toEqual([
      { level: 40, leftOut: { PERMISSION_DENIED: 1970 }, ms: 10_000, msg: 'lines about rejections left out' },
    ])
    rejections.client(denied, 'client-0')
    expect(lines).toHaveLength(32)
  })

  it('counts each reason apart, and nothing below 401 or above 429', () => {
    const { lines, log } = recorded()
    const rejections = new Rejections(new ManualScheduler(), log)
    for (const reason of ['expired', 'signature', 'expired'] as const) {
      rejections.client(new HubError('UNAUTHENTICATED', 'no', { reason }), 'ada')
    }
    for (const code of ['REQUEST_INVALID', 'INTERNAL', 'SHUTTING_DOWN'] as const) {
      rejections.client(new HubError(code, 'no'), 'ada')
    }
    expect([...rejections.counts]).toEqual([
      { code: 'UNAUTHENTICATED', reason: 'expired', count: 2 },
      { code: 'UNAUTHENTICATED', reason: 'signature', count: 1 },
    ])
    expect(lines).toHaveLength(3)
  })

  it('has one short line for malformed frames, without a stack', () => {
    const clock = new ManualScheduler()
    const { lines, log } = recorded()
    const rejections = new Rejections(clock, log)
    const error = Object.assign(new RangeError('Invalid WebSocket frame: invalid opcode 3'), {
      code: 'WS_ERR_INVALID_OPCODE',
    })
    for (let i = 0; i < 50; i++) rejections.frame(error, log)
    expect(lines).toEqual(
      Array.from({ length: 3 }, () => ({
        ...{ level: 40, code: 'WS_ERR_INVALID_OPCODE', why: 'Invalid WebSocket frame: invalid opcode 3' },
        msg: 'websocket failed',
      })),
    )
    rejections.end()
    expect(lines[3]).toMatchObject({ leftOut: 47 })
  })
})

describe('a server counts and logs what it rejects', () => {
  let app: FastifyInstance
  let lines: Line[]
  let url: string

  async function start(): Promise<void> {
    const recording = recorded()
    lines = recording.lines
    const loggerInstance: FastifyBaseLogger = recording.log
    app = Fastify({ loggerInstance })
    const topics = topicRules({ rules: { news: {}, typed: { schema: { type: 'number' } } } })
    const sessions = jwtSessions({ ...HS_OPTIONS, now: Date.now })
    await app.register(hubline, {
      ...{ hub: createHub({ topics }), sessions },
      edge: { hosts: ['hub.example.org'], limits: { failedLoginsPerSecondPerAddress: 0 } },
    })
    url = await app.listen({ port: 0, host: '127.0.0.1' })
  }
  afterEach(() => app.close())

  const fresh = (claims: object) => {
    const now = Math.floor(Date.now() / 1000)
    return token({ iat: now, exp: now + 600, ...claims })
  }
  const rejected = () => lines.filter(({ msg }) => msg === 'rejected')

  it('on /@connections too', async () => {
    await start()
    const bodies = ['x', 'x'.repeat(200_000)]
    const statuses = []
    for (const body of bodies) {
      const headers = { authorization: `Bearer ${await fresh({ topics: {} })}` }
      statuses.push((await fetch(`${url}/@connections/ada`, { method: 'POST', body, headers })).status)
    }
    statuses.push((await fetch(`${url}/@connections/ada`, { headers: { origin: 'https://evil.example' } })).status)
    expect(statuses.every(status => status > 400)).toBe(true)
    expect(rejected()).toHaveLength(statuses.length)
    expect(rejected()[0]).toMatchObject({ path: '/@connections/ada', msg: 'rejected' })
  })

  it('over HTTP: login, grant, topic, schema, origin, host', async () => {
    await start()
    const good = { authorization: `Bearer ${await fresh({ topics: { publish: ['news', 'typed'] } })}` }
    const post = (topic: string, headers: Record<string, string> = {}) =>
      fetch(`${url}/topics/${topic}?key=ticket-not-here`, { method: 'POST', body: '"x"', headers }).then(
        ({ status }) => status,
      )
    const json = { 'content-type': 'application/json' }
    const statuses = [
      await post('news'),
      await post('news', { authorization: 'Bearer secret-of-somebody' }),
      await post('other', good),
      await post('typed', { ...good, ...json }),
      await post('news', { ...good, origin: 'http://localhost:5173' }),
    ]
    expect(statuses).toEqual([401, 401, 403, 422, 403])
    const wrongHost = await rawRequest(
      url,
      'GET /topics/news HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n',
    )
    expect(wrongHost.status).toBe(421)
    const path = { method: 'POST', path: '/topics/news' }
    expect(rejected()).toEqual([
      expect.objectContaining({ code: 'UNAUTHENTICATED', reason: 'missing', ...path }),
      expect.objectContaining({ code: 'UNAUTHENTICATED', reason: 'malformed', ...path }),
      expect.objectContaining({ code: 'PERMISSION_DENIED', path: '/topics/other' }),
      expect.objectContaining({ code: 'SCHEMA_MISMATCH', path: '/topics/typed' }),
      expect.objectContaining({
        code: 'ORIGIN_DENIED',
        origin: 'http://localhost:5173',
        why: expect.stringContaining('origins'),
      }),
      expect.objectContaining({ code: 'HOST_DENIED', host: 'evil.example' }),
    ])
    expect(JSON.stringify(rejected())).not.toMatch(/secret-of-somebody|ticket-not-here/)
  })

  it('over WebSockets: the handshake, a command, a connect, a frame', async () => {
    await start()
    const ws = url.replace('http', 'ws')
    const good = await fresh({ topics: { publish: ['typed'] } })
    const closed = (socket: WebSocket) => new Promise<number>(resolve => socket.on('close', code => resolve(code)))

    const refused = new WebSocket(`${ws}/topics/news`)
    refused.on('error', () => {})
    await closed(refused)
    const wrong = new WebSocket(`${ws}/connection/websocket`)
    wrong.on('open', () => wrong.send(JSON.stringify({ id: 1, connect: { token: 'a.b.c' } })))
    await closed(wrong)
    const speaking = new WebSocket(`${ws}/connection/websocket`)
    speaking.on('open', () => speaking.send(JSON.stringify({ id: 1, connect: { token: good } })))
    speaking.on('message', data => {
      if (String(data).includes('"id":1')) speaking.send(JSON.stringify({ id: 2, subscribe: { channel: 'news' } }))
      else speaking.close()
    })
    await closed(speaking)
    const publishing = new WebSocket(`${ws}/topics/typed?role=publisher`, {
      headers: { authorization: `Bearer ${good}` },
    })
    publishing.on('open', () => publishing.send('"x"'))
    await closed(publishing)

    expect(rejected().map(({ code, reason }) => [code, reason])).toEqual([
      ['UNAUTHENTICATED', 'missing'],
      ['UNAUTHENTICATED', 'malformed'],
      ['PERMISSION_DENIED', undefined],
      ['SCHEMA_MISMATCH', undefined],
    ])
  })
})
