import { createServer, type IncomingHttpHeaders, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseTopicName } from '../../src/core/ids.ts'
import { type CallbackSessions, callbackSessions } from '../../src/sessions/callback-sessions.ts'
import { NOW, refusalOf } from './tokens.ts'

interface Asked {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Record<string, unknown>
}

const news = parseTopicName('news')

describe('the application decides', () => {
  let server: Server
  let base: string
  let asked: Asked[]
  let answer: (asked: Asked, response: ServerResponse) => void
  let sessions: CallbackSessions

  beforeEach(async () => {
    asked = []
    answer = (_, response) => response.end('{}')
    server = createServer(async (request, response) => {
      const question = { path: request.url!, headers: request.headers, body: JSON.parse(await text(request)) }
      asked.push(question)
      answer(question, response)
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    sessions = callbackSessions({ url: `${base}/hub`, now: () => NOW })
  })
  afterEach(async () => {
    await sessions.close()
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  })
  const says = (status: number, body: unknown) => {
    answer = (_, response) => response.writeHead(status).end(typeof body === 'string' ? body : JSON.stringify(body))
  }
  const connect = (extra: object = {}) => sessions.authenticate({ protocol: 'http', ...extra })

  it('of a connect, with the headers that it may see and no others', async () => {
    says(200, { user: 'ada', expiresAt: NOW + 1000, info: { a: 1 }, topics: { subscribe: ['chat/*'] }, backend: true })
    const headers = { authorization: 'Bearer x', cookie: 's=1', origin: 'http://a', 'x-api-key': 'no', host: 'h' }
    const session = await connect({ token: 't', address: '10.0.0.1', headers })
    expect(session).toEqual({
      ...{ user: 'ada', expiresAt: NOW + 1000, issuedAt: NOW, info: { a: 1 } },
      grants: { subscribe: ['chat/*'], publish: [] },
    })
    const [{ path, headers: seen, body }] = asked as [Asked]
    expect(path).toBe('/hub')
    expect(body).toEqual({ event: 'connect', protocol: 'http', address: '10.0.0.1', token: 't' })
    expect([seen.authorization, seen.cookie, seen.origin, seen['x-api-key']]).toEqual([
      'Bearer x',
      's=1',
      'http://a',
      undefined,
    ])
    // With grants nobody is asked again.
    expect(await sessions.authorize(session, 'subscribe', parseTopicName('chat/x'))).toBe(true)
    expect(await sessions.authorize(session, 'publish', parseTopicName('chat/x'))).toBe(false)
    expect(asked).toHaveLength(1)
  })

  it('of each subscription and publication', async () => {
    answer = ({ body }, response) =>
      response.end(JSON.stringify({ allow: body.topic === 'news' && body.action !== 'publish' }))
    const session = { user: 'ada' }
    expect(await sessions.authorize(session, 'subscribe', news)).toBe(true)
    expect(await sessions.authorize(session, 'history', news)).toBe(true)
    expect(await sessions.authorize(session, 'publish', news)).toBe(false)
    expect(await sessions.authorize(session, 'subscribe', parseTopicName('other'))).toBe(false)
    expect(asked.map(({ body }) => `${body.event} ${body.action} ${body.topic} ${body.user}`)).toEqual([
      'subscribe subscribe news ada',
      'subscribe history news ada',
      'publish publish news ada',
      'subscribe subscribe other ada',
    ])
  })

  it('at a URL for each', async () => {
    await sessions.close()
    sessions = callbackSessions({ connectUrl: `${base}/c`, subscribeUrl: `${base}/s` })
    says(200, { allow: true })
    await connect()
    expect(await sessions.authorize({}, 'subscribe', news)).toBe(true)
    // Nobody to ask is no.
    expect(await sessions.authorize({}, 'publish', news)).toBe(false)
    expect(asked.map(({ path }) => path)).toEqual(['/c', '/s'])
  })

  const refusals: [string, number, unknown, object, string][] = [
    ['401 to a token', 401, '', { token: 'x' }, 'UNAUTHENTICATED key'],
    ['401 to nothing', 401, '', {}, 'UNAUTHENTICATED missing'],
    ['401 with a reason', 401, { reason: 'expired' }, { token: 'x' }, 'UNAUTHENTICATED expired'],
    ['401 with a reason that is none', 401, { reason: 'ada eyJ' }, { token: 'x' }, 'UNAUTHENTICATED key'],
    ['403', 403, '', {}, 'PERMISSION_DENIED'],
    ['what is over already', 200, { user: 'ada', expiresAt: NOW }, {}, 'UNAUTHENTICATED expired'],
    ['500', 500, { user: 'ada' }, {}, 'AUTH_UNAVAILABLE'],
    ['204', 204, '', {}, 'AUTH_UNAVAILABLE'],
    ['404', 404, '{}', {}, 'AUTH_UNAVAILABLE'],
    ['no JSON', 200, '<html>ada', {}, 'AUTH_UNAVAILABLE'],
    ['a user that is none', 200, { user: 7 }, {}, 'AUTH_UNAVAILABLE'],
    ['a user with a line end', 200, { user: 'a\nb' }, {}, 'AUTH_UNAVAILABLE'],
    ['topics that are no patterns', 200, { topics: { subscribe: ['a b'] } }, {}, 'AUTH_UNAVAILABLE'],
    ['an info that is too large', 200, { info: 'x'.repeat(2000) }, {}, 'AUTH_UNAVAILABLE'],
    ['more than 64 KiB', 200, JSON.stringify({ pad: 'x'.repeat(70_000) }), {}, 'AUTH_UNAVAILABLE'],
  ]
  it.each(refusals)('%s lets nobody in', async (_, status, body, handshake, expected) => {
    says(status, body)
    expect(await refusalOf(() => connect(handshake))).toBe(expected)
  })

  it('a redirect is not followed', async () => {
    answer = (_, response) => response.writeHead(302, { location: `${base}/other` }).end()
    expect(await refusalOf(() => connect())).toBe('AUTH_UNAVAILABLE')
    expect(asked).toHaveLength(1)
  })

  it('allows only by saying so', async () => {
    const cases: [number, unknown, string | boolean][] = [
      [200, { allow: true }, true],
      [200, { allow: false }, false],
      [403, { allow: true }, false],
      [401, { allow: true }, false],
      [200, { allow: 'true' }, 'AUTH_UNAVAILABLE'],
      [200, {}, 'AUTH_UNAVAILABLE'],
      [200, 'true', 'AUTH_UNAVAILABLE'],
      [500, { allow: true }, 'AUTH_UNAVAILABLE'],
    ]
    for (const [status, body, expected] of cases) {
      says(status, body)
      let result: unknown
      const failed = await refusalOf(async () => {
        result = await sessions.authorize({}, 'subscribe', news)
      })
      expect([status, body, failed === 'taken' ? result : failed]).toEqual([status, body, expected])
    }
  })

  it('in time, or not at all', async () => {
    await sessions.close()
    sessions = callbackSessions({ url: base, timeoutMs: 50 })
    answer = () => {}
    expect(await refusalOf(() => connect())).toBe('AUTH_UNAVAILABLE')
    answer = (_, response) => void response.writeHead(200).write('{"user":')
    expect(await refusalOf(() => connect())).toBe('AUTH_UNAVAILABLE')
  })

  it('is asked so many things at a time, and of those who wait there is an end', async () => {
    await sessions.close()
    sessions = callbackSessions({ url: base, maxConcurrent: 2, timeoutMs: 20_000 })
    let [open, most] = [0, 0]
    answer = (_, response) => {
      most = Math.max(most, ++open)
      setImmediate(() => {
        open--
        response.end('{"user":"ada"}')
      })
    }
    const answers = await Promise.all(Array.from({ length: 100 }, () => refusalOf(() => connect())))
    expect(most).toBeLessThanOrEqual(2)
    // Two in work and 16 for each of them in wait.
    expect(answers.filter(each => each === 'taken')).toHaveLength(34)
    expect(answers.filter(each => each === 'AUTH_UNAVAILABLE')).toHaveLength(66)
    expect(await refusalOf(() => connect())).toBe('taken')
  })

  it('nobody there is nobody let in', async () => {
    await sessions.close()
    sessions = callbackSessions({ url: 'http://127.0.0.1:1/' })
    expect(await refusalOf(() => connect())).toBe('AUTH_UNAVAILABLE')
  })

  it.each([
    {},
    { url: 'file:///etc/passwd' },
    { url: 'x' },
    { url: 'http://a', headers: ['host'] },
    { url: 'http://a', headers: ['a b'] },
  ])('the options %j are refused', options =>
    expect(() => callbackSessions(options)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' })),
  )
})
