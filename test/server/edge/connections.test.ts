import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { FastifyPluginAsync } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { rawRequest, upgradeRequest } from '../raw-request.ts'
import { startTestServer, type TestServer } from '../test-server.ts'

let server: TestServer
const peers: Socket[] = []
afterEach(async () => {
  for (const peer of peers.splice(0)) peer.destroy()
  await server.close()
})

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 5))
}

interface Peer {
  readonly socket: Socket
  text: string
  ended: boolean
  reset: boolean
}

async function open(request = '', from?: string): Promise<Peer> {
  const socket = connect({
    port: Number(new URL(server.url).port),
    host: '127.0.0.1',
    ...(from && { localAddress: from }),
  })
  peers.push(socket)
  const peer: Peer = { socket, text: '', ended: false, reset: false }
  socket.on('data', data => (peer.text += data.toString('latin1')))
  socket.on('error', (error: NodeJS.ErrnoException) => (peer.reset = error.code === 'ECONNRESET'))
  socket.on('close', () => (peer.ended = true))
  await new Promise(resolve => socket.once('connect', resolve))
  socket.write(request)
  return peer
}

const MIB = 1024 * 1024
const HEALTH = 'GET /health/live HTTP/1.1\r\nHost: localhost\r\n'
const stream = (more = '') => `GET /topics/a HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`
const clients = () => server.hub.getConnectionStats().clients
const rejected = () => [...server.app.hubContext.rejections.counts].map(({ code, count }) => `${code} ${count}`)
const refused = (limit: keyof TestServer['app']['hubContext']['edge']['refused']) =>
  server.app.hubContext.edge.refused[limit]

describe('connections', () => {
  it('of one address are counted, whatever they do; one too many is told which limit it was', async () => {
    server = await startTestServer({ limits: { maxConnectionsPerAddress: 3, exempt: [] } })
    const silent = await open('')
    await open(stream())
    const socket = await open(upgradeRequest('/topics/a'))
    await until(() => clients() === 2)
    const { status, head, body } = await rawRequest(server.url, `${HEALTH}\r\n`)
    expect([status, head.toLowerCase().includes('connection: close')]).toEqual([503, true])
    expect(JSON.parse(body)).toEqual({
      error: {
        code: 'LIMIT_EXCEEDED',
        message: 'limits.maxConnectionsPerAddress: your address has 3 connections already; close some, or raise it',
      },
    })
    expect((await rawRequest(server.url, upgradeRequest('/topics/a'))).status).toBe(503)
    const other = await open(`${HEALTH}\r\n`, '127.0.0.2')
    await until(() => other.text.includes('200 OK'))
    expect(refused('maxConnectionsPerAddress')).toBe(2)
    silent.socket.destroy()
    socket.socket.destroy()
    await until(() => clients() === 1)
    expect((await rawRequest(server.url, `${HEALTH}Connection: close\r\n\r\n`)).status).toBe(200)
  })

  it('of the process are counted, and what is more than a few too many is reset at once', async () => {
    server = await startTestServer({ limits: { maxConnections: 2 } })
    await open(stream())
    await open(stream())
    await until(() => clients() === 2)
    const more = await Promise.all(Array.from({ length: 80 }, () => open('')))
    // Those that may ask are let go after 2 s without a word.
    await until(() => more.every(({ ended }) => ended))
    expect(more.filter(({ reset }) => reset)).toHaveLength(16)
    expect(refused('maxConnections')).toBe(80)
    expect(clients()).toBe(2)
    const { status, body } = await rawRequest(server.url, `${HEALTH}\r\n`)
    expect([status, body]).toEqual([
      503,
      expect.stringContaining('limits.maxConnections: this server has 2 connections'),
    ])
    server.app.hubContext.edge.set({ maxConnections: 10 })
    expect((await rawRequest(server.url, `${HEALTH}Connection: close\r\n\r\n`)).status).toBe(200)
  })

  it('of the process are counted whoever’s tenant they are for', async () => {
    server = await startTestServer({ limits: { maxConnections: 1 }, tenants: { acme: {} } })
    await open(stream())
    await until(() => clients() === 1)
    const { status, body } = await rawRequest(
      server.url,
      HEALTH.replace('/health', '/tenants/acme/health').concat('\r\n'),
    )
    expect([status, body]).toEqual([503, expect.stringContaining('limits.maxConnections')])
  })

  it('of loopback are not counted by address, as it is shipped', async () => {
    server = await startTestServer({ limits: { maxConnectionsPerAddress: 1 } })
    for (let i = 0; i < 5; i++) await open(stream())
    await until(() => clients() === 5)
  })

  it('of a trusted proxy are those of whom it is for', async () => {
    const limits = { maxConnectionsPerAddress: 2, exempt: [] }
    server = await startTestServer({ limits, trustedProxies: ['127.0.0.1'] })
    const by = (address: string) => stream(`X-Forwarded-For: ${address}\r\n`)
    const first = await open(by('192.0.2.1'))
    await open(upgradeRequest('/topics/a', { 'X-Forwarded-For': '192.0.2.1' }))
    await until(() => clients() === 2)
    const third = await open(by('192.0.2.1'))
    await until(() => third.ended)
    expect(third.text).toContain('503')
    await open(by('192.0.2.2'))
    await until(() => clients() === 3)
    first.socket.destroy()
    await until(() => clients() === 2)
    await open(by('192.0.2.1'))
    await until(() => clients() === 3)
  })

  it('carry a bounded number of requests behind one that is not answered yet', async () => {
    server = await startTestServer()
    // It answers no ping.
    await open(upgradeRequest('/topics/a?client=silent'))
    await until(() => clients() === 1)
    const slow = 'GET /api/clients/silent/active?timeoutMs=60000 HTTP/1.1\r\nHost: localhost\r\n\r\n'
    const few = await open(slow + `${HEALTH}\r\n`.repeat(64))
    const many = await open(slow + `${HEALTH}\r\n`.repeat(65))
    await until(() => many.ended)
    expect([few.ended, refused('pipelining')]).toEqual([false, 1])
    expect(rejected()).toEqual(['LIMIT_EXCEEDED 1'])
    // Those that are answered in turn are not waiting.
    const inTurn = await open(`${HEALTH}\r\n`.repeat(60))
    await until(() => inTurn.text.split('200 OK').length === 61)
    inTurn.socket.write(`${HEALTH}\r\n`.repeat(60))
    await until(() => inTurn.text.split('200 OK').length === 121)
  })
})

it('what no route sees is told in our form and counted: a strange Expect, too long a head', async () => {
  server = await startTestServer()
  const expecting = await open(
    'POST /topics/a HTTP/1.1\r\nHost: localhost\r\nExpect: nope\r\nContent-Length: 1\r\n\r\nx',
  )
  await until(() => expecting.ended)
  expect(expecting.text).toMatch(/^HTTP\/1.1 417 [\s\S]*"code":"EXPECTATION_FAILED"/)
  const long = await open(`GET /health/live HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(17_000)}\r\n\r\n`)
  await until(() => long.ended)
  expect(rejected()).toEqual(['EXPECTATION_FAILED 1', 'HEADERS_TOO_MANY 1'])
})

describe('what a peer sends too slowly', () => {
  const timeouts = { headersMs: 200, bodyMs: 300, sourceIdleMs: 400 }

  it.each([
    ['nothing', ''],
    ['half a head', 'GET /health/live HTTP/1.1\r\nHost: loc'],
  ])('%s: 408 when the limit has passed', async (_what, request) => {
    server = await startTestServer({ timeouts })
    const begun = performance.now()
    const peer = await open(request)
    await until(() => peer.ended)
    expect(peer.text).toContain('HTTP/1.1 408 ')
    expect(refused('headersMs')).toBe(1)
    expect(rejected()).toEqual(request === '' ? [] : ['REQUEST_TIMEOUT 1'])
    // Node's own limit for a head is a minute.
    expect(performance.now() - begun).toBeLessThan(40_000)
  })

  const part = (head: string) => `${head}\r\nHost: localhost\r\nContent-Length: 100\r\n`
  it.each([
    ['a publication', part('POST /topics/a HTTP/1.1')],
    ['JSON', `${part('POST /api/broadcast HTTP/1.1')}Content-Type: application/json\r\n`],
    ['a policy', `${part('PUT /api/topics/a/policy HTTP/1.1')}Content-Type: application/json\r\n`],
    ['a message to one client', part('POST /api/clients/x/send HTTP/1.1')],
  ])('the body of %s: 408, and the end', async (_what, head) => {
    server = await startTestServer({ timeouts })
    const peer = await open(`${head}\r\nhalf`)
    await until(() => peer.ended)
    expect(peer.text).toMatch(/HTTP\/1.1 408 [\s\S]*REQUEST_TIMEOUT[\s\S]*timeouts.bodyMs/)
    expect(server.hub.getTopic('a')).toBeNull()
    expect(refused('bodyMs')).toBe(1)
  })

  it('a body that nobody has begun to read: the end, and the server lives', async () => {
    const stuck: FastifyPluginAsync = async app => {
      app.addHook('onRequest', () => new Promise(() => {}))
      app.post('/stuck', () => 'never')
    }
    server = await startTestServer({ timeouts }, { plugins: [stuck] })
    const peer = await open(`${part('POST /stuck HTTP/1.1')}\r\nhalf`)
    await until(() => peer.ended)
    expect([peer.text, refused('bodyMs')]).toEqual(['', 1])
    expect((await rawRequest(server.url, `${HEALTH}Connection: close\r\n\r\n`)).status).toBe(200)
  })

  it('a live source may go on for longer than any body, and is given up when nothing comes', async () => {
    server = await startTestServer({ timeouts })
    const source = await open('PUT /topics/live HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n')
    const begun = performance.now()
    const talk = setInterval(() => source.socket.write('1\r\nx\r\n'), 100)
    await until(() => performance.now() - begun > 1500)
    clearInterval(talk)
    expect(source.ended).toBe(false)
    await until(() => source.ended)
    expect(source.text).toMatch(/HTTP\/1.1 408 [\s\S]*nothing came for 400 ms \(timeouts.sourceIdleMs\)/)
    expect(server.hub.getTopic('live')!.published).toBeGreaterThan(10)
    expect(refused('sourceIdleMs')).toBe(1)
  })
})

describe('E24: a flood of one client, as the server is shipped', () => {
  /** What the client was closed with, and how many messages it may have sent by then: two seconds' worth at once, and its rate. */
  async function flood(path: string, protocol: string[], message: string | Buffer, first?: string, rate = 1000) {
    const begun = performance.now()
    const socket = new WebSocket(server.url.replace('http', 'ws') + path, protocol)
    const closed = once(socket, 'close') as Promise<[number]>
    await new Promise(resolve => socket.once('open', resolve))
    if (first !== undefined) {
      socket.send(first)
      await new Promise(resolve => socket.once('message', resolve))
    }
    while (socket.readyState === WebSocket.OPEN) {
      for (let i = 0; i < 500 && socket.bufferedAmount < 4 * MIB; i++) socket.send(message)
      await new Promise(setImmediate)
    }
    const [code] = await closed
    return { code, allowed: 2 * rate + ((performance.now() - begun) / 1000) * rate }
  }

  const COMMAND = '{"id":2,"publish":{"channel":"a","data":1}}'
  const CONNECT = '{"id":1,"connect":{}}'

  it.each([
    ['frames of a publisher', '/topics/a?role=publisher', [], 'x', undefined, 4429],
    ['bytes of a publisher', '/topics/a?role=publisher', [], Buffer.alloc(64 * 1024), undefined, 4429],
    ['commands', '/connection/websocket', ['centrifuge-json'], COMMAND, CONNECT, 3013],
    ['commands in few frames', '/connection/websocket', [], `${COMMAND}\n`.repeat(100), CONNECT, 3013],
    ['answers to pings', '/connection/websocket', [], '{}', CONNECT, 3013],
  ] as const)('of %s ends it, and nobody else', async (_what, path, protocol, message, first, code) => {
    server = await startTestServer({ maxMessageBytes: 64 * 1024 })
    const quiet = new WebSocket(`${server.url.replace('http', 'ws')}/topics/quiet?role=both&client=quiet`)
    const heard: string[] = []
    quiet.on('message', (data: Buffer) => heard.push(data.toString()))
    await until(() => quiet.readyState === WebSocket.OPEN)
    const { code: closed, allowed } = await flood(path, [...protocol], message, first)
    expect(closed).toBe(code)
    const { closes, clients, published } = server.hub.getConnectionStats()
    expect([closes.flooding, clients]).toEqual([1, 1])
    expect(published).toBeLessThanOrEqual(allowed)
    // What ws had read already is no second flood.
    expect(refused('messagesPerSecondPerClient') + refused('bytesPerSecondPerClient')).toBeLessThanOrEqual(1)
    expect(rejected()).toEqual(['RATE_LIMITED 1'])
    quiet.send('still here')
    await until(() => heard.length === 1)
    quiet.terminate()
  })

  it('of patterns ends it sooner, for each looks through all topics; as many as a client may have do not', async () => {
    server = await startTestServer()
    const endpoint = `${server.url.replace('http', 'ws')}/connection/websocket`
    const order = (id: number) =>
      `{"id":${id},"subscribe":{"channel":"a/${id}/*"}}\n{"id":${id},"unsubscribe":{"channel":"a/${id}/*"}}`
    const ends: (number | string)[] = []
    for (const count of [16, 100]) {
      const client = new WebSocket(endpoint)
      await new Promise(resolve => client.once('open', resolve))
      client.send('{"id":1,"connect":{}}')
      const end = new Promise<number | string>(resolve => {
        client.on('close', code => resolve(code))
        client.on('message', (data: Buffer) => {
          if (data.includes('{"id":17,"unsubscribe"')) resolve('answered')
        })
      })
      client.send(Array.from({ length: count }, (_, at) => order(2 + at)).join('\n'))
      ends.push(await end)
      client.terminate()
    }
    expect(ends).toEqual(['answered', 3013])
    expect(refused('bytesPerSecondPerClient')).toBe(1)
  })

  it('is not read any more, though the peer goes on', async () => {
    server = await startTestServer()
    let socket: Socket | undefined
    server.app.server.on('connection', (accepted: Socket) => (socket = accepted))
    const rude = await open(upgradeRequest('/topics/a?role=publisher'))
    await until(() => rude.text.includes('101'))
    // Masked text frames of one byte. It answers no close, and never stops.
    const frames = Buffer.concat(Array<Buffer>(10_000).fill(Buffer.from([0x81, 0x81, 0, 0, 0, 0, 0x78])))
    const talk = setInterval(() => rude.socket.writableLength < 4 * MIB && rude.socket.write(frames), 1)
    await until(() => server.hub.getConnectionStats().closes.flooding === 1)
    await until(() => rude.ended)
    clearInterval(talk)
    expect(socket!.bytesRead).toBeLessThan(2 * frames.byteLength)
  })

  it('is one also where each command waits for its answer', async () => {
    server = await startTestServer({ limits: { messagesPerSecondPerClient: 50, maxSubscriptionsPerClient: 1 } })
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/connection/websocket`)
    let answers = 0
    socket.on('open', () => socket.send(CONNECT))
    socket.on('message', () => {
      answers++
      socket.send(COMMAND)
    })
    const code = await new Promise(resolve => socket.once('close', resolve))
    expect(code).toBe(3013)
    expect(answers).toBeGreaterThanOrEqual(100)
    expect(refused('messagesPerSecondPerClient')).toBe(1)
  })

  it('is one only above the rate: all subscriptions of a client may come at once', async () => {
    server = await startTestServer({ limits: { maxSubscriptionsPerClient: 3000, messagesPerSecondPerClient: 1 } })
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/connection/websocket`)
    await new Promise(resolve => socket.once('open', resolve))
    socket.send(CONNECT)
    for (let i = 0; i < 2500; i++) socket.send(`{"id":${i + 2},"subscribe":{"channel":"t${i}"}}`)
    await until(() => server.hub.getConnectionStats().subscriptions === 2500)
    socket.terminate()
  })

  it('is held against its address as well, unless that is exempt', async () => {
    server = await startTestServer({ limits: { messagesPerSecondPerAddress: 50, exempt: [] } })
    const { code, allowed } = await flood('/topics/a?role=publisher', [], 'x', undefined, 50)
    expect(code).toBe(4429)
    expect(server.hub.getTopic('a')!.published).toBeLessThanOrEqual(allowed)
    expect(refused('messagesPerSecondPerAddress')).toBe(1)
  })
})

describe('live sources of an address', () => {
  it('are read no faster than it may send, and lose nothing', async () => {
    server = await startTestServer({ limits: { messagesPerSecondPerAddress: 1000, exempt: [] } })
    const lines = Array.from({ length: 500 }, (_, i) => `${i}\n`).join('')
    const url = `${server.url}/topics/lines?split=lines`
    const begun = performance.now()
    const answers = await Promise.all([1, 2, 3, 4, 5, 6].map(() => fetch(url, { method: 'PUT', body: lines })))
    for (const answer of answers) expect(await answer.json()).toMatchObject({ messages: 500 })
    expect(server.hub.getTopic('lines')!.published).toBe(3000)
    // 2,000 at once, and a second for the others.
    expect(performance.now() - begun).toBeGreaterThan(900)
    expect(refused('messagesPerSecondPerAddress')).toBeGreaterThan(0)
  })
})
