import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { startTestServer, type TestServer } from '../server/test-server.ts'
import { type Nginx, startNginx, withoutNginx } from './nginx.ts'

const page = readFileSync(new URL('../../docs/proxies.md', import.meta.url), 'utf8')
/** The block of the page, with the ports of this test in the two places that name one. */
function block(port: number, hub: string): string {
  const [, text] = /```nginx\n([\s\S]+?)```/.exec(page)!
  const [listen, server] = ['listen 80;', 'server 127.0.0.1:8000;']
  expect(text!.split(listen)).toHaveLength(2)
  expect(text!.split(server)).toHaveLength(2)
  return text!.replace(listen, `listen 127.0.0.1:${port};`).replace(server, `server ${hub};`)
}

describe.skipIf(withoutNginx)('the nginx block of docs/proxies.md, as it is written', () => {
  let server: TestServer
  let nginx: Nginx
  beforeAll(async () => {
    server = await startTestServer({
      hosts: ['hub.example.org'],
      trustedProxies: ['127.0.0.1'],
      topics: { plain: { contentType: 'text/plain' } },
    })
    nginx = await startNginx(server.url, block)
  })
  afterAll(async () => {
    await nginx[Symbol.asyncDispose]()
    await server.close()
  })

  const read = async (body: ReadableStream<Uint8Array>, marker: string): Promise<string> => {
    let text = ''
    for await (const piece of body as unknown as AsyncIterable<Uint8Array>) {
      text += Buffer.from(piece).toString()
      if (text.includes(marker)) return text
    }
    return text
  }
  const publish = (topic: string, body: string) => fetch(`${nginx.url}/topics/${topic}`, { method: 'POST', body })

  it.each([
    ['plain', '*/*'],
    ['events', 'text/event-stream'],
  ])('passes on each message of %s at once, while the stream stays open', async (topic, accept) => {
    const aborted = new AbortController()
    const stream = await fetch(`${nginx.url}/topics/${topic}`, { headers: { accept }, signal: aborted.signal })
    expect((await publish(topic, 'one')).status).toBe(202)
    expect(await read(stream.body!, 'one')).toContain('one')
    aborted.abort()
  })

  it('passes on a live source piece by piece, before it ends', async () => {
    const aborted = new AbortController()
    const stream = await fetch(`${nginx.url}/topics/live`, { signal: aborted.signal })
    const source = request(`${nginx.url}/topics/live?split=lines`, {
      method: 'PUT',
      headers: { 'content-type': 'text/plain' },
    })
    source.write('first\n')
    expect(await read(stream.body!, 'first')).toContain('first')
    source.end('last\n')
    const [answer] = await once(source, 'response')
    expect(answer.statusCode).toBe(200)
    answer.resume()
    aborted.abort()
  })

  it('passes on WebSockets, of pages of its own origin too', async () => {
    const url = `${nginx.url.replace('http', 'ws')}/topics/socket`
    const socket = new WebSocket(url, { headers: { host: 'hub.example.org', origin: 'http://hub.example.org' } })
    await once(socket, 'open')
    await publish('socket', 'hello')
    const [message] = await once(socket, 'message')
    expect(message.toString()).toBe('hello')
    socket.close()
  })

  it('tells the hub whose requests these are', async () => {
    const socket = new WebSocket(`${nginx.url.replace('http', 'ws')}/topics/who?client=ada`, {
      headers: { host: 'hub.example.org', 'x-forwarded-for': '198.51.100.7' },
    })
    await once(socket, 'open')
    // 198.51.100.7 is what the peer claims, and 127.0.0.1 what nginx knows: of two trusted entries the first is the client.
    expect(server.hub.getClient('ada').address).toBe('198.51.100.7')
    socket.close()
  })

  it('takes a body that is larger than what nginx takes by default', async () => {
    const body = 'x'.repeat(1024 * 1024)
    expect((await publish('large', body)).status).toBe(202)
  })
})
