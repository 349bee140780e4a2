import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { LongPath } from '../../bench/slow-clients/long-path.mjs'
import type { Pace } from '../../src/testing/pace.ts'
import { SlowPeer } from '../../src/testing/slow-peer.ts'
import { FRESH_LOWAT_BYTES } from '../../src/transports/node-socket.ts'
import { missingTcpProbe, tcpProbe } from '../../src/transports/tcp-probe.ts'
import { upgradeRequest } from '../server/raw-request.ts'
import { startTestServer } from '../server/test-server.ts'
import { missing } from './vanished/network.ts'

/** 25 pictures a second of 60 KB, 1.5 MB/s. */
const PICTURE_BYTES = 60_000
const PICTURE_MS = 40
const MARK = 'PICT'
/** A fifth of it. */
const SLOW: Pace = { kind: 'rate', bytesPerSecond: 300_000 }
const SECONDS = 6
const NO_HISTORY = { messages: 0, bytes: 0, ageMs: 0 }
const VIEWER = new URL('../../bench/slow-clients/viewer.mjs', import.meta.url).pathname
/** Its own buffer is its own affair, and its kernel may let it grow. */
const RECEIVE_BUFFER_BYTES = 64 * 1024
/** docs/policies.md says about 1 s; the rest is for a machine that does ten things at once. Without the bound it is over 3 s. */
const OLDEST_MS = 2000

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

const until = (condition: () => boolean) => vi.waitUntil(condition, { timeout: 20_000, interval: 5 })

const PATH = '/topics/camera?client=viewer'
const HEADS = {
  websocket: (path: string) => upgradeRequest(path),
  http: (path: string) => `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`,
}

/** A camera and one viewer who reads as the script says. */
async function watch(how: keyof typeof HEADS, pace: Pace, policy: string, receiveBufferBytes = RECEIVE_BUFFER_BYTES) {
  const server = await startTestServer({ history: NO_HISTORY, policy })
  open.push(() => server.close())
  const port = Number(new URL(server.url).port)
  let reason: string | undefined
  server.hub.events.on('unregister', event => {
    reason = event.reason
  })
  const peer = await SlowPeer.open({ port, request: HEADS[how](PATH), pace, receiveBufferBytes })
  open.push(() => peer.close('reset'))
  const pictures = new PictureReader()
  peer.onData = data => pictures.read(data)
  await until(() => [...server.hub.getActiveClients()].length === 1)
  const began = performance.now()
  let taken = 0
  const timer = setInterval(() => {
    for (; taken < (performance.now() - began) / PICTURE_MS; taken++) server.hub.routeData('camera', picture())
  }, 5)
  open.push(() => clearInterval(timer))
  const after = (ms: number) => until(() => performance.now() - began >= ms || reason !== undefined)
  return { pictures, after, published: () => taken, closed: () => reason }
}

function picture(): Buffer {
  const data = Buffer.alloc(PICTURE_BYTES)
  data.write(MARK)
  data.writeDoubleBE(performance.now(), MARK.length)
  return data
}

/** Finds the pictures in a stream of bytes, whatever frames are around them, and how old each is when its last byte is read. */
class PictureReader {
  readonly ages: number[] = []
  #rest: Buffer = Buffer.alloc(0)

  read(data: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, data])
    for (;;) {
      const at = this.#rest.indexOf(MARK)
      if (at === -1 || this.#rest.byteLength < at + PICTURE_BYTES) return
      this.ages.push(performance.now() - this.#rest.readDoubleBE(at + MARK.length))
      this.#rest = this.#rest.subarray(at + PICTURE_BYTES)
    }
  }
}

if (tcpProbe() === undefined) {
  console.log(
    `Skipped: what needs the TCP probe. ${missingTcpProbe()}; npm install brings koffi, where it is for Linux.`,
  )
}

describe.skipIf(tcpProbe() === undefined)('a viewer who reads a fifth of what a camera sends', () => {
  it.each([
    ['latest', 'websocket'],
    ['latest', 'http'],
    ['best-effort', 'websocket'],
  ] as const)('sees fresh pictures by default under %s, over %s', { timeout: 40_000 }, async (policy, how) => {
    const { pictures, after, closed } = await watch(how, SLOW, policy)
    await after(SECONDS * 1000)
    expect(closed()).toBeUndefined()
    // As many as it can read, so nothing is gained by sending less.
    expect(pictures.ages.length).toBeGreaterThan(SECONDS * 5 * 0.6)
    const late = pictures.ages.slice(pictures.ages.length >> 1).sort((a, b) => a - b)
    // The median, so that a moment in which the machine stood still does not count.
    expect(late[late.length >> 1]).toBeLessThan(OLDEST_MS)
  })

  it('is out soon under drop-slow', { timeout: 40_000 }, async () => {
    const { after, closed, published } = await watch('websocket', SLOW, 'drop-slow')
    await after(SECONDS * 1000)
    expect(closed()).toBe('slow')
    // Less than what the kernel takes when it is left alone.
    expect(published() * PICTURE_BYTES).toBeLessThan(3 * 1024 * 1024)
  })

  it('keeps the cushion of the kernel under buffered, the default policy', { timeout: 40_000 }, async () => {
    const { after, closed } = await watch('websocket', SLOW, 'buffered')
    await after(2000)
    // 2 s x 1.2 MB/s are more than 1 MiB and the bound of a fresh client.
    expect(2 * 1_200_000).toBeGreaterThan(1024 * 1024 + 4 * FRESH_LOWAT_BYTES)
    expect(closed()).toBeUndefined()
  })

  it('and one who reads everything gets more than he would', { timeout: 40_000 }, async () => {
    const { pictures, after, published } = await watch('websocket', { kind: 'eager' }, 'latest', 1024 * 1024)
    await after(3000)
    // All of them on an idle machine; the viewer above gets a fifth.
    expect(pictures.ages.length).toBeGreaterThan(published() * 0.5)
  })
})

const why = missing() ?? (existsSync('/dev/net/tun') ? undefined : 'there is no /dev/net/tun')
if (why !== undefined) console.log(`Skipped: a viewer at the end of a path of 100 ms. ${why}`)

describe.skipIf(tcpProbe() === undefined || why !== undefined)('a viewer who reads everything, 100 ms away', () => {
  it.each(['latest', 'drop-slow'])('gets every picture under %s', { timeout: 40_000 }, async policy => {
    const path = await LongPath.open(100)
    open.push(() => path.close())
    const host = path.address
    const server = await startTestServer({ ...{ host, insecure: true, policy, history: NO_HISTORY } })
    open.push(() => server.close())
    const [command = '', ...args] = path.command
    const { port } = new URL(server.url)
    const viewer = spawn(command, [...args, process.execPath, VIEWER, host, port, PATH], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    open.push(() => viewer.kill('SIGKILL'))
    const report = async () => {
      viewer.send('report')
      return (await once(viewer, 'message'))[0] as { pictures: number }
    }
    await once(viewer, 'message')
    await until(() => [...server.hub.getActiveClients()].length === 1)
    let taken = 0
    const began = performance.now()
    const timer = setInterval(() => {
      for (; taken < (performance.now() - began) / PICTURE_MS; taken++) server.hub.routeData('camera', picture())
    }, 5)
    open.push(() => clearInterval(timer))
    // TCP has to find out first what the path can take.
    await until(() => taken > 50)
    await report()
    const before = taken
    await until(() => taken > before + 75)
    const { pictures } = await report()
    // A send buffer of 64 KiB, which makes pictures as fresh, lets half of them through.
    expect(pictures).toBeGreaterThan((taken - before) * 0.8)
    expect(server.hub.getConnectionStats().closes).toEqual({})
  })
})
