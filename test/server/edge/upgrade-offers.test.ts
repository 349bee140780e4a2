import { createServer, IncomingMessage, ServerResponse } from 'node:http'
import { connect, Socket } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { createHub } from '../../../src/hub.ts'
import { ignoreUpgradeOffers } from '../../../src/server/edge/upgrade-offers.ts'
import { hubline } from '../../../src/server/fastify.ts'
import { upgradeRequest } from '../raw-request.ts'
import { startTestServer, type TestServer } from '../test-server.ts'

let server: TestServer | undefined
let app: FastifyInstance | undefined
afterEach(async () => {
  await server?.close()
  await app?.close()
  server = undefined
  app = undefined
})

const H2C =
  'Host: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n'

/** Writes each part once the one before has been answered, and reads so many answers that end. */
async function converse(url: string, parts: readonly string[], answers: number): Promise<string[]> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  const found: string[] = []
  let text = ''
  const rest = [...parts]
  socket.write(rest.shift()!, 'latin1')
  for await (const piece of socket) {
    text += (piece as Buffer).toString('latin1')
    for (;;) {
      const end = text.indexOf('\r\n\r\n')
      const length = Number(/content-length: (\d+)/i.exec(text.slice(0, end))?.[1] ?? 0)
      if (end === -1 || text.length < end + 4 + length) break
      found.push(`${text.slice(9, 12)} ${text.slice(end + 4, end + 4 + length)}`)
      text = text.slice(end + 4 + length)
    }
    if (found.length >= answers) break
    if (found.length > 0 && rest.length > 0) socket.write(rest.shift()!, 'latin1')
  }
  socket.destroy()
  return found
}

const post = (path: string, body: string) =>
  `POST ${path} HTTP/1.1\r\n${H2C}Content-Length: ${body.length}\r\n\r\n${body}`
const get = (path: string) => `GET ${path} HTTP/1.1\r\n${H2C}\r\n`
const LIVE = '200 {"status":"ok"}'

describe('an offer to upgrade to h2c', () => {
  it('is ignored, and the request is answered with its body', async () => {
    server = await startTestServer()
    expect(await converse(server.url, [get('/health/live')], 1)).toEqual([LIVE])
    const [answer] = await converse(server.url, [post('/topics/news', 'hello')], 1)
    expect(answer).toMatch(/^202 .*"topic":"news"/)
    const history = await (await fetch(`${server.url}/topics/news?history`)).json()
    expect(history).toMatchObject({ messages: [{ text: 'hello' }] })
  })

  it('keeps the connection: the next request uses it, with an offer of its own or without', async () => {
    server = await startTestServer()
    let connections = 0
    server.app.server.on('connection', () => connections++)
    const parts = [
      get('/health/live'),
      post('/topics/a', 'x'),
      get('/health/live'),
      'GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n',
    ]
    const answers = await converse(server.url, parts, 4)
    expect(answers.map(text => text.slice(0, 3))).toEqual(['200', '202', '200', '200'])
    expect(connections).toBe(1)
  })

  it('does not lose what is pipelined behind it, and keeps the order of the answers', async () => {
    server = await startTestServer()
    const plain = 'POST /topics/b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx'
    const [first, ...rest] = await converse(
      server.url,
      [plain + post('/topics/a', 'yy') + get('/health/live') + plain + get('/health/live')],
      5,
    )
    expect(first).toContain('"topic":"b"')
    expect(rest[0]).toContain('"topic":"a"')
    expect(rest[1]).toBe(LIVE)
    expect(rest[2]).toContain('"topic":"b"')
    expect(rest[3]).toBe(LIVE)
  })

  it.each(['h2c', 'H2C', 'TLS/1.0', 'h2c, foo/2', 'IRC/6.9'])('is as good as any other: %s', async offer => {
    server = await startTestServer()
    const request = `POST /topics/a HTTP/1.1\r\n${H2C.replace('h2c', offer)}Transfer-Encoding: chunked\r\n\r\n`
    expect((await converse(server.url, [`${request}5\r\nhello\r\n0\r\n\r\n`], 1))[0]).toMatch(/^202/)
  })

  it('is ignored by tenants, by routes that take other methods, and by the port of the operators', async () => {
    server = await startTestServer({ admin: { port: 0 }, tenants: { blue: {} } })
    expect((await converse(server.url, [post('/tenants/blue/topics/a', 'x')], 1))[0]).toMatch(/^202/)
    expect((await converse(server.url, [post('/topics/a', 'x').replace('POST', 'PUT')], 1))[0]).toMatch(/^200/)
    expect(await converse(server.adminUrl!, [get('/health/live') + get('/health/live')], 2)).toEqual([LIVE, LIVE])
    expect((await converse(server.adminUrl!, [get('/api/stats')], 1))[0]).toMatch(/^200/)
  })

  it('is ignored on routes of the app that has the plugin', async () => {
    app = Fastify()
    app.post('/own', async request => ({ got: request.body }))
    await app.register(hubline, { hub: createHub() })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const own =
      `POST /own HTTP/1.1\r\n${H2C}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{"a": [1]}`.replace(
        ': 9',
        ': 10',
      )
    expect(await converse(url, [own], 1)).toEqual(['200 {"got":{"a":[1]}}'])
  })

  it('counts the connection once, so that a limit of one lets it ask again and again', async () => {
    server = await startTestServer({ limits: { maxConnectionsPerAddress: 1, exempt: [] } })
    const parts = [get('/health/live'), get('/health/live'), get('/health/live')]
    expect(await converse(server.url, parts, 3)).toEqual([LIVE, LIVE, LIVE])
  })

  it('leaves nothing on the socket that grows with each request', async () => {
    server = await startTestServer()
    const counts: number[] = []
    server.app.server.on('request', ({ socket }) => {
      counts.push(socket.eventNames().reduce((sum, name) => sum + socket.listenerCount(name), 0))
    })
    await converse(
      server.url,
      Array.from({ length: 6 }, () => get('/health/live')),
      6,
    )
    expect(new Set(counts.slice(1)).size).toBe(1)
  })

  it('on a connection that breaks while an earlier answer is written ends no more than the connection', async () => {
    const server = createServer()
    ignoreUpgradeOffers(server)
    const socket = new Socket()
    const request = new IncomingMessage(socket)
    const ahead = new ServerResponse(request)
    ahead.shouldKeepAlive = true
    Object.assign(socket, { _httpMessage: ahead })
    server.emit('upgrade', request, socket, Buffer.alloc(0))
    const closed = new Promise(resolve => socket.once('close', resolve))
    socket.destroy(new Error('write ECONNRESET'))
    ahead.emit('close')
    // The error comes after the close of the answer. Without a listener it would end the process.
    expect(socket.listenerCount('error')).toBe(1)
    await closed
  })

  it('with more headers than Node keeps is refused, for the length of its body is not known', async () => {
    server = await startTestServer()
    const many = 'a: b\r\n'.repeat(1100)
    const hidden = 'GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n'
    const text = `POST /topics/a HTTP/1.1\r\n${H2C}${many}Content-Length: ${hidden.length}\r\n\r\n${hidden}`
    const [refusal, ...more] = await converse(server.url, [text], 2)
    // Node 22 and later count headers themselves, and the refusal of the parser has a body.
    expect(refusal).toMatch(/^431 /)
    expect(more).toEqual([])
  })

  it('does not keep a WebSocket from the same connection', async () => {
    server = await startTestServer()
    const answers = await converse(server.url, [get('/health/live'), upgradeRequest('/topics/a')], 2)
    expect(answers[1]).toMatch(/^101/)
  })

  it('does not keep a WebSocket from waiting for the answers before it', async () => {
    app = Fastify()
    let answer = (): void => {}
    const asked = new Promise<void>(resolve => {
      app!.get('/slow', async () => {
        resolve()
        await new Promise<void>(done => {
          answer = done
        })
        return 'late'
      })
    })
    const hub = createHub()
    await app.register(hubline, { hub })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const offered = new Promise(resolve => app!.server.on('upgrade', resolve))
    const text = `GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n${upgradeRequest('/topics/a')}`
    const answers = converse(url, [text], 2)
    await asked
    answer()
    await offered
    expect(await answers).toEqual(['200 late', expect.stringMatching(/^101/)])
    // A socket that nothing reads would never be missed.
    await new Promise<void>(resolve => app!.server.close(() => resolve()))
  })

  it('behind a stream, a WebSocket is not opened: the connection ends', async () => {
    server = await startTestServer()
    const { hostname, port } = new URL(server.url)
    const socket = connect(Number(port), hostname, () => {
      socket.write(`GET /topics/a HTTP/1.1\r\nHost: localhost\r\n\r\n${upgradeRequest('/topics/b')}`)
    })
    await new Promise(resolve =>
      socket
        .on('error', () => {})
        .resume()
        .on('close', resolve),
    )
    expect(server.hub.getTopic('b')).toBeNull()
  })

  it('behind a stream is not answered: the connection ends', async () => {
    server = await startTestServer()
    const { hostname, port } = new URL(server.url)
    const socket = connect(Number(port), hostname, () => socket.write(`GET /topics/a HTTP/1.1\r\n${H2C}\r\n`))
    let text = ''
    socket.on('data', piece => {
      if (text === '') socket.write(post('/topics/a', 'x'))
      text += piece.toString()
    })
    await new Promise(resolve => socket.on('close', resolve))
    expect(server.hub.getTopic('a')?.published ?? 0).toBe(0)
  })
})
