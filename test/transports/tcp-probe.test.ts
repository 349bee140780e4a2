import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { SlowPeer } from '../../src/testing/slow-peer.ts'
import { missingTcpProbe, type TcpBuffers, tcpProbe } from '../../src/transports/tcp-probe.ts'

const KIB = 1024
const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

/** A server's socket and a peer that reads as told. */
async function pair(receiveBufferBytes?: number): Promise<{ socket: Socket; peer: SlowPeer }> {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as { port: number }
  const accepted = once(server, 'connection')
  const options = { port, pace: { kind: 'stalled' } as const, ...(receiveBufferBytes && { receiveBufferBytes }) }
  const peer = await SlowPeer.open(options)
  const [socket] = (await accepted) as [Socket]
  socket.on('error', () => {})
  open.push(
    () => server.close(),
    () => peer.close(),
    () => socket.destroy(),
  )
  return { socket, peer }
}

/** How much the kernel takes for a peer that reads nothing. */
async function hidden(buffers: TcpBuffers): Promise<number> {
  const { socket } = await pair()
  tcpProbe()!.tune(socket, buffers)
  let taken = 0
  for (;;) {
    socket.write(Buffer.alloc(16 * KIB))
    await new Promise(resolve => setImmediate(resolve))
    if (socket.writableLength > 0) return taken
    taken += 16 * KIB
  }
}

if (tcpProbe() === undefined) {
  console.log(
    `Skipped: what needs the TCP probe. ${missingTcpProbe()}; npm install brings koffi, where it is for Linux.`,
  )
}

describe.skipIf(tcpProbe() === undefined)('the TCP probe', () => {
  it('tells what the peer’s host has not confirmed, and that it has', async () => {
    const { socket, peer } = await pair(4096)
    const probe = tcpProbe()!
    expect(probe.unacknowledged(socket)).toBe(0)
    socket.write(Buffer.alloc(64 * KIB))
    await vi.waitUntil(() => probe.unacknowledged(socket)! > 0)
    const unacknowledged = probe.unacknowledged(socket)!
    // The receive buffer took a part of it.
    expect(unacknowledged).toBeGreaterThan(32 * KIB)
    expect(unacknowledged).toBeLessThan(64 * KIB)
    peer.follow({ kind: 'eager' })
    await vi.waitUntil(() => probe.unacknowledged(socket) === 0, { timeout: 10_000 })
    expect(probe.roundTrip(socket)).toBeGreaterThan(0)
    expect(probe.roundTrip(socket)).toBeLessThan(1000)
  })

  it('bounds what the kernel takes for a peer that reads nothing', async () => {
    const free = await hidden({})
    const lowat = await hidden({ notSentLowatBytes: 16 * KIB })
    const small = await hidden({ sendBufferBytes: 64 * KIB })
    expect(free).toBeGreaterThan(1024 * KIB)
    expect(lowat).toBeLessThan(free / 2)
    expect(small).toBeLessThan(free / 2)
  })

  it('answers nothing about a socket that is closed, and harms no other', async () => {
    const { socket } = await pair()
    socket.destroy()
    const probe = tcpProbe()!
    expect([probe.unacknowledged(socket), probe.roundTrip(socket)]).toEqual([undefined, undefined])
    expect(() => probe.tune(socket, { sendBufferBytes: 4096 })).not.toThrow()
    for (const fd of [-1, 999_999]) {
      const wrong = { _handle: { fd } } as unknown as Socket
      expect([probe.unacknowledged(wrong), probe.roundTrip(wrong)]).toEqual([undefined, undefined])
    }
  })
})

describe('without koffi', () => {
  it('says so, and the hub measures what waits in this process', () => {
    const folder = mkdtempSync(join(tmpdir(), 'hubline-no-koffi-'))
    open.push(() => rmSync(folder, { recursive: true }))
    const without = join(folder, 'without.cjs')
    writeFileSync(
      without,
      `const Module = require('node:module')
const resolve = Module._resolveFilename
Module._resolveFilename = function (name, ...rest) {
  if (name.startsWith('@koromix/')) throw new Error("Cannot find module 'koffi'\\nat a long list of places")
  return resolve.call(this, name, ...rest)
}`,
    )
    const program = `
import { createServer } from 'node:net'
import { once } from 'node:events'
import { createHub, dropSlow } from 'hubline'
import { SlowPeer } from 'hubline/testing'
import { join, missingTcpProbe, NodeSocket, tcpProbe } from 'hubline/transports'
const hub = createHub({ policy: dropSlow({ measure: 'wire' }) })
const codec = { name: 'raw', encode: message => message.payload, concat: frames => Buffer.concat(frames) }
const server = createServer(socket => {
  join(new NodeSocket(socket, { protocol: 'tcp', codec, farewell() {} }), { hub, clientId: 'a', topics: [{ name: 't' }] })
})
await once(server.listen(0, '127.0.0.1'), 'listening')
const peer = await SlowPeer.open({ port: server.address().port, pace: { kind: 'stalled' } })
while (hub.getConnectionStats().clients === 0) await new Promise(resolve => setImmediate(resolve))
const { unacknowledged, subscriptions: [{ measured }] } = hub.getClient('a')
const reason = await new Promise(resolve => {
  hub.events.on('unregister', client => resolve(client.reason))
  const feed = setInterval(() => hub.routeData('t', Buffer.alloc(256 * 1024)), 5)
  hub.events.on('unregister', () => clearInterval(feed))
})
console.log(JSON.stringify({ probe: tcpProbe() ?? null, why: missingTcpProbe(), unacknowledged: unacknowledged ?? null, measured, reason, exact: peer.exact }))
process.exit()`
    const args = ['-r', without, '--input-type=module', '-e', program]
    const output = execFileSync(process.execPath, args, { cwd: join(import.meta.dirname, '../..'), encoding: 'utf8' })
    expect(JSON.parse(output)).toEqual({
      probe: null,
      why:
        process.platform === 'linux'
          ? "the package koffi cannot be loaded: Cannot find module 'koffi'"
          : expect.any(String),
      unacknowledged: null,
      measured: 'queue',
      reason: 'slow',
      exact: false,
    })
  })

  it('here it is as the platform says', () => {
    expect(tcpProbe() === undefined).toBe(missingTcpProbe() !== undefined)
  })
})
