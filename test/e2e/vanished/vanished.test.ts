import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { missingTcpProbe, tcpProbe } from '../../../src/transports/tcp-probe.ts'
import { startTestServer } from '../../server/test-server.ts'
import { FarHost, missing } from './network.ts'

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

const PING_MS = 1000
const PONG_MS = 600
/** The kernel asks a quiet peer ten times, a second apart. */
const KEEP_ALIVE_MS = 10_000
/** For the machine. */
const LATE_MS = 1500

const why = missing() ?? (tcpProbe() === undefined ? `no TCP probe: ${missingTcpProbe()}` : undefined)
if (why !== undefined) console.log(`Skipped: peers that vanish. ${why}`)

describe.skipIf(why !== undefined)('a peer whose host vanishes without a word', () => {
  it('is found in time on every protocol, and nothing of it is left', { timeout: 40_000 }, async () => {
    const host = new FarHost()
    ends.push(() => host[Symbol.dispose]())
    const server = await startTestServer({
      ...{ host: host.address, insecure: true, pingMs: PING_MS, pongMs: PONG_MS },
    })
    ends.push(() => server.close())
    const [command, ...args] = host.command
    const peer = spawn(command, [...args, process.execPath, `${import.meta.dirname}/peer.mjs`, server.url])
    peer.stderr.pipe(process.stderr)
    ends.push(() => peer.kill('SIGKILL'))
    await once(peer.stdout, 'data')
    const publish = setInterval(() => server.hub.routeData('busy', Buffer.from('tick')), 100)
    ends.push(() => clearInterval(publish))
    await expect.poll(() => server.hub.getConnectionStats().clients).toBe(5)
    // Answers of everybody, and a few heartbeats without harm.
    await new Promise(resolve => setTimeout(resolve, 2.5 * PING_MS))
    expect(server.hub.getConnectionStats()).toMatchObject({ clients: 5, closes: {} })

    host.pull()
    const pulled = performance.now()
    const found = new Map<string, { reason: string; ms: number }>()
    server.hub.events.on('unregister', ({ id, reason }) => {
      found.set(id, { reason, ms: performance.now() - pulled })
    })
    await expect.poll(() => found.size, { timeout: 20_000 }).toBe(5)
    const reasons = Object.fromEntries([...found].map(([id, { reason }]) => [id, reason]))
    expect(reasons).toEqual({
      websocket: 'idle',
      centrifuge: 'idle',
      sse: 'lost',
      'stream-busy': 'lost',
      'stream-quiet': 'lost',
    })
    for (const id of ['websocket', 'centrifuge', 'sse']) {
      expect(found.get(id)!.ms, id).toBeLessThan(PING_MS + PONG_MS + LATE_MS)
    }
    expect(found.get('stream-busy')!.ms).toBeLessThan(2 * PING_MS + PONG_MS + LATE_MS)
    expect(found.get('stream-quiet')!.ms).toBeLessThan(PING_MS + KEEP_ALIVE_MS + LATE_MS)
    expect(server.hub.getConnectionStats()).toMatchObject({ clients: 0, subscriptions: 0, queuedBytes: 0, pending: 0 })
    await expect
      .poll(() => new Promise(resolve => server.app.server.getConnections((_, count) => resolve(count))))
      .toBe(0)
  })
})
