import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import Fastify from 'fastify'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { createHub, type Hub } from '../../src/hub.ts'
import { hubline } from '../../src/server/fastify.ts'
import { TopicRules } from '../../src/topics/registry.ts'

/** Messages that a topic keeps. */
const KEPT = 5

let hub: Hub
let url: string
let close: () => Promise<void>
/** Runs while somebody is let in, after the credentials were looked at and before the client is registered. */
let admitting: () => void = () => {}
/** Runs in a handler of the hub's event `register`: the client is there, and not subscribed yet. */
let registering: () => void = () => {}

beforeAll(async () => {
  hub = createHub({
    topics: new TopicRules({ defaults: { history: { messages: KEPT, bytes: 1_000_000, ageMs: 60_000 } } }),
  })
  hub.events.on('register', () => registering())
  const app = Fastify()
  const sessions = {
    authenticate: () => ({}),
    authorize: () => {
      admitting()
      return true
    },
  }
  await app.register(hubline, { hub, sessions })
  url = await app.listen({ port: 0, host: '127.0.0.1' })
  close = () => app.close()
})
afterAll(() => close())
beforeEach(() => {
  admitting = registering = () => {}
})

let topics = 0
let topic = ''
/** Of a multipart stream: a picture. */
let contentType = 'application/json'
const publish = (count: number): void => {
  for (let i = 0; i < count; i++) {
    const next = (hub.getTopic(topic)?.position.seq ?? 0) + 1
    hub.routeData(topic, Buffer.from(` ${next} `), { contentType })
  }
}

/** What a peer was promised, and the first message that it got. */
interface Beginning {
  readonly position: number
  readonly recovered: boolean
  readonly first: number
}

const seqOf = (position: string): number => Number(position.split('-')[1])

async function overWebSocket(since: string): Promise<Beginning> {
  const webSocket = new WebSocket(`${url.replace('http', 'ws')}/topics/${topic}?since=${since}`)
  const first = once(webSocket, 'message')
  const [{ headers }] = (await once(webSocket, 'upgrade')) as [IncomingMessage]
  publish(1)
  const [data] = await first
  webSocket.terminate()
  return {
    position: seqOf(headers['hubline-position'] as string),
    recovered: headers['hubline-recovered'] === 'true',
    first: Number(data),
  }
}

async function overHttp(since: string, accept: string, read: RegExp): Promise<Beginning> {
  const leave = new AbortController()
  const response = await fetch(`${url}/topics/${topic}?since=${since}`, { headers: { accept }, signal: leave.signal })
  publish(1)
  let text = ''
  for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += Buffer.from(piece)
    if (read.test(text)) break
  }
  leave.abort()
  return {
    position: seqOf(response.headers.get('hubline-position')!),
    recovered: response.headers.get('hubline-recovered') === 'true',
    first: Number(read.exec(text)![1]),
  }
}

async function overEvents(since: string): Promise<Beginning> {
  const leave = new AbortController()
  const asked = since === 'oldest' ? since : `${topic}@${since}`
  const response = await fetch(`${url}/events?topic=${topic}&since=${asked}`, { signal: leave.signal })
  publish(1)
  let text = ''
  for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += Buffer.from(piece)
    if (/^data: +\d+ $/m.test(text)) break
  }
  leave.abort()
  const told = JSON.parse(/^event: position\ndata: (.*)$/m.exec(text)![1]!)
  return {
    position: seqOf(told.position),
    recovered: told.recovered,
    first: Number(/^data: +(\d+) $/m.exec(text)![1]),
  }
}

/** By a command; `flag` 2 asks for a refusal in place of a subscription that has lost something. */
async function overClientProtocol(since: string, flag: number): Promise<Beginning | 'refused'> {
  const [epoch, offset] = since.split('-')
  const webSocket = new WebSocket(`${url.replace('http', 'ws')}/connection/websocket`)
  const lines: {
    id?: number
    error?: object
    subscribe?: Record<string, unknown>
    push?: { pub?: { data: number } }
  }[] = []
  webSocket.on('message', data => lines.push(...`${data}`.split('\n').map(line => JSON.parse(line))))
  await once(webSocket, 'open')
  webSocket.send(JSON.stringify({ id: 1, connect: {} }))
  await expect.poll(() => lines.some(({ id }) => id === 1)).toBe(true)
  webSocket.send(
    JSON.stringify({ id: 2, subscribe: { channel: topic, recover: true, epoch, offset: Number(offset), flag } }),
  )
  await expect.poll(() => lines.some(({ id }) => id === 2)).toBe(true)
  const reply = lines.find(({ id }) => id === 2)!
  if (reply.error !== undefined) {
    webSocket.terminate()
    return 'refused'
  }
  publish(1)
  await expect.poll(() => lines.some(({ push }) => push?.pub)).toBe(true)
  webSocket.terminate()
  return {
    position: reply.subscribe!.offset as number,
    recovered: reply.subscribe!.recovered as boolean,
    first: lines.find(({ push }) => push?.pub)!.push!.pub!.data,
  }
}

const PROTOCOLS: readonly [name: string, open: (since: string) => Promise<Beginning | 'refused'>][] = [
  ['a WebSocket', overWebSocket],
  ['Server-Sent Events', since => overHttp(since, 'text/event-stream', /^data: +(\d+) $/m)],
  ['plain HTTP', since => overHttp(since, '*/*', /^ (\d+) /)],
  ['multipart', since => overHttp(since, 'image/*', /\r\n\r\n (\d+) \r\n/)],
  ['/events', overEvents],
  ['the client protocol', since => overClientProtocol(since, 0)],
  ['the client protocol, which refuses what is not recovered', since => overClientProtocol(since, 2)],
]

describe.each(PROTOCOLS)('%s', (name, open) => {
  /** What is promised is what comes: everything after the position, or it is said that something is missing. */
  const check = (told: Beginning | 'refused'): void => {
    if (told === 'refused') return
    if (name.includes('refuses')) expect(told.recovered).toBe(true)
    if (told.recovered) expect(told.first).toBe(told.position + 1)
    else expect(told.first).toBeGreaterThan(told.position)
  }

  const epoch = (): string => hub.getTopic(topic)!.position.epoch

  beforeEach(() => {
    topic = `begin/${++topics}`
    contentType = name === 'multipart' ? 'image/png' : 'application/json'
    publish(3)
  })

  it.each([0, 1, 2, 3])('states what comes where the topic is trimmed as it is let in: %s messages', async count => {
    admitting = () => {
      admitting = () => {}
      publish(count)
    }
    const told = await open(`${epoch()}-0`)
    check(told)
    if (count <= 2) expect(told).toMatchObject({ position: 0, recovered: true, first: 1 })
  })

  it.each([1, 3, 7])('states what comes where it is trimmed as it is registered: %s messages', async count => {
    registering = () => publish(count)
    check(await open(`${epoch()}-1`))
  })

  if (!name.includes('client protocol')) {
    it.each([1, 7])('states what comes where it begins with the oldest: %s messages', async count => {
      admitting = () => publish(count)
      registering = () => publish(count)
      const told = await open('oldest')
      expect(told).toMatchObject({ recovered: true })
      check(told)
    })
  }
})

describe('on a busy topic', () => {
  it('each of a hundred WebSockets gets exactly what the answer to its handshake states', async () => {
    topic = 'begin/busy'
    contentType = 'application/json'
    let busy = true
    const work = (): void => {
      if (!busy) return
      publish(3)
      setImmediate(work)
    }
    publish(1)
    work()
    const stated: boolean[] = []
    const one = async (n: number): Promise<void> => {
      const { epoch, seq } = hub.getTopic(topic)!.position
      const told = await overWebSocket(n % 2 === 0 ? 'oldest' : `${epoch}-${seq}`)
      stated.push(told.recovered)
      if (told.recovered) expect(told.first).toBe(told.position + 1)
      else expect(told.first).toBeGreaterThan(told.position)
    }
    try {
      for (let n = 0; n < 100; n += 10) await Promise.all(Array.from({ length: 10 }, (_, i) => one(n + i)))
    } finally {
      busy = false
    }
    expect(stated.filter(Boolean).length).toBeGreaterThanOrEqual(50)
  })
})
