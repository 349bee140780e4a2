import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { HubMetrics } from '../../src/sending/metrics.ts'
import type { ShutdownReport } from '../../src/sending/shutdown.ts'

const CALLBACKS = 20
const SOCKETS = 500

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

interface Ended {
  readonly report: ShutdownReport
  /** What the sends that were under way came to. */
  readonly ended: Record<string, number>
  readonly refused: string
  readonly metrics: HubMetrics
}

/** A receiver that answers when it is told to. */
async function receiver() {
  const waiting: ServerResponse[] = []
  const server = createServer((request, response) => {
    request.resume().on('end', () => waiting.push(response))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  ends.push(() => {
    server.close()
    server.closeAllConnections()
  })
  return { waiting, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
}

async function startHub(options: {
  deadlineMs: number
  receiver: string
}): Promise<{ hub: ChildProcess; url: string }> {
  const hub = fork('test/e2e/sending/hub.mjs', [JSON.stringify({ callbacks: CALLBACKS, ...options })])
  ends.push(() => hub.kill('SIGKILL'))
  const [{ url }] = (await once(hub, 'message')) as [{ url: string }]
  return { hub, url }
}

/** Clients that read all they are sent, on a topic that never rests. */
async function connect(url: string): Promise<{ codes: number[]; closed: Promise<unknown> }> {
  const codes: number[] = []
  const sockets = Array.from({ length: SOCKETS }, (_, i) => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/topics/busy?client=socket${i}`)
    socket.on('close', code => codes.push(code))
    return socket
  })
  const closed = Promise.all(sockets.map(socket => once(socket, 'close')))
  await Promise.all(sockets.map(socket => once(socket, 'message')))
  return { codes, closed }
}

async function terminate(hub: ChildProcess): Promise<{ ended: Ended; ms: number; code: number }> {
  const begun = performance.now()
  const messages = once(hub, 'message')
  const exit = once(hub, 'exit')
  hub.kill('SIGTERM')
  const [[ended], [code]] = (await Promise.all([messages, exit])) as [[Ended], [number]]
  return { ended, code, ms: performance.now() - begun }
}

describe(`SIGTERM with ${SOCKETS} busy clients and ${CALLBACKS} callbacks under way`, () => {
  it('has those answered, closes everybody and exits with 0 in its deadline', { timeout: 60_000 }, async () => {
    const { waiting, url: receiverUrl } = await receiver()
    const { hub, url } = await startHub({ deadlineMs: 10_000, receiver: receiverUrl })
    const { codes, closed } = await connect(url)
    hub.send('send')
    await expect.poll(() => waiting.length).toBe(CALLBACKS)
    const terminated = terminate(hub)
    setTimeout(() => {
      for (const response of waiting) response.end()
    }, 300)
    const { ended, ms, code } = await terminated
    console.log(`shutdown: ${ms.toFixed(0)} ms`, ended.report)
    expect(code).toBe(0)
    expect(ms).toBeLessThan(10_000)
    expect(ended.ended).toEqual({ ok: CALLBACKS })
    expect(ended.refused).toBe('SHUTTING_DOWN')
    expect(ended.report).toMatchObject({
      outcome: 'drained',
      sends: { finished: CALLBACKS, abandoned: 0 },
      messages: { abandoned: 0 },
      clients: { closed: SOCKETS + CALLBACKS, behind: 0 },
    })
    expect(ended.metrics.operations).toMatchObject({ send: { active: 0 }, callback: { active: 0, errors: {} } })
    await closed
    expect(new Set(codes)).toEqual(new Set([1012]))
    expect(codes).toHaveLength(SOCKETS)
  })

  it('gives up those that are never answered, says so, and exits with 0 in its deadline', {
    timeout: 60_000,
  }, async () => {
    const { waiting, url: receiverUrl } = await receiver()
    const { hub, url } = await startHub({ deadlineMs: 2000, receiver: receiverUrl })
    const { closed } = await connect(url)
    hub.send('send')
    await expect.poll(() => waiting.length).toBe(CALLBACKS)
    for (const response of waiting.slice(0, 5)) response.end()
    const { ended, ms, code } = await terminate(hub)
    console.log(`shutdown: ${ms.toFixed(0)} ms`, ended.report)
    expect(code).toBe(0)
    // The deadline is the hub's, and one deadline for all; what is more is the end of the server, the pool and the process.
    expect(ended.report.ms).toBeLessThan(4000)
    expect(ms - ended.report.ms).toBeLessThan(8000)
    expect(ended.ended.SHUTTING_DOWN).toBe(CALLBACKS - 5)
    expect(ended.report).toMatchObject({ outcome: 'deadline', sends: { abandoned: CALLBACKS - 5 } })
    expect(ended.report.clients.closed).toBe(SOCKETS + CALLBACKS)
    await closed
  })
})
