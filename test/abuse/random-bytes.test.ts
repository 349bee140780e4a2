import { randomInt } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { upgradeRequest } from '../server/raw-request.ts'
import { AMBIGUOUS, HOST } from './ambiguous.ts'
import { open } from './connection.ts'
import { BINARY, frame, TEXT } from './frame-peer.ts'
import { type Served, serve } from './served.ts'

/** To say again what a run said: HUBLINE_ABUSE_SEED=... */
const SEED = Number(process.env.HUBLINE_ABUSE_SEED ?? randomInt(2 ** 31))
const CONNECTIONS = Number(process.env.HUBLINE_ABUSE_CONNECTIONS ?? 3000)
const AT_ONCE = 50
const GROWTH_BYTES = 48 * 1024 * 1024

let served: Served
beforeAll(async () => {
  served = await serve(['--log-level', 'error'])
})
afterAll(() => served[Symbol.asyncDispose]())

/** What well-behaved peers say. */
const SESSIONS: readonly Buffer[] = [
  Buffer.from(`GET /topics/a HTTP/1.1\r\n${HOST}Accept: text/event-stream\r\nLast-Event-ID: x-1\r\n\r\n`),
  Buffer.from(`POST /topics/a HTTP/1.1\r\n${HOST}Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}`),
  Buffer.from(
    `PUT /topics/a?split=lines HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n4\r\na\nb\n\r\n0\r\n\r\n`,
  ),
  Buffer.from(
    `PUT /api/topics/a/policy HTTP/1.1\r\n${HOST}Content-Type: application/json\r\nContent-Length: 8\r\n\r\n"latest"`,
  ),
  Buffer.concat([
    Buffer.from(upgradeRequest('/connection/websocket')),
    frame({ opcode: TEXT, payload: '{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"a","recover":true}}' }),
    frame({
      opcode: TEXT,
      payload: '{"id":3,"publish":{"channel":"a","data":{"b":[1]}}}\n{"id":4,"history":{"channel":"a"}}',
    }),
  ]),
  Buffer.concat([
    Buffer.from(upgradeRequest('/topics/a?role=both')),
    frame({ opcode: BINARY, payload: new Uint8Array([1, 2, 3]), fin: false }),
    frame({ opcode: 0, payload: 'x'.repeat(300) }),
  ]),
]

/** A session with some bits turned over, the end cut off, or a piece said twice. */
const spoiled = fc
  .tuple(
    fc.constantFrom(...SESSIONS),
    fc.array(fc.tuple(fc.nat(), fc.nat(7)), { minLength: 1, maxLength: 8 }),
    fc.nat(),
    fc.nat(),
  )
  .map(([session, flips, from, to]) => {
    const bytes = Buffer.from(session)
    for (const [at, bit] of flips) bytes[at % bytes.byteLength]! ^= 1 << bit
    const [start, end] = [from % bytes.byteLength, to % bytes.byteLength]
    return start < end ? Buffer.concat([bytes, bytes.subarray(start, end)]) : bytes.subarray(0, Math.max(1, start))
  })
const said = fc.oneof(
  { weight: 2, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 2000 }).map(bytes => Buffer.from(bytes)) },
  { weight: 6, arbitrary: spoiled },
  { weight: 1, arbitrary: fc.constantFrom(...Object.values(AMBIGUOUS)).map(text => Buffer.from(text, 'latin1')) },
)

/** In up to three pieces, after which the peer goes: politely or not. */
const visit = fc.record({ bytes: said, cuts: fc.array(fc.nat(), { maxLength: 2 }), reset: fc.boolean() })

async function pay({ bytes, cuts, reset }: { bytes: Buffer; cuts: number[]; reset: boolean }): Promise<void> {
  const socket = open(served.url)
  const over = new Promise<void>(resolve => socket.on('close', () => resolve()))
  let from = 0
  for (const cut of [...cuts.map(cut => cut % bytes.byteLength).sort((a, b) => a - b), bytes.byteLength]) {
    if (cut > from && socket.writable) socket.write(bytes.subarray(from, cut))
    from = Math.max(from, cut)
    await new Promise(setImmediate)
  }
  await Promise.race([
    over,
    new Promise(resolve => socket.once('data', resolve)),
    new Promise(resolve => setTimeout(resolve, 100)),
  ])
  // Node forgets a socket that is reset while its end is under way.
  if (reset && !socket.writableEnded) socket.resetAndDestroy()
  else socket.destroy()
  await over
}

async function pays(seed: number, connections: number): Promise<void> {
  const visits = fc.sample(visit, { seed, numRuns: connections })
  for (let from = 0; from < visits.length; from += AT_ONCE)
    await Promise.all(visits.slice(from, from + AT_ONCE).map(pay))
}

describe('connections that say anything', () => {
  it(`E23: leave a process that lives, with nobody in it and no more memory (seed ${SEED})`, {
    timeout: 120_000,
  }, async () => {
    await pays(SEED + 1, Math.ceil(CONNECTIONS / 3))
    const before = await served.residentBytes()
    await pays(SEED, CONNECTIONS)
    expect(served.exitCode()).toBeNull()
    await expect
      .poll(async () => ((await (await fetch(`${served.url}/api/stats`)).json()) as { clients: number }).clients, {
        timeout: 10_000,
      })
      .toBe(0)
    expect((await served.residentBytes()) - before).toBeLessThan(GROWTH_BYTES)
    // Nothing of it is a fault of ours.
    expect(served.log()).toBe('')
    const sent = await fetch(`${served.url}/topics/after`, { method: 'POST', body: 'still here' })
    expect(sent.status).toBe(202)
  })
})
