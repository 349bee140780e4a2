import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type ClientOptions, WebSocket, WebSocketServer } from 'ws'
import { createHub, type Hub } from '../../src/hub.ts'
import { webSocketTopic } from '../../src/transports/websocket.ts'

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

/** A hub, and one client of Node's `ws` on a real socket. */
async function connect(options: ClientOptions & { autoPong?: boolean } = {}) {
  const hub = createHub()
  const server = createServer()
  new WebSocketServer({ server }).on('connection', (webSocket, { socket }) => {
    webSocketTopic.open({ webSocket, socket }, { hub, clientId: 'ada', topics: [] })
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
