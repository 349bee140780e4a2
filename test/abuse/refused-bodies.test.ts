import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startTestServer, type TestServer } from '../server/test-server.ts'
import { open } from './connection.ts'
import { type Nginx, startNginx, withoutNginx } from './nginx.ts'

const BODY = Buffer.alloc(20 * 1024 * 1024, 'x')
const CHUNK = Buffer.alloc(1024 * 1024, 'x')

let server: TestServer
beforeAll(async () => {
  server = await startTestServer({ maxMessageBytes: 1024 * 1024 })
})
afterAll(() => server.close())

type How = 'by length' | 'in chunks'

/** Writes all of a request before it reads: what was answered, up to the end of the connection. */
async function writeThenRead(url: string, head: string, how: How): Promise<string> {
  const socket = open(url)
  const framing = how === 'by length' ? `content-length: ${BODY.length}` : 'transfer-encoding: chunked'
  socket.pause()
  socket.write(`${head}\r\nhost: localhost\r\n${framing}\r\n\r\n`)
  if (how === 'by length') socket.write(BODY)
  else {
    for (let sent = 0; sent < BODY.length; sent += CHUNK.length) {
      socket.write(`${CHUNK.length.toString(16)}\r\n`)
      socket.write(CHUNK)
      socket.write('\r\n')
    }
    socket.write('0\r\n\r\n')
  }
  await new Promise(resolve => {
    socket.write('', resolve)
    socket.on('close', resolve)
  })
  let text = ''
  socket.on('data', data => {
    text += data
  })
  if (!socket.closed) {
    socket.resume()
    await once(socket, 'close')
  }
  return text
}

const REFUSED: readonly (readonly [status: number, code: string, head: string])[] = [
  [413, 'MESSAGE_TOO_LARGE', 'POST /topics/front HTTP/1.1'],
  [415, 'UNSUPPORTED_PAYLOAD', 'POST /api/broadcast HTTP/1.1\r\ncontent-type: text/csv'],
  [415, 'UNSUPPORTED_PAYLOAD', 'PUT /topics/front HTTP/1.1\r\ncontent-type: multipart/form-data; boundary=x'],
  [403, 'ORIGIN_DENIED', 'POST /topics/front HTTP/1.1\r\norigin: https://evil.example'],
  [404, 'NOT_FOUND', 'POST /nowhere HTTP/1.1'],
  [405, 'METHOD_NOT_ALLOWED', 'PATCH /api/stats HTTP/1.1'],
  [400, 'REQUEST_INVALID', 'GET /api/stats HTTP/1.1'],
  [417, 'EXPECTATION_FAILED', 'POST /topics/front HTTP/1.1\r\nexpect: wonders'],
  [431, 'HEADERS_TOO_MANY', `POST /topics/front HTTP/1.1\r\nx: ${'x'.repeat(17_000)}`],
]

describe('E27: a request with a body of 20 MB that is refused before the body is read', () => {
  describe.each(['by length', 'in chunks'] as const)('%s', how => {
    it.each(REFUSED)(
      '%i %s: a client that writes all of it first reads the whole answer',
      async (status, code, head) => {
        const text = await writeThenRead(server.url, head, how)
        expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
        expect(text.toLowerCase()).toContain('\r\nconnection: close\r\n')
        expect(JSON.parse(/\{.*\}/.exec(text)![0])).toMatchObject({ error: { code } })
      },
    )
  })

  /** Its own end stays open when the server says its last. */
  function openHalf(url: string): Socket {
    return connect({ port: Number(new URL(url).port), host: '127.0.0.1', allowHalfOpen: true }).on('error', () => {})
  }

  it.each([
    ['little', 1],
    ['as much as it can', 10_000],
  ])('a client that goes on and sends %s is ended, and what it sends is no request', async (_what, times) => {
    const socket = openHalf(server.url)
    socket.write(`POST /nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\n`)
    const [answer] = (await once(socket, 'data')) as [Buffer]
    expect(answer.toString()).toMatch(/^HTTP\/1.1 404 /)
    const hidden = 'POST /topics/hidden HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx'
    const flood = setInterval(() => socket.write(`x${hidden.repeat(times)}`), 10)
    await new Promise(resolve => socket.on('close', resolve))
    clearInterval(flood)
    expect(server.hub.getTopic('hidden')).toBeNull()
  })

  it('does not hold up the end of the server', async () => {
    const ending = await startTestServer({ drainMs: 100 })
    const socket = openHalf(ending.url)
    socket.write(`POST /nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n`)
    await once(socket, 'data')
    await ending.close()
    socket.destroy()
  })

  describe.skipIf(withoutNginx)('behind nginx', () => {
    const proxy = (port: number, hub: string) => `
      server {
        listen 127.0.0.1:${port};
        client_max_body_size 0;
        location / { proxy_pass http://${hub}; proxy_http_version 1.1; proxy_set_header Host localhost; }
        location /unbuffered/ {
          proxy_pass http://${hub}/;
          proxy_http_version 1.1;
          proxy_request_buffering off;
          proxy_set_header Host localhost;
        }
      }`
    let nginx: Nginx
    beforeAll(async () => {
      nginx = await startNginx(server.url, proxy)
    })
    afterAll(() => nginx[Symbol.asyncDispose]())

    it.each(['', '/unbuffered'])('the client gets the answer of the hub and no 502: %s', async prefix => {
      for (let turn = 0; turn < 10; turn++) {
        const answer = await fetch(`${nginx.url}${prefix}/topics/front`, { method: 'POST', body: BODY })
        expect([answer.status, await answer.json()]).toMatchObject([413, { error: { code: 'MESSAGE_TOO_LARGE' } }])
      }
    })
  })
})
