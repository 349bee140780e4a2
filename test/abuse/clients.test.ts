import { once } from 'node:events'
import { Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { eventLoop } from '../../src/event-loop.ts'
import { listen } from '../server/http.ts'
import { startTestServer, type TestServer } from '../server/test-server.ts'
import { Peer } from '../transports/client-peer.ts'
import { open } from './connection.ts'
import { FramePeer, PING, PONG } from './frame-peer.ts'

const HOUR_MS = 3_600_000

let server: TestServer
const faults: unknown[] = []
beforeAll(async () => {
  server = await startTestServer({ pingMs: 100 })
  server.hub.events.on('fault', ({ error }) => faults.push(error))
})
afterAll(() => server.close())
afterEach(() => {
  faults.length = 0
})

const protocolUrl = (client: string) => `${server.url.replace('http', 'ws')}/connection/websocket?client=${client}`
const publish = (topic: string, text: string) =>
  server.hub.routeData(topic, Buffer.from(text), { contentType: 'text/plain' })

describe('handlers of the application that fail', () => {
  it('D9: are told as faults; whoever they were about and everybody else goes on', async () => {
    const { events } = server.hub
    const never = new Promise<never>(() => {})
    const failing = {
      register: () => {
        throw new Error('threw')
      },
      subscribe: () => Promise.reject(new Error('rejected')),
      unsubscribe: () => never,
      unregister: () => {
        throw undefined
      },
    }
    for (const [event, handler] of Object.entries(failing)) events.on(event as 'register', handler as () => void)
    const bystander = await listen(server.url, 'bystander', 'handlers')
    const one = await listen(server.url, 'one', 'handlers')
    one.webSocket.close()
    await one.closed
    publish('handlers', 'still here')
    await expect.poll(() => bystander.heard).toEqual(['still here'])
    for (const [event, handler] of Object.entries(failing)) events.off(event as 'register', handler as () => void)
    expect(faults.map(fault => (fault as Error | undefined)?.message)).toEqual(
      expect.arrayContaining(['threw', 'rejected', undefined]),
    )
    bystander.webSocket.terminate()
  })
})

describe('commands that come twice, or for nothing', () => {
  it('D10: each has an exact answer, and changes nothing', async () => {
    await using peer = await Peer.connect(protocolUrl('twice'))
    expect(await peer.call({ id: 2, subscribe: { channel: 'a' } })).toMatchObject({ id: 2, subscribe: {} })
    expect(await peer.call({ id: 3, subscribe: { channel: 'a' } })).toEqual({
      id: 3,
      error: { code: 105, message: 'already subscribed' },
    })
    expect(server.hub.getTopic('a')?.subscribers).toBe(1)
    expect(await peer.call({ id: 4, unsubscribe: { channel: 'never' } })).toEqual({ id: 4, unsubscribe: {} })
    expect(await peer.call({ id: 5, unsubscribe: { channel: 'a' } })).toEqual({ id: 5, unsubscribe: {} })
    expect(await peer.call({ id: 6, unsubscribe: { channel: 'a' } })).toEqual({ id: 6, unsubscribe: {} })
    expect(server.hub.getTopic('a')?.subscribers).toBe(0)
    expect(server.hub.getTopic('never')).toBeNull()
  })

  it('D10: also over HTTP', async () => {
    const { webSocket } = await listen(server.url, 'http', 'b')
    const at = (path: string) => `${server.url}/api/clients/http/subscriptions${path}`
    const subscribe = { method: 'POST', body: '{"topic":"b"}', headers: { 'content-type': 'application/json' } }
    expect([(await fetch(at(''), subscribe)).status, (await fetch(at(''), subscribe)).status]).toEqual([200, 200])
    expect(server.hub.getTopic('b')?.subscribers).toBe(1)
    const leave = async (topic: string) => (await fetch(at(`/${topic}`), { method: 'DELETE' })).status
    expect([await leave('b'), await leave('b'), await leave('never')]).toEqual([204, 404, 404])
    webSocket.terminate()
  })
})

describe('what is sent to whoever has gone', () => {
  it('D11: a send is refused with a code; a publication is for the others', async () => {
    const { webSocket, closed } = await listen(server.url, 'gone', 'c')
    webSocket.close()
    await closed
    await expect.poll(() => [...server.hub.getClientsForTopic('c')]).toEqual([])
    await expect(server.hub.send('gone', 'x')).rejects.toMatchObject({ code: 'CONNECTION_NOT_FOUND' })
    expect(publish('c', 'x')).toMatchObject({ matched: 0 })
  })

  it.each([
    [
      'a WebSocket',
      'GET /topics/reset?client=reset HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    ],
    ['a stream', 'GET /topics/reset?client=reset HTTP/1.1\r\nHost: localhost\r\n\r\n'],
    ['events', 'GET /topics/reset?client=reset HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n'],
  ])('D11: %s that is reset while it is written to ends as one, and throws nowhere', async (_what, request) => {
    const ends: string[] = []
    const heard = ({ id, reason }: { id: string; reason: string }) => id === 'reset' && ends.push(reason)
    server.hub.events.on('unregister', heard)
    for (let round = 1; round <= 20; round++) {
      const socket = open(server.url)
      socket.write(request)
      await once(socket, 'data')
      await expect.poll(() => server.hub.getTopic('reset')?.subscribers).toBe(1)
      const writing = setInterval(() => publish('reset', 'x'.repeat(100_000)), 1)
      socket.resetAndDestroy()
      await expect.poll(() => ends.length).toBe(round)
      clearInterval(writing)
    }
    server.hub.events.off('unregister', heard)
    for (const reason of ends) expect(['peer', 'lost', 'slow']).toContain(reason)
    expect(server.hub.getConnectionStats()).toMatchObject({ queuedBytes: 0, pending: 0 })
    expect(faults).toEqual([])
  })
})

describe('peers that read nothing and are told to go', () => {
  it.each(['1.0', '1.1'])('D11: over HTTP/%s leave no connection behind', async version => {
    const connections = () =>
      new Promise<number>(resolve => server.app.server.getConnections((_error, count) => resolve(count)))
    const before = await connections()
    const ids = Array.from({ length: 5 }, (_, i) => `stalled-${i}`)
    const peers = ids.map(id => {
      const socket = open(server.url).pause()
      socket.write(`GET /topics/stalled?policy=latest&client=${id} HTTP/${version}\r\nHost: localhost\r\n\r\n`)
      return socket
    })
    await expect.poll(() => server.hub.getTopic('stalled')?.subscribers).toBe(5)
    while (server.hub.getConnectionStats().behind < 5) {
      publish('stalled', 'x'.repeat(500_000))
      await new Promise(setImmediate)
    }
    const resets = vi.spyOn(Socket.prototype, 'resetAndDestroy')
    for (const id of ids) server.hub.unregisterClient(id, 'ended')
    await expect.poll(connections, { timeout: 5000 }).toBe(before)
    // A reset: the kernel keeps nothing of what they did not read.
    expect(resets).toHaveBeenCalledTimes(5)
    resets.mockRestore()
    for (const peer of peers) peer.destroy()
  })
})

describe('a wall clock that jumps', () => {
  it.each([HOUR_MS, -HOUR_MS])('D12: by %i ms evicts nobody, forgets nothing and stops no ping', async jump => {
    const { webSocket, heard } = await listen(server.url, `jump${jump > 0 ? 'ed' : 'ing'}`, 'clock')
    let pings = 0
    webSocket.on('ping', () => pings++)
    publish('clock', 'before')
    const real = Date.now
    const clock = vi.spyOn(Date, 'now').mockImplementation(() => real() + jump)
    try {
      const before = pings
      await expect.poll(() => pings, { timeout: 5000 }).toBeGreaterThan(before + 3)
      publish('clock', 'after')
      await expect.poll(() => heard).toEqual(['before', 'after'])
      expect(server.hub.getTopic('clock')?.retained.messages).toBeGreaterThanOrEqual(2)
      expect(webSocket.readyState).toBe(webSocket.OPEN)
    } finally {
      clock.mockRestore()
      webSocket.terminate()
    }
  })
})

describe('who never says who it is', () => {
  it('D13: is closed by the client protocol after ten seconds with 3502, and was nobody until then', async () => {
    const deadlines = vi.spyOn(eventLoop, 'after')
    const peer = await FramePeer.open(server.url, '/connection/websocket?client=silent')
    const ends = deadlines.mock.calls.filter(([ms]) => ms === 10_000).map(([, run]) => run)
    deadlines.mockRestore()
    expect(ends).toHaveLength(1)
    // The server answers a ping, so the connection is open.
    peer.say({ opcode: PING })
    while (peer.frames.length < 1) await once(peer.socket, 'data')
    expect(peer.frames.map(({ opcode }) => opcode)).toEqual([PONG])
    expect([...server.hub.getActiveClients()].map(({ id }) => id)).not.toContain('silent')
    ends[0]!()
    expect(await peer.ended()).toMatchObject({ code: 3502 })
  })
})
