import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { credentialsOf } from '../../src/server/credentials.ts'
import { rawRequest, upgradeRequest } from './raw-request.ts'
import { startTestServer, type TestServer } from './test-server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(() => server.close())

const send = (text: string) => rawRequest(server.url, text)
const codeOf = (body: string) => JSON.parse(body).error.code

describe('topic names', () => {
  const bad = [
    '',
    '..',
    'a/../b',
    'a//b',
    '%00',
    'a%00b',
    '%2e%2e%2f',
    '%2e%2e%2fetc',
    'a%0Ab',
    'x'.repeat(256),
    '%ED%A0%80',
    '%zz',
    'a b',
    '%E2%80%AE',
    '*',
    '%23',
    '+',
    '%3E',
  ]
  for (const name of bad) {
    it(`E20: refuses ${JSON.stringify(name.slice(0, 20))} with 400 and the rule, on every method and protocol`, async () => {
      const path = `/topics/${name.replace(' ', '%20')}`
      const answers = await Promise.all([
        send(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`),
        send(`POST ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx`),
        send(`PUT ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx`),
        send(upgradeRequest(path)),
      ])
      for (const { status, body } of answers) {
        expect(status).toBe(400)
        if (name === '%zz' || name === '%ED%A0%80') continue // The router finds that it is no URL; it has a sentence of its own.
        expect(codeOf(body)).toBe('TOPIC_INVALID')
        expect(body).toContain('1 to 255 characters')
      }
    })
  }

  it('takes the longest name, and a leading slash for nothing', async () => {
    for (const name of ['x'.repeat(255), '/video/main_camera', 'a.b:c-d_e/f']) {
      const answer = await fetch(`${server.url}/topics/${name}`, { method: 'POST', body: 'x' })
      expect(answer.status).toBe(202)
      expect(((await answer.json()) as { topic: string }).topic).toBe(name.replace(/^\//, ''))
    }
  })
})

describe('an Authorization', () => {
  it.each([
    ['', undefined],
    ['Basic eDp5', undefined],
    ['Bearer', ''],
    ['Bearer ', ''],
    ['bearer abc', 'abc'],
  ])('%j brings the token %j', (authorization, token) => {
    const request = { headers: { authorization }, query: {} } as Parameters<typeof credentialsOf>[0]
    expect(credentialsOf(request).token).toBe(token)
  })
})

describe('upgrades', () => {
  it('opens a WebSocket on a topic and on the client protocol', async () => {
    expect((await send(upgradeRequest('/topics/a'))).status).toBe(101)
    expect((await send(upgradeRequest('/connection/websocket'))).status).toBe(101)
  })

  it('E8: never says 101 on a route that is no socket', async () => {
    for (const path of [
      '/',
      '/api/stats',
      '/api/topics',
      '/metrics',
      '/health/live',
      '/events?topic=a',
      '/nothing',
      '/topics',
    ]) {
      const { status, body } = await send(upgradeRequest(path))
      expect([path, status]).toEqual([path, 404])
      expect(codeOf(body)).toBe('NOT_FOUND')
    }
  })

  it('E6: never opens one by POST', async () => {
    const { status } = await send(upgradeRequest('/topics/a', {}, 'POST /topics/a HTTP/1.1'))
    expect(status).toBe(404)
    expect(server.hub.getTopic('a')?.published ?? 0).toBe(0)
  })

  it('E9: answers 426 to a plain GET on a socket route', async () => {
    const { status, head, body } = await send('GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\n\r\n')
    expect(status).toBe(426)
    expect(head.toLowerCase()).toContain('upgrade: websocket')
    expect(codeOf(body)).toBe('UPGRADE_REQUIRED')
  })

  it.each([['8'], ['12'], ['']])('E7: version "%s" is 426, and the answer names version 13', async version => {
    for (const path of ['/topics/a', '/connection/websocket']) {
      const { status, head, body } = await send(upgradeRequest(path, { 'Sec-WebSocket-Version': version }))
      expect(status).toBe(426)
      expect(head.toLowerCase()).toContain('sec-websocket-version: 13\r\n')
      expect(codeOf(body)).toBe('UPGRADE_REQUIRED')
    }
  })

  it.each<[string, string, Record<string, string>]>([
    ['a length of no body, as of the JDK', '', { 'Content-Length': '0' }],
    ['an empty list of subprotocols, as of websockets 15', '', { 'Sec-WebSocket-Protocol': ' ' }],
    ['a list with an empty element', '', { 'Sec-WebSocket-Protocol': 'a,,b' }],
  ])('opens one with %s', async (_what, query, headers) => {
    for (const path of ['/topics/a', '/connection/websocket']) {
      expect((await send(upgradeRequest(path + query, headers))).status).toBe(101)
    }
  })

  it('opens one of the client protocol with keys that SDKs add', async () => {
    const { status } = await send(
      upgradeRequest('/connection/websocket?cf_protocol_version=v2&cf_ws_frame_ping_pong=true'),
    )
    expect(status).toBe(101)
  })

  it.each([['a,a'], ['a,b c'], ['a;b']])("refuses the subprotocols %s in the hub's own form", async list => {
    const { status, body } = await send(upgradeRequest('/topics/a', { 'Sec-WebSocket-Protocol': list }))
    expect({ status, code: codeOf(body) }).toEqual({ status: 400, code: 'UPGRADE_INVALID' })
  })

  const bad: Record<string, string> = {
    'E7: HTTP/1.0': upgradeRequest('/topics/a', {}, 'GET /topics/a HTTP/1.0'),
    'E7: a body by length': `${upgradeRequest('/topics/a', { 'Content-Length': '5' })}hello`,
    'E7: a chunked body': `${upgradeRequest('/topics/a', { 'Transfer-Encoding': 'chunked' })}0\r\n\r\n`,
    'E6: a short key': upgradeRequest('/topics/a', { 'Sec-WebSocket-Key': 'c2hvcnQ=' }),
    'E6: no key': upgradeRequest('/topics/a', { 'Sec-WebSocket-Key': '' }),
    'E6: a bad list of subprotocols': upgradeRequest('/topics/a', { 'Sec-WebSocket-Protocol': 'a,b c' }),
    'E6: a bad query': upgradeRequest('/topics/a?rolle=both'),
    'E6: a bad client id': upgradeRequest('/topics/a?client=a%20b'),
  }
  for (const [name, request] of Object.entries(bad)) {
    it(`${name} is refused with 400`, async () => {
      expect((await send(request)).status).toBe(400)
    })
  }

  it('lives through a reset while an upgrade is under way', async () => {
    const { connect } = await import('node:net')
    const { hostname, port } = new URL(server.url)
    for (let i = 0; i < 50; i++) {
      await new Promise<void>(resolve => {
        const socket = connect(Number(port), hostname, () => {
          socket.write(upgradeRequest('/topics/a'))
          socket.resetAndDestroy()
        })
        socket.on('close', () => resolve())
        socket.on('error', () => {})
      })
    }
    expect((await fetch(`${server.url}/health/live`)).status).toBe(200)
  })
})

describe('requests', () => {
  it('refuses a body over the limit with 413 and the limit, by length, by chunks, and as a line', async () => {
    const big = Buffer.alloc(1024 * 1024 + 1, 'x')
    const chunks = new ReadableStream({
      start(controller) {
        controller.enqueue(big)
        controller.close()
      },
    })
    const url = `${server.url}/topics/a`
    const answers = await Promise.all([
      fetch(url, { method: 'POST', body: big }),
      fetch(url, { method: 'POST', body: chunks, duplex: 'half' } as RequestInit),
      fetch(`${url}?split=lines`, { method: 'PUT', body: big, headers: { 'content-type': 'text/plain' } }),
    ])
    for (const answer of answers) {
      expect(answer.status).toBe(413)
      const body = await answer.text()
      expect(codeOf(body)).toBe('MESSAGE_TOO_LARGE')
      expect(body).toContain('1048576')
    }
  })

  it('E13: refuses more than 1,000 headers with 431, where Node would drop the last ones silently', async () => {
    const headers = Array.from({ length: 1100 }, (_, i) => `h${i}: 1`).join('\r\n')
    const { status, body } = await send(`GET /api/stats HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n\r\n`)
    expect(status).toBe(431)
    expect(codeOf(body)).toBe('HEADERS_TOO_MANY')
  })

  it('refuses what it does not know in a query or a policy, naming it', async () => {
    const get = async (path: string) => {
      const answer = await fetch(server.url + path)
      return [answer.status, JSON.stringify(await answer.json())]
    }
    expect(await get('/topics/a?polcy=latest')).toEqual([400, expect.stringMatching(/polcy.*did you mean .*policy/)])
    for (const key of ['token', 'access_token', 'apiKey', 'authorization']) {
      expect(await get(`/topics/a?${key}=hunter2`)).toEqual([400, expect.stringMatching(/Bearer.*ticket/)])
    }
    expect(await get('/topics/a?policy=newest')).toEqual([400, expect.stringContaining('POLICY_INVALID')])
    expect(await get('/topics/a?policy={')).toEqual([400, expect.stringContaining('POLICY_INVALID')])
    expect(await get('/topics/a?topic=b')).toEqual([400, expect.stringContaining('path')])
    expect(await get('/events')).toEqual([400, expect.stringContaining('topic')])
    expect(await get('/events?topic=a&topic=..')).toEqual([400, expect.stringContaining('TOPIC_INVALID')])
    expect(await get('/api/clients/nobody')).toEqual([404, expect.stringContaining('CONNECTION_NOT_FOUND')])
    expect(await get('/api/topics/a%20b')).toEqual([400, expect.stringContaining('TOPIC_INVALID')])
    expect(await get('/topics/a?describe=please')).toEqual([400, expect.stringContaining('describe')])
    expect(await get('/events?topic=a&describe')).toEqual([400, expect.stringContaining('/topics/a?describe')])
    expect(await get('/nothing')).toEqual([404, expect.stringContaining('NOT_FOUND')])
  })

  it('takes a policy as JSON only, and only a whole one', async () => {
    const put = async (body: string, type = 'application/json') => {
      const answer = await fetch(`${server.url}/api/topics/a/policy`, {
        method: 'PUT',
        body,
        headers: { 'content-type': type },
      })
      return answer.status
    }
    expect(await put('{"name":"drop-slow","timeoutMs":250}')).toBe(200)
    expect(await put('{"name":"drop-slow","timeoutMs":250}', 'text/plain')).toBe(415)
    expect(await put('{"name":"drop-slow"', 'application/json')).toBe(400)
    expect(await put('{"name":"drop-slow","timeoutMs":-1}')).toBe(400)
    expect(await put('{"name":"drop-slow","__proto__":{"x":1}}')).toBe(400)
    expect(await put(`${'['.repeat(40_000)}${']'.repeat(40_000)}`)).toBe(400)
    expect(await put('')).toBe(400)
    expect(({} as { x?: unknown }).x).toBeUndefined()
  })

  it('E25: closes a subscriber that sends, and says why', async () => {
    const { WebSocket } = await import('ws')
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/topics/a`)
    const closed = new Promise<[number, string]>(resolve =>
      socket.on('close', (code, reason) => resolve([code, reason.toString()])),
    )
    socket.on('open', () => socket.send('hello'))
    expect(await closed).toEqual([4400, 'bad message'])
  })
})

describe('a stream behind another request of its connection', () => {
  it('is refused with a sentence, and is nobody’s client', async () => {
    const health = 'GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n'
    const { body } = await send(
      `${health}GET /topics/pipelined HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
    )
    expect(body).toContain('HTTP/1.1 400')
    expect(body).toContain('a stream cannot be pipelined behind another request of its connection')
    expect(server.hub.getTopic('pipelined')?.subscribers ?? 0).toBe(0)
  })
})
