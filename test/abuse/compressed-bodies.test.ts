import type { Transform } from 'node:stream'
import { setTimeout as wait } from 'node:timers/promises'
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { ask } from '../server/http.ts'
import { startTestServer, type TestServer } from '../server/test-server.ts'
import { open } from './connection.ts'

const { decoders } = vi.hoisted(() => ({ decoders: [] as Transform[] }))
vi.mock('node:zlib', async original => {
  const zlib = await original<typeof import('node:zlib')>()
  const kept = (create: () => Transform) => () => {
    const decoder = create()
    decoders.push(decoder)
    return decoder
  }
  return {
    ...zlib,
    createGunzip: kept(zlib.createGunzip),
    createInflate: kept(zlib.createInflate),
    createBrotliDecompress: kept(zlib.createBrotliDecompress),
  }
})

/** Two looks at the bodies, which come each second. */
const LATE_MS = 3500
const MAX = 20_000

const ENCODERS = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync }
const ROUTES = [
  ['POST', '/topics/a', 'text/plain'],
  ['PUT', '/topics/a', 'text/plain'],
  ['POST', '/api/tickets', 'application/json'],
  ['POST', '/api/publish', 'application/json'],
  ['POST', '/api/publish', 'text/plain'],
  ['POST', '/@connections/x', 'text/plain'],
  ['DELETE', '/api/clients/x', 'text/plain'],
  ['POST', '/no/such/route', 'text/plain'],
] as const
const GOOD = Buffer.from('"hello"'.padStart(2000))
/** Compresses to a body of 2 KB or less, for all codings. */
const BOMB = Buffer.alloc(1_000_000, '0')
const BAD = Buffer.alloc(3000, 7)

/** What the peer sends of a body, and how it ends. `more`: bytes that it announces and does not send. */
const ENDINGS = {
  whole: { parts: encode => [encode(GOOD)] },
  bomb: { parts: encode => [encode(BOMB)] },
  'bomb, then silence': { parts: encode => [encode(BOMB)], more: 1 },
  'bomb, then gone': { parts: encode => [encode(BOMB)], more: 1, gone: true },
  'bomb, then bad data': { parts: encode => [encode(BOMB).subarray(0, -8), BAD] },
  'bad data at once': { parts: () => [BAD] },
  'bad data, then silence': { parts: () => [BAD], more: 1 },
  'half, then silence': { parts: encode => [encode(GOOD).subarray(0, 12)], more: 9 },
  'half, then gone': { parts: encode => [encode(GOOD).subarray(0, 12)], more: 9, gone: true },
  'half, and no more': { parts: encode => [encode(GOOD).subarray(0, 12)] },
  nothing: { parts: () => [], more: 9 },
} satisfies Record<string, { parts(encode: (body: Buffer) => Buffer): Buffer[]; more?: number; gone?: boolean }>

type Ending = (typeof ENDINGS)[keyof typeof ENDINGS] & { more?: number; gone?: boolean }

let server: TestServer
beforeAll(async () => {
  server = await startTestServer({ maxMessageBytes: MAX, timeouts: { bodyMs: 100, headersMs: 1000 } })
})
afterAll(() => server.close())

async function send(coding: keyof typeof ENCODERS, route: (typeof ROUTES)[number], ending: Ending, chunked: boolean) {
  const { more = 0, gone = false } = ending
  const [method, path, type] = route
  const parts = ending.parts(ENCODERS[coding])
  const length = parts.reduce((sum, part) => sum + part.byteLength, more)
  const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${length}`
  const head = [`${method} ${path} HTTP/1.1`, 'Host: localhost', `Content-Type: ${type}`, framing]
  const socket = open(server.url)
  socket.resume().write(`${head.join('\r\n')}\r\nContent-Encoding: ${coding}\r\n\r\n`)
  for (const part of parts) {
    socket.write(chunked ? `${part.byteLength.toString(16)}\r\n${part.toString('latin1')}\r\n` : part, 'latin1')
    await wait(50)
  }
  if (chunked && more === 0) socket.write('0\r\n\r\n')
  if (gone) socket.destroy()
  await wait(LATE_MS)
  socket.destroy()
}

it('however a compressed body ends, nothing but its request ends, and its decoder is freed', {
  timeout: 30_000,
}, async () => {
  const uncaught: unknown[] = []
  const note = (error: unknown): void => void uncaught.push(error)
  process.on('uncaughtExceptionMonitor', note)
  const sent: Promise<void>[] = []
  for (const coding of Object.keys(ENCODERS) as (keyof typeof ENCODERS)[])
    for (const route of ROUTES)
      for (const ending of Object.values(ENDINGS))
        for (const chunked of [false, true]) sent.push(send(coding, route, ending, chunked))
  await Promise.all(sent)
  process.off('uncaughtExceptionMonitor', note)
  expect(uncaught).toEqual([])
  expect(decoders.length).toBeGreaterThan(100)
  expect(decoders.filter(decoder => !decoder.destroyed)).toEqual([])
  expect((await ask(`${server.url}/health/ready`)).status).toBe(200)
})
