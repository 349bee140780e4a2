import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import { createHub } from '../../src/hub.ts'
import { dropSlow } from '../../src/policies/drop-slow.ts'
import type { Pace } from '../../src/testing/pace.ts'
import { SlowPeer } from '../../src/testing/slow-peer.ts'
import { httpStream } from '../../src/transports/http-stream.ts'
import { missingTcpProbe, tcpProbe } from '../../src/transports/tcp-probe.ts'
import { upgradeRequest } from '../server/raw-request.ts'
import { startTestServer, type TestServer } from '../server/test-server.ts'

const KIB = 1024
const MIB = 1024 * KIB
const HEALTHY = 50
/** 600 ms, and the rest for a machine that does ten things at once. The figures are in docs/slow-clients.md. */
const LATEST_MS = 3000

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

const until = (condition: () => boolean, timeout = 20_000) => vi.waitUntil(condition, { timeout, interval: 5 })
const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

async function serve(flags: Record<string, unknown> = {}) {
  const server: TestServer = await startTestServer({ history: { messages: 0, bytes: 0, ageMs: 0 }, ...flags })
  open.push(() => server.close())
  const ended = new Map<string, { at: number; reason: string }>()
  server.hub.events.on('unregister', ({ id, reason }) => ended.set(id, { at: performance.now(), reason }))
  const port = Number(new URL(server.url).port)
  const heads = {
    websocket: (path: string) => upgradeRequest(path),
    http: (path: string) => `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`,
    sse: (path: string) => `GET ${path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n`,
  }
  /** A scripted client on a topic, registered when this resolves. */
  const join = async (id: string, pace: Pace, how: keyof typeof heads = 'http', receiveBufferBytes?: number) => {
    const request = heads[how](`/topics/t?client=${id}`)
    const peer = await SlowPeer.open({ port, request, pace, ...(receiveBufferBytes && { receiveBufferBytes }) })
    open.push(() => peer.close())
    await until(() => [...server.hub.getActiveClients()].some(client => client.id === id))
    return peer
  }
  return { server, ended, join, port }
}

/** Clients that must not notice anything: each message once, and in order. */
async function healthy(url: string, count: number) {
  const clients = Array.from({ length: count }, () => ({ received: 0, torn: 0 }))
  await Promise.all(
    clients.map(async client => {
      const socket = new WebSocket(`${url.replace('http', 'ws')}/topics/t`)
      open.push(() => socket.terminate())
      socket.on('message', (data: Buffer) => {
        if (data.readUInt32BE(0) !== client.received++) client.torn++
      })
      await once(socket, 'open')
    }),
  )
  return {
    /** Resolves when all have all. */
    all: (messages: number) => until(() => clients.every(({ received }) => received >= messages)),
    torn: () => clients.reduce((sum, { torn }) => sum + torn, 0),
  }
}

function message(serial: number, bytes: number): Buffer {
  const data = Buffer.alloc(bytes)
  data.writeUInt32BE(serial, 0)
  return data
}

/** Publishes on the wall clock, whatever a timer does. Resolves with how many it was. */
function stream(
  publish: (serial: number) => void,
  everyMs: number,
  forMs: number,
  stop = () => false,
): Promise<number> {
  const began = performance.now()
  let serial = 0
  return new Promise(resolve => {
    const timer = setInterval(() => {
      const due = Math.min(performance.now() - began, forMs) / everyMs
      while (serial < due) publish(serial++)
      if (performance.now() - began < forMs && !stop()) return
      clearInterval(timer)
      resolve(serial)
    }, 5)
  })
}

const wire = tcpProbe() !== undefined

if (!wire) {
  console.log(
    `Skipped: what needs the TCP probe. ${missingTcpProbe()}; npm install brings koffi, where it is for Linux.`,
  )
}

describe.skipIf(!wire)('a stalled client, by the wire', () => {
  it.each(['websocket', 'http', 'sse'] as const)(
    `over %s: out in time, and ${HEALTHY} healthy ones lose nothing`,
    { timeout: 60_000 },
    async how => {
      const { server, ended, join } = await serve()
      server.hub.setDeliveryPolicy('t', dropSlow({ measure: 'wire' }))
      const others = await healthy(server.url, HEALTHY)
      // It confirms what fits its receive buffer and not more, so the first byte it cannot take comes at once.
      const stalled = await join('stalled', { kind: 'stalled' }, how, 4096)
      const began = performance.now()
      const enough = () => ended.has('stalled') && performance.now() - began > 1500
      const publish = (serial: number) => server.hub.routeData('t', message(serial, 16 * KIB))
      const sent = await stream(publish, 20, 10_000, enough)
      await others.all(sent)
      const { at, reason } = ended.get('stalled')!
      expect(reason).toBe('slow')
      expect(at - began).toBeGreaterThanOrEqual(250)
      expect(at - began).toBeLessThanOrEqual(LATEST_MS)
      expect([...ended.keys()]).toEqual(['stalled'])
      expect(others.torn()).toBe(0)
      expect(server.hub.getConnectionStats()).toMatchObject({ clients: HEALTHY, closes: { slow: 1 }, queuedBytes: 0 })
      stalled.follow({ kind: 'eager' })
      expect(await stalled.ended).toBe('reset')
    },
  )

  it('one byte a second is no life-line', { timeout: 30_000 }, async () => {
    const { server, ended, join } = await serve()
    server.hub.setDeliveryPolicy('t', dropSlow({ measure: 'wire' }))
    await join('trickle', { kind: 'rate', bytesPerSecond: 1 }, 'websocket', 4096)
    const began = performance.now()
    const gone = () => ended.has('trickle')
    await stream(serial => server.hub.routeData('t', message(serial, 16 * KIB)), 20, 10_000, gone)
    expect(ended.get('trickle')?.reason).toBe('slow')
    expect(ended.get('trickle')!.at - began).toBeLessThanOrEqual(LATEST_MS)
  })

  it('nor is a host that has vanished without a word', { timeout: 30_000 }, async () => {
    const { server, ended, join } = await serve()
    server.hub.setDeliveryPolicy('t', dropSlow({ measure: 'wire' }))
    const peer = await join('gone', { kind: 'eager' })
    const publish = (serial: number) => server.hub.routeData('t', message(serial, KIB))
    await stream(publish, 20, 500)
    expect(ended.size).toBe(0)
    const received = peer.received
    peer.follow({ kind: 'half-open' })
    const began = performance.now()
    await stream(publish, 20, 10_000, () => ended.has('gone'))
    expect(ended.get('gone')?.reason).toBe('slow')
    expect(ended.get('gone')!.at - began).toBeLessThanOrEqual(LATEST_MS)
    expect(received).toBeGreaterThan(0)
  })

  it('a thin stream hides until the receive buffer is full, and 250 ms longer', { timeout: 30_000 }, async () => {
    const { server, ended, join } = await serve()
    server.hub.setDeliveryPolicy('t', dropSlow({ measure: 'wire' }))
    await join('thin', { kind: 'stalled' }, 'http', 4096)
    const began = performance.now()
    await stream(
      serial => server.hub.routeData('t', message(serial, 820)),
      50,
      8000,
      () => ended.has('thin'),
    )
    expect(ended.get('thin')?.reason).toBe('slow')
    // 16 KB/s into a window of a few KiB.
    expect(ended.get('thin')!.at - began).toBeLessThanOrEqual(LATEST_MS)
  })

  it('over TLS too: measured, and reset below the TLS socket', { timeout: 30_000 }, async () => {
    const hub = createHub({ policy: dropSlow({ measure: 'wire' }) })
    const tls = (name: string) => readFileSync(new URL(`tls/${name}.pem`, import.meta.url))
    const server = createHttpsServer({ key: tls('key'), cert: tls('certificate') }, (_request, response) => {
      httpStream.open(response, { hub, clientId: 'tls', topics: [{ name: 't' }] })
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    open.push(
      () => server.close(),
      () => hub.close(),
    )
    const { port } = server.address() as AddressInfo
    const ended = new Promise(resolve => hub.events.on('unregister', ({ reason }) => resolve(reason)))
    const peer = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
    open.push(() => peer.destroy())
    peer.on('error', () => {})
    await once(peer, 'secureConnect')
    peer.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')
    await once(peer, 'data')
    expect(hub.getClient('tls')).toMatchObject({
      unacknowledged: expect.any(Number),
      subscriptions: [{ measured: 'wire' }],
    })
    peer.pause()
    const timer = setInterval(() => hub.routeData('t', Buffer.alloc(256 * KIB)), 10)
    expect(await ended).toBe('slow')
    clearInterval(timer)
    // A polite end would leave megabytes in the kernel, and the socket waiting for somebody to read them.
    await until(() => tcpStates(port).every(state => state !== FIN_WAIT_1))
  })

  it('200 stalled clients while 64 MiB are published leave nothing behind', { timeout: 60_000 }, async () => {
    const { server, ended, join, port } = await serve()
    server.hub.setDeliveryPolicy('t', dropSlow({ measure: 'wire' }))
    for (let i = 0; i < 200; i++) await join(`stalled-${i}`, { kind: 'stalled' })
    const publish = () => server.hub.routeData('t', Buffer.alloc(64 * KIB))
    let most = 0
    for (let i = 0; i < 1024; i++) {
      publish()
      if (i % 8 === 7) await pause(5)
      const { keptBytes } = server.hub.getConnectionStats()
      most = Math.max(most, keptBytes)
    }
    await until(() => ended.size === 200)
    expect(new Set([...ended.values()].map(({ reason }) => reason))).toEqual(new Set(['slow']))
    expect(most).toBeLessThanOrEqual(200 * 1.1 * MIB)
    const stats = server.hub.getConnectionStats()
    expect(stats).toMatchObject({ clients: 0, subscriptions: 0, queuedBytes: 0, pending: 0 })
    // The position of the topic, if it is over already.
    expect(stats.keptBytes).toBeLessThan(1000)
    await until(() => tcpStates(port).every(state => state !== FIN_WAIT_1))
    const metrics = await (await fetch(`${server.url}/metrics`)).text()
    expect(metrics).toContain('hubline_disconnects_total{reason="slow"} 200')
  })
})

describe('a stalled client, by what waits in this process', () => {
  it('out 250 ms and a few looks after the kernel takes no more', { timeout: 60_000 }, async () => {
    const { server, ended, join } = await serve()
    server.hub.setDeliveryPolicy('t', dropSlow())
    const others = await healthy(server.url, HEALTHY)
    await join('stalled', { kind: 'stalled' }, 'websocket', 4096)
    let full: number | undefined
    const sent = await stream(
      serial => {
        server.hub.routeData('t', message(serial, 16 * KIB))
        const stalled = ended.has('stalled') ? undefined : server.hub.getClient('stalled')
        if (stalled?.writable === false) full ??= performance.now() - stalled.waitedMs
      },
      20,
      30_000,
      () => ended.has('stalled'),
    )
    await others.all(sent)
    expect(ended.get('stalled')?.reason).toBe('slow')
    expect(ended.get('stalled')!.at - full!).toBeGreaterThanOrEqual(250)
    expect(ended.get('stalled')!.at - full!).toBeLessThanOrEqual(LATEST_MS)
    expect([...ended.keys()]).toEqual(['stalled'])
    expect(others.torn()).toBe(0)
  })
})

describe.each(['queue', wire ? 'wire' : 'queue'] as const)('nobody is evicted who keeps up (%s)', measure => {
  it('a reader at 100 KB/s of 80 KB/s, a client stopped for 150 ms, a burst of 1 MiB to 1 MB/s', {
    timeout: 60_000,
  }, async () => {
    const { server, ended, join } = await serve({ maxMessageBytes: 4 * MIB })
    server.hub.setDeliveryPolicy('t', dropSlow({ measure, bytes: 4 * MIB }))
    const burst = await join('burst', { kind: 'rate', bytesPerSecond: 1_000_000 })
    server.hub.routeData('t', Buffer.alloc(MIB))
    await until(() => burst.received > MIB)
    expect(ended.size).toBe(0)
    burst.follow({ kind: 'eager' })
    await join('steady', { kind: 'rate', bytesPerSecond: 100_000 }, 'websocket', 16 * KIB)
    const paused = await join('paused', { kind: 'eager' }, 'websocket', 4096)
    const streaming = stream(() => server.hub.routeData('t', Buffer.alloc(1600)), 20, 3000)
    await pause(1000)
    paused.follow({ kind: 'stalled' })
    await pause(150)
    paused.follow({ kind: 'eager' })
    await streaming
    expect([...ended]).toEqual([])
  })

  it(`${HEALTHY} clients while our own loop is blocked for 400 ms`, { timeout: 60_000 }, async () => {
    const { server, ended } = await serve()
    server.hub.setDeliveryPolicy('t', dropSlow({ measure }))
    const others = await healthy(server.url, HEALTHY)
    let blocked = false
    const sent = await stream(
      serial => {
        server.hub.routeData('t', message(serial, 16 * KIB))
        if (serial !== 20 || blocked) return
        blocked = true
        const end = performance.now() + 400
        while (performance.now() < end);
      },
      20,
      2000,
    )
    await others.all(sent)
    expect([...ended]).toEqual([])
    expect(others.torn()).toBe(0)
  })
})

const FIN_WAIT_1 = '04'

/** States of our TCP sockets on a port, of Linux's table. */
function tcpStates(port: number): string[] {
  const local = port.toString(16).toUpperCase().padStart(4, '0')
  const lines = readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1)
  return lines.map(line => line.trim().split(/\s+/)).flatMap(row => (row[1]?.endsWith(`:${local}`) ? [row[3]!] : []))
}
