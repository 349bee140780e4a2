import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import type { Session } from '../../src/core/sessions.ts'
import { createHub, type HubOptions } from '../../src/hub.ts'
import { clientProtocol, httpStream, multipart, newClientId, sse, webSocketTopic } from '../../src/transports/index.ts'

const ends: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const end of ends.splice(0)) await end()
})

/** A hub below node:http, wired as docs/embedding.md shows it: no SessionWatch, no Heartbeat. */
async function serve(session: () => Session, options: HubOptions = {}) {
  const hub = createHub(options)
  const over = new Map<string, string>()
  hub.events.on('unregister', ({ protocol, reason }) => over.set(protocol, reason))
  const protocol = clientProtocol({
    hub,
    parsePolicy: () => {
      throw new Error('none')
    },
  })
  const opening = () => ({ hub, clientId: newClientId(), topics: [{ name: 'a' }], session: session() })
  const server = createServer((request, response) => {
    const transports = { '/sse': sse('single', 'text'), '/raw': httpStream, '/pictures': multipart }
    transports[request.url as keyof typeof transports].open(response, opening())
  })
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false })
  server.on('upgrade', (request, socket, head) => {
    sockets.handleUpgrade(request, socket, head, webSocket => {
      const channel = { webSocket, socket: request.socket }
      if (request.url === '/topic') webSocketTopic.open(channel, opening())
      else protocol.open(channel, { ...opening(), topics: [] })
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  ends.push(async () => {
    await hub.close()
    server.closeAllConnections()
    server.close()
    for (const each of sockets.clients) each.terminate()
  })
  return { hub, over, url: `127.0.0.1:${(server.address() as AddressInfo).port}` }
}

describe('transports that are opened by hand', () => {
  it('end with the session, on every protocol', async () => {
    const expiresAt = Date.now() + 300
    const { hub, over, url } = await serve(() => ({ user: 'ann', expiresAt }))
    const streams = await Promise.all(['/sse', '/raw', '/pictures'].map(path => fetch(`http://${url}${path}`)))
    const topic = new WebSocket(`ws://${url}/topic`)
    const client = new WebSocket(`ws://${url}/client`)
    const codes = [topic, client].map(socket => once(socket, 'close').then(([code]) => code as number))
    await once(client, 'open')
    client.send('{"id":1,"connect":{}}')
    await expect.poll(() => hub.getConnectionStats().clients).toBe(5)
    const bodies = await Promise.all(streams.map(stream => stream.text()))
    expect(bodies[0]).toContain('expired')
    expect(await Promise.all(codes)).toEqual([4401, 3005])
    expect(Date.now() - expiresAt).toBeLessThan(5000)
    expect(new Set(over.values())).toEqual(new Set(['expired']))
    expect(over.size).toBe(5)
  })

  it('are pinged, and a peer that does not answer is closed', async () => {
    const { hub, over, url } = await serve(() => ({}), { heartbeat: { pingMs: 100, pongMs: 100 } })
    const stream = await fetch(`http://${url}/sse`)
    let text = ''
    for await (const piece of stream.body as unknown as AsyncIterable<Uint8Array>) {
      text += Buffer.from(piece)
      if (text.includes(': ping')) break
    }
    const alive = new WebSocket(`ws://${url}/topic`)
    await once(alive, 'ping')
    const deaf = new WebSocket(`ws://${url}/topic`, { autoPong: false })
    expect((await once(deaf, 'close'))[0]).toBe(4410)
    const client = new WebSocket(`ws://${url}/client`)
    await once(client, 'open')
    client.send('{"id":1,"connect":{}}')
    const lines: string[] = []
    client.on('message', data => lines.push(`${data}`))
    await expect.poll(() => lines).toContain('{}')
    await once(client, 'close')
    expect(over.get('centrifuge')).toBe('idle')
    expect(hub.getClient([...hub.getActiveClients()][0]!.id).protocol).toBe('websocket')
  })

  it('have no heartbeat where they say so, and a hub without clients has no timer for one', async () => {
    const { ManualScheduler } = await import('../../src/testing/manual-scheduler.ts')
    const scheduler = new ManualScheduler()
    const hub = createHub({ scheduler })
    const before = scheduler.timers
    const end = hub.heartbeat.add({ ping() {} })
    expect(scheduler.timers).toBe(before + 1)
    end()
    expect(scheduler.timers).toBe(before)
    await hub.close()
  })
})

describe('the ids that the hub makes', () => {
  it('are 32 hexadecimal digits, and no two are the same', () => {
    const ids = Array.from({ length: 1000 }, newClientId)
    expect(new Set(ids).size).toBe(1000)
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{32}$/)
  })
})
