import { once } from 'node:events'
import { type AddressInfo, connect, type Socket } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { createHub } from '../../src/hub.ts'
import { hubline } from '../../src/server/fastify.ts'
import { collectGarbage, listen } from '../core/sending.ts'

const COUNT = 500
const PADDING = 8000
const WARM_UP = 200
const SSE = ['Accept: text/event-stream']
const UPGRADE = [
  ...['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
]

let app: FastifyInstance
let peers: Socket[] = []
afterEach(end)

async function end(): Promise<void> {
  for (const peer of peers) peer.destroy()
  peers = []
  await app.close()
}

/** What the heap grows by for each of many requests, in bytes. The peers' ends, in this process as well, are the same each time. */
async function bytesEach(request: (i: number) => readonly string[]): Promise<number> {
  app = Fastify()
  await app.register(hubline, { hub: createHub() })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const ask = async (i: number): Promise<void> => {
    const peer = connect(port, '127.0.0.1')
    peers.push(peer)
    peer.write(request(i).join('\r\n'))
    const [answer] = (await once(peer, 'data')) as [Buffer]
    expect(answer.toString()).toMatch(/^HTTP\/1.1 (?:101|2\d\d) /)
  }
  // The first ones compile, and make what is there once.
  for (let i = 0; i < WARM_UP; i++) await ask(COUNT + i)
  const before = await heap()
  for (let i = 0; i < COUNT; i++) await ask(i)
  return ((await heap()) - before) / COUNT
}

async function heap(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    await listen()
    collectGarbage()
  }
  return process.memoryUsage().heapUsed
}

const get = (headers: readonly string[]) => (url: string) => [
  ...[`GET ${url} HTTP/1.1`, 'Host: 127.0.0.1', ...headers],
  ...['', ''],
]

/** A part of a URL that is kept keeps the URL, unless it is copied: V8 cuts without a copy. */
describe('a long URL does not stay in memory with what was in it', () => {
  it.each<[string, (url: string) => readonly string[], (i: number) => string]>([
    ['the id of a client of SSE', get(SSE), i => `/topics/news?client=the-client-of-test-${i}&_=`],
    ['the id of a WebSocket', get(UPGRADE), i => `/topics/news?client=the-client-of-test-${i}&_=`],
    ['a topic', get(UPGRADE), i => `/topics/news-of-the-world-${i}?_=`],
    ['a pattern', get(SSE), i => `/events?topic=news-of-the-world-${i}/**&_=`],
  ])('%s', async (_, request, url) => {
    const padding = 'x'.repeat(PADDING)
    const long = await bytesEach(i => request(url(i) + padding))
    await end()
    const short = await bytesEach(i => request(url(i)))
    expect(long - short).toBeLessThan(PADDING / 2)
  })
})
