import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { DeliveryPolicy } from '../../src/core/policy.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { dropSlow } from '../../src/policies/drop-slow.ts'
import { latest } from '../../src/policies/latest.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import { upgradeRequest } from '../server/raw-request.ts'
import { startTestServer, type TestServer } from '../server/test-server.ts'

const HEALTHY = 50
const MESSAGES = 160
const BYTES = 64 * 1024
const MIB = 1024 * 1024

const policies: Record<string, DeliveryPolicy> = {
  'best-effort': bestEffort(),
  latest: latest(),
  'buffered, close': buffered(),
  'buffered, drop-oldest': buffered({ overflow: 'drop-oldest' }),
  'buffered, drop-newest': buffered({ overflow: 'drop-newest' }),
  'drop-slow': dropSlow(),
  'rate-limit': rateLimit({ messages: 1_000_000 }, buffered({ overflow: 'drop-oldest' })),
}

let server: TestServer
beforeAll(async () => {
  // No history: all that the hub keeps is kept for the stalled client.
  server = await startTestServer({ history: { messages: 0, bytes: 0, ageMs: 0 } })
})
afterAll(() => server.close())

/** A WebSocket by hand that opens and then never reads. */
function stall(path: string): Promise<Socket> {
  const { hostname, port } = new URL(server.url)
  return new Promise(resolve => {
    const socket = connect(Number(port), hostname, () => socket.write(upgradeRequest(path)))
    socket.once('data', () => resolve(socket.pause()))
    socket.on('error', () => {})
  })
}

function open(path: string, onMessage: (data: Buffer) => void): Promise<WebSocket> {
  const socket = new WebSocket(server.url.replace('http', 'ws') + path)
  socket.on('message', onMessage)
  return new Promise((resolve, reject) => socket.on('open', () => resolve(socket)).on('error', reject))
}

describe(`one client that never reads beside ${HEALTHY} others`, () => {
  for (const [name, policy] of Object.entries(policies)) {
    const mib = name === 'drop-slow' ? 4 : 1
    it(`under ${name}: they lose nothing, and it costs at most ${mib} MiB`, { timeout: 60_000 }, async () => {
      const topic = `stalled/${name.replaceAll(/[^a-z]+/g, '-')}`
      server.hub.setDeliveryPolicy(topic, policy)
      const counts = new Array<number>(HEALTHY).fill(0)
      let all: () => void = () => {}
      const sockets = await Promise.all(
        counts.map((_, i) =>
          open(`/topics/${topic}`, data => {
            // In order, each once: the number is in the message.
            expect(data.readUInt32BE(0)).toBe(counts[i]!++)
            all()
          }),
        ),
      )
      const stalled = await stall(`/topics/${topic}?client=stalled`)
      let most = 0
      for (let message = 0; message < MESSAGES; message++) {
        const data = Buffer.alloc(BYTES)
        data.writeUInt32BE(message)
        const taken = new Promise<void>(resolve => {
          all = () => counts.every(count => count === message + 1) && resolve()
        })
        server.hub.routeData(topic, data)
        await taken
        most = Math.max(most, server.hub.getConnectionStats().keptBytes)
      }
      expect(counts).toEqual(new Array(HEALTHY).fill(MESSAGES))
      // It was slow, or the test would show nothing.
      expect(most).toBeGreaterThan(BYTES / 2)
      expect(most).toBeLessThanOrEqual(mib * MIB)
      stalled.destroy()
      for (const socket of sockets) socket.terminate()
      await expect.poll(() => server.hub.getTopic(topic)?.subscribers ?? 0).toBe(0)
    })
  }
})
