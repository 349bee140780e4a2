import { readdirSync } from 'node:fs'
import type { Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { collectGarbage } from '../core/sending.ts'
import { upgradeRequest } from '../server/raw-request.ts'
import { startTestServer, type TestServer } from '../server/test-server.ts'
import { HOST } from './ambiguous.ts'
import { open } from './connection.ts'
import { frame, TEXT } from './frame-peer.ts'

const CLIENTS = 4000
const ROUNDS = 4
const AT_ONCE = 50
/** On the heap for each, above what the test itself leaves lying about: a socket or a request is some kilobytes. */
const MOST_BYTES = 250

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

let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(() => server.close())

const descriptors = () => (process.platform === 'linux' ? readdirSync('/proc/self/fd').length : 0)

/** What is in use once all that nobody holds is gone. */
async function heapBytes(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    await new Promise(setImmediate)
    collectGarbage()
  }
  return process.memoryUsage().heapUsed
}

function comes(opening: Buffer, told: string): Promise<Socket> {
  const socket = open(server.url)
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
      const rests = { clients: 0, subscriptions: 0, pending: 0, behind: 0, queuedBytes: 0 }
      const empty = () => expect.poll(() => server.hub.getConnectionStats(), { timeout: 10_000 }).toMatchObject(rests)
      const heap: number[] = []
      const files: number[] = []
      for (let round = 0; round < ROUNDS; round++) {
        await comeAndGo(opening, told, CLIENTS / ROUNDS)
        await empty()
        heap.push(await heapBytes())
        files.push(descriptors())
      }
      // What is kept of each client is kept in every round; what Node and V8 grow by now and then is not.
      const growth = heap.slice(1).map((bytes, round) => ((bytes - heap[round]!) * ROUNDS) / CLIENTS)
      expect(Math.min(...growth), growth.join(', ')).toBeLessThan(MOST_BYTES)
      expect(files.at(-1)! - files[0]!).toBeLessThan(AT_ONCE)
    },
  )
})
