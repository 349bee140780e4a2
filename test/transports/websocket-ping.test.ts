import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type ClientOptions, WebSocket, WebSocketServer } from 'ws'
import { createHub, type Hub } from '../../src/hub.ts'
import { webSocketTopic } from '../../src/transports/websocket.ts'
import { ManualHeartbeat } from './client-peer.ts'

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

/** A hub, and one client of Node's `ws` on a real socket. */
async function connect(options: ClientOptions & { autoPong?: boolean; heartbeat?: ManualHeartbeat } = {}) {
  const hub = createHub()
  const server = createServer()
  new WebSocketServer({ server }).on('connection', (webSocket, { socket }) => {
    webSocketTopic.open(
      { webSocket, socket },
      { hub, clientId: 'ada', topics: [{ name: 'a' }], heartbeat: options.heartbeat },
    )
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}/`, options)
  const pings: Buffer[] = []
  const messages: string[] = []
  client.on('ping', data => pings.push(data))
  client.on('message', data => messages.push(`${data}`))
  await once(client, 'open')
  await expect.poll(() => hub.getConnectionStats().clients).toBe(1)
  ends.push(async () => {
    await hub.close()
    server.closeAllConnections()
    server.close()
  })
  return { hub, client, pings, messages }
}

const confirmed = (hub: Hub, text: string): Promise<string> =>
  hub.send('ada', text, { confirm: true }).then(
    result => `${result.confirmed}`,
    error => error.code,
  )

describe('confirmed sends to a WebSocket', () => {
  it('share pings: a thousand at once are no attack on the peer', async () => {
    const { hub, pings, messages } = await connect()
    const sends = Array.from({ length: 1000 }, (_, i) => confirmed(hub, `${i}`))
    expect(new Set(await Promise.all(sends))).toEqual(new Set(['true']))
    expect(messages).toEqual(sends.map((_, i) => `${i}`))
    expect(pings.length).toBeLessThanOrEqual(2)
    expect(hub.getConnectionStats()).toMatchObject({ clients: 1, closes: {} })
  })

  it('are confirmed by the pong to a ping that came after them, and by no other', async () => {
    const { hub, client, pings, messages } = await connect({ autoPong: false })
    const ended: string[] = []
    const send = (text: string): void => {
      void confirmed(hub, text).then(how => ended.push(`${text}: ${how}`))
    }
    send('a')
    await expect.poll(() => pings.length).toBe(1)
    send('b')
    send('c')
    await expect.poll(() => messages).toEqual(['a', 'b', 'c'])
    for (const wrong of ['', 'x', '12345678']) client.pong(wrong)
    client.pong(pings[0])
    await expect.poll(() => ended).toEqual(['a: true'])
    await expect.poll(() => pings.length).toBe(2)
    // Late, and of a ping that is over.
    client.pong(pings[0])
    client.pong(pings[1])
    await expect.poll(() => ended).toEqual(['a: true', 'b: true', 'c: true'])
    expect(pings).toHaveLength(2)
  })

  it('have failed with a client that goes, those that no ping was sent for as well', async () => {
    const { hub, client, pings } = await connect({ autoPong: false })
    const sends = [confirmed(hub, 'a')]
    await expect.poll(() => pings.length).toBe(1)
    sends.push(confirmed(hub, 'b'), confirmed(hub, 'c'))
    const active = hub.isActive('ada')
    await expect.poll(() => hub.getMetrics().operations.send.active).toBe(3)
    client.terminate()
    expect(await Promise.all(sends)).toEqual(['CONNECTION_STALE', 'CONNECTION_STALE', 'CONNECTION_STALE'])
    expect(await active).toBe(false)
  })
})

describe('heartbeats of a WebSocket', () => {
  /** Everything that the peer has sent so far has been read by the hub. */
  const settled = async (hub: Hub, client: WebSocket, text: string) => {
    const heard = once(client, 'message')
    hub.routeData('a', Buffer.from(text))
    await heard
  }

  it('are answered by a pong with their payload, in time', async () => {
    const heartbeat = new ManualHeartbeat()
    const { hub, pings } = await connect({ heartbeat })
    for (let beats = 0; beats < 3; beats++) {
      const before = pings.length
      heartbeat.beat()
      await expect.poll(() => pings.length).toBe(before + 1)
      // Its pong came before this one's.
      await hub.send('ada', 'read', { confirm: true })
      heartbeat.deadline()
    }
    expect(hub.getConnectionStats()).toMatchObject({ clients: 1, closes: {} })
  })

  it.each<[string, (client: WebSocket, ping: Buffer) => void]>([
    ['nothing', () => {}],
    ['a pong with another payload', (client, ping) => client.pong(Buffer.alloc(ping.byteLength, 1))],
    ['a pong with no payload', client => client.pong()],
    ['a pong to the ping before', client => client.pong(Buffer.alloc(8))],
    ['chatter', client => client.ping('x')],
  ])('%s is no pong: closed as idle at the deadline', async (_what, answer) => {
    const heartbeat = new ManualHeartbeat()
    const { hub, client, pings } = await connect({ autoPong: false, heartbeat })
    heartbeat.beat()
    await expect.poll(() => pings.length).toBe(1)
    answer(client, pings[0]!)
    client.pong(Buffer.from('later'))
    await settled(hub, client, 'x')
    const closed = once(client, 'close')
    heartbeat.deadline()
    const [code] = await closed
    expect(code).toBe(4410)
    await expect.poll(() => heartbeat.clients).toBe(0)
  })

  it('a pong after the deadline comes too late', async () => {
    const heartbeat = new ManualHeartbeat()
    const { client, pings } = await connect({ autoPong: false, heartbeat })
    heartbeat.beat()
    await expect.poll(() => pings.length).toBe(1)
    const closed = once(client, 'close')
    heartbeat.deadline()
    client.pong(pings[0])
    expect((await closed)[0]).toBe(4410)
  })
})
