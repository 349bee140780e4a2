import { readdirSync } from 'node:fs'
import type { Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { upgradeRequest } from '../server/raw-request.ts'
import { HOST } from './ambiguous.ts'
import { open } from './connection.ts'
import { frame, TEXT } from './frame-peer.ts'
import { type Served, serve } from './served.ts'

const CLIENTS = 2000
const AT_ONCE = 50
/** Of all that Node, the kernel's buffers in it and the collector leave lying about; a kilobyte kept of each client would be more. */
const GROWTH_BYTES = 24 * 1024 * 1024

const COMMANDS = '{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"churn"}}'
/** What opens a client of each kind, and what it is told when it is on its topic. */
const KINDS: Readonly<Record<string, readonly [opening: Buffer, told: string]>> = {
  'HTTP streams': [Buffer.from(`GET /topics/churn HTTP/1.1\r\n${HOST}\r\n`), 'hubline-client'],
  'event streams': [Buffer.from(`GET /events?topic=churn HTTP/1.1\r\n${HOST}\r\n`), 'retry: '],
  WebSockets: [Buffer.from(upgradeRequest('/topics/churn')), 'HTTP/1.1 101'],
  'clients of the client protocol': [
    Buffer.concat([Buffer.from(upgradeRequest('/connection/websocket')), frame({ opcode: TEXT, payload: COMMANDS })]),
    '"subscribe":{',
  ],
}

let served: Served
beforeAll(async () => {
  served = await serve(['--log-level', 'error'])
})
afterAll(() => served[Symbol.asyncDispose]())

const stats = async () => (await (await fetch(`${served.url}/api/stats`)).json()) as Record<string, unknown>
const descriptors = () => (process.platform === 'linux' ? readdirSync(`/proc/${served.pid}/fd`).length : 0)

function comes(opening: Buffer, told: string): Promise<Socket> {
  const socket = open(served.url)
  socket.write(opening)
  let text = ''
  return new Promise((resolve, reject) => {
    socket.on('data', data => {
      text += data.toString('latin1')
      if (text.includes(told)) resolve(socket)
    })
    socket.on('close', () => reject(new Error(`closed after ${JSON.stringify(text)}`)))
  })
}

async function comeAndGo(opening: Buffer, told: string, clients: number): Promise<void> {
  for (let n = 0; n < clients; n += AT_ONCE) {
    const sockets = await Promise.all(Array.from({ length: AT_ONCE }, () => comes(opening, told)))
    for (const [i, socket] of sockets.entries()) {
      if (i % 2 === 0) socket.resetAndDestroy()
      else socket.destroy()
    }
  }
}

describe(`${CLIENTS} clients of each kind that come and go, half of them by a reset`, () => {
  it.each(Object.entries(KINDS))(
    '%s leave nobody, no descriptor and no memory behind',
    { timeout: 60_000 },
    async (_kind, [opening, told]) => {
      await comeAndGo(opening, told, CLIENTS / 4)
      await expect.poll(async () => (await stats()).clients, { timeout: 10_000 }).toBe(0)
      const [files, bytes] = [descriptors(), await served.residentBytes()]
      await comeAndGo(opening, told, CLIENTS)
      await expect
        .poll(stats, { timeout: 10_000 })
        .toMatchObject({ clients: 0, subscriptions: 0, pending: 0, behind: 0, queuedBytes: 0 })
      // Those of the test's own requests come and go.
      await expect.poll(descriptors, { timeout: 10_000 }).toBeLessThanOrEqual(files + 2)
      expect((await served.residentBytes()) - bytes).toBeLessThan(GROWTH_BYTES)
    },
  )
})
