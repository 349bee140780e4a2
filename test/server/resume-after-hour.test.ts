import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { createHub, type Hub } from '../../src/hub.ts'
import { hubline } from '../../src/server/fastify.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'

const MINUTE_MS = 60_000

let app: FastifyInstance
let hub: Hub
let clock: ManualScheduler
let url: string
afterEach(() => app.close())

async function start(): Promise<void> {
  clock = new ManualScheduler()
  hub = createHub({ scheduler: clock })
  app = Fastify()
  await app.register(hubline, { hub })
  url = await app.listen({ port: 0, host: '127.0.0.1' })
}

/** Publishes so many messages, and lets time pass until their history is over and the topic is forgotten. */
function publishAndForget(count: number): string {
  for (let n = 1; n <= count; n++) hub.routeData('news', Buffer.from(`"${n}"`), { contentType: 'application/json' })
  clock.settle()
  const { epoch, seq } = hub.positionOf('news')!
  clock.advance(10 * MINUTE_MS)
  expect(hub.getTopic('news')).toBeNull()
  return `${epoch}-${seq}`
}

/** The head of a stream, and its first bytes. */
async function resume(path: string, headers: Record<string, string>): Promise<{ headers: Headers; text: string }> {
  const cut = new AbortController()
  const answer = await fetch(url + path, { headers, signal: cut.signal })
  clock.settle()
  const { value } = await answer.body!.getReader().read()
  cut.abort()
  return { headers: answer.headers, text: Buffer.from(value!).toString() }
}

const SSE = { accept: 'text/event-stream' }

describe('ten minutes away, after which the topic was forgotten', () => {
  it.each<[string, (position: string) => [string, Record<string, string>]]>([
    ['Last-Event-ID', position => ['/topics/news', { ...SSE, 'last-event-id': position }]],
    ['?since', position => [`/topics/news?since=${position}`, SSE]],
    ['Last-Event-ID of several topics', position => ['/events?topic=news', { ...SSE, 'last-event-id': position }]],
  ])('a client that missed nothing recovers, by %s', async (_, ask) => {
    await start()
    const position = publishAndForget(3)
    const [path, headers] = ask(position)
    const { headers: answered, text } = await resume(path, headers)
    expect([answered.get('hubline-recovered'), answered.get('hubline-position')]).toEqual(['true', position])
    expect(text).not.toContain('event: gap')
  })

  it('a client that missed messages is told how many', async () => {
    await start()
    const position = publishAndForget(3)
    const before = `${position.split('-')[0]}-1`
    const { headers, text } = await resume('/topics/news', { ...SSE, 'last-event-id': before })
    expect(headers.get('hubline-recovered')).toBe('false')
    expect(text).toMatch(/event: gap\ndata: .*"from":2,"to":3,"count":2/)
  })

  it('after more than an hour the position is forgotten, and what was missed is unknown', async () => {
    await start()
    const position = publishAndForget(3)
    clock.advance(61 * MINUTE_MS)
    const { headers } = await resume('/topics/news', { ...SSE, 'last-event-id': position })
    expect(headers.get('hubline-recovered')).toBe('false')
  })
})
