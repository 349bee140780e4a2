import { type ChildProcess, spawn } from 'node:child_process'
import { request } from 'node:http'
import { Centrifuge } from 'centrifuge'
import { EventSource } from 'eventsource'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { startTestServer, type TestServer } from '../server/test-server.ts'

/** How long the live source runs, in seconds: CI takes the full minute. */
const SECONDS = Number(process.env.HUBLINE_TEST_SOURCE_SECONDS ?? 5)

let server: TestServer
const children: ChildProcess[] = []
beforeAll(async () => {
  server = await startTestServer({ history: { messages: 0, bytes: 0, ageMs: 0 } })
})
afterAll(async () => {
  for (const child of children) child.kill()
  await server.close()
})

/** A curl that reads a topic, and what it has printed. */
function curl(...args: string[]): { output: () => Buffer } {
  const child = spawn('curl', ['-sN', ...args], { stdio: ['ignore', 'pipe', 'ignore'] })
  children.push(child)
  const parts: Buffer[] = []
  child.stdout.on('data', part => parts.push(part))
  return { output: () => Buffer.concat(parts) }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 5))
}

const subscribers = (topic: string) => server.hub.getTopic(topic)?.subscribers ?? 0

describe('one publication reaches every protocol', () => {
  it('at the same moment, byte for byte: curl, EventSource, WebSocket, centrifuge', async () => {
    const topic = 'everywhere/now'
    const { url } = server
    const socketUrl = url.replace('http', 'ws')
    const came = new Map<string, { data: string; at: number }>()
    const take = (who: string, data: string) => came.set(who, { data, at: performance.now() })

    const reader = curl(`${url}/topics/${topic}`)
    const source = new EventSource(`${url}/topics/${topic}`, {
      fetch: (input, init) => fetch(input, { ...init, headers: { ...init.headers, accept: 'text/event-stream' } }),
    })
    source.onmessage = event => take('EventSource', event.data)
    const webSocket = new WebSocket(`${socketUrl}/topics/${topic}`)
    webSocket.on('message', (data: Buffer) => take('WebSocket', data.toString()))
    const centrifuge = new Centrifuge(`${socketUrl}/connection/websocket`, { websocket: WebSocket })
    const subscription = centrifuge.newSubscription(topic)
    subscription.on('publication', ({ data }) => take('centrifuge', JSON.stringify(data)))
    subscription.subscribe()
    centrifuge.connect()
    await until(() => subscribers(topic) === 4)

    const body = JSON.stringify({ text: 'ünï ☃ \u0007 "quoted" \\ end', n: 1.5, list: [null, true] })
    const published = performance.now()
    const answer = await fetch(`${url}/topics/${topic}`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/json' },
    })
    expect(await answer.json()).toMatchObject({ topic, seq: 1, matched: 4, behind: 0 })
    await until(() => came.size === 3 && reader.output().byteLength >= Buffer.byteLength(body))
    expect(reader.output().toString()).toBe(body)
    for (const [who, { data, at }] of came) {
      expect([who, data]).toEqual([who, body])
      // One tick for all; what is between them is the clients' own time. Nothing waits for a heartbeat, which is 25 s.
      expect(at - published).toBeLessThan(10_000)
    }
    source.close()
    webSocket.close()
    centrifuge.disconnect()
    await until(() => subscribers(topic) === 1)
  })

  it(`a PUT source of 64 KB/s for ${SECONDS} s arrives whole everywhere`, {
    timeout: (SECONDS + 20) * 1000,
  }, async () => {
    const topic = 'everywhere/source'
    const { url } = server
    const reader = curl(`${url}/topics/${topic}`)
    const sse: Buffer[] = []
    const source = new EventSource(`${url}/topics/${topic}?encoding=base64`)
    source.onmessage = event => sse.push(Buffer.from(event.data, 'base64'))
    const webSocket = new WebSocket(`${url.replace('http', 'ws')}/topics/${topic}`)
    const frames: Buffer[] = []
    webSocket.on('message', (data: Buffer) => frames.push(data))
    await until(() => subscribers(topic) === 3)

    const sent: Buffer[] = []
    const done = new Promise<{ messages: number; bytes: number }>((resolve, reject) => {
      const put = request(
        `${url}/topics/${topic}`,
        { method: 'PUT', headers: { 'content-type': 'audio/mpeg' } },
        response => {
          response.setEncoding('utf8').on('data', text => resolve(JSON.parse(text)))
        },
      )
      put.on('error', reject)
      let piece = 0
      const timer = setInterval(() => {
        const data = Buffer.alloc(6400, piece++ % 251)
        sent.push(data)
        put.write(data)
        if (piece < SECONDS * 10) return
        clearInterval(timer)
        put.end()
      }, 100)
    })
    const result = await done
    const whole = Buffer.concat(sent)
    expect(result.bytes).toBe(whole.byteLength)
    const sum = (parts: Buffer[]) => parts.reduce((bytes, part) => bytes + part.byteLength, 0)
    await until(
      () =>
        reader.output().byteLength >= whole.byteLength &&
        sum(sse) >= whole.byteLength &&
        sum(frames) >= whole.byteLength,
    )
    expect(reader.output().equals(whole)).toBe(true)
    expect(Buffer.concat(sse).equals(whole)).toBe(true)
    expect(Buffer.concat(frames).equals(whole)).toBe(true)
    source.close()
    webSocket.close()
  })
})
