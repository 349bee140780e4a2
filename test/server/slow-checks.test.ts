import { once } from 'node:events'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { askJson } from './http.ts'
import { startTestServer, type TestServer } from './test-server.ts'

/** The check of such a message takes as long as a check may. */
const SLOW = `${'a'.repeat(40)}!`
const MESSAGES = 6

let server: TestServer
beforeEach(async () => {
  server = await startTestServer()
  const rule = { schema: { type: 'string', pattern: '^(a+)+$' } }
  expect((await askJson(`${server.url}/api/topic-rules/slow`, rule, 'PUT')).status).toBe(201)
})
afterEach(() => server.close())

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** The CPU time of the longest turn of the event loop until `work` is done, as a share of that of all turns. */
async function longestTurn(work: Promise<unknown>): Promise<number> {
  const turns: number[] = []
  let last = cpuMs()
  let counting = true
  const count = (): void => {
    const now = cpuMs()
    turns.push(now - last)
    last = now
    if (counting) setImmediate(count)
  }
  setImmediate(count)
  await work
  counting = false
  count()
  const all = turns.reduce((sum, ms) => sum + ms, 0)
  // Or the messages were not slow, and the share says nothing.
  expect(all).toBeGreaterThan(MESSAGES * 20)
  return Math.max(...turns) / all
}

it('of many messages in one request leave other connections their turns between them', async () => {
  const publications = Array.from({ length: MESSAGES }, () => ({ topic: 'slow', data: SLOW }))
  const answer = askJson(`${server.url}/api/publish`, { publications })
  expect(await longestTurn(answer)).toBeLessThan(0.5)
  expect(JSON.stringify((await answer).body)).toContain('took longer than 50 ms')
})

it('of many messages in one frame leave other connections their turns between them', async () => {
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/connection/websocket`)
  await once(socket, 'open')
  const replies: string[] = []
  let answered = (): void => {}
  socket.on('message', data => {
    replies.push(...data.toString().trim().split('\n'))
    if (replies.length > MESSAGES) answered()
  })
  const all = new Promise<void>(resolve => {
    answered = resolve
  })
  const lines = Array.from({ length: MESSAGES }, (_, at) => ({ id: at + 2, publish: { channel: 'slow', data: SLOW } }))
  socket.send([{ id: 1, connect: {} }, ...lines].map(line => JSON.stringify(line)).join('\n'))
  expect(await longestTurn(all)).toBeLessThan(0.5)
  expect(replies.filter(reply => reply.includes('"error"'))).toHaveLength(MESSAGES)
  socket.terminate()
})
