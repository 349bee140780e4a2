import { once } from 'node:events'
import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import WebSocket from 'ws'
import { createHub, type Hub } from '../../src/hub.ts'
import { hubline } from '../../src/server/fastify.ts'
import { topicRules } from '../../src/topics/registry.ts'

let hub: Hub
let app: FastifyInstance
let url: string
let lines: Record<string, unknown>[]
beforeEach(async () => {
  lines = []
  const topics = topicRules({
    rules: { full: { maxSubscribers: 0 }, closed: { allowedPolicies: ['latest'] }, '*': {} },
  })
  hub = createHub({ topics, limits: { maxSubscriptionsPerClient: 2, maxPatternsPerClient: 1 } })
  const log: FastifyBaseLogger = pino({ base: null }, { write: line => void lines.push(JSON.parse(line)) })
  app = Fastify({ loggerInstance: log })
  await app.register(hubline, { hub, open: true })
  url = await app.listen({ port: 0, host: '127.0.0.1' })
  lines = []
})
afterEach(() => app.close())

const warnings = () => lines.filter(({ level }) => (level as number) > 30).map(({ code, err }) => code ?? err)
const rejected = async () => (await (await fetch(`${url}/metrics`)).text()).match(/^hubline_rejected_total\{.*$/gm)

/** Fails where nothing is subscribed, where one of several is not, and where a pattern is not. */
const FULL = [
  '/topics/full',
  '/events?topic=full',
  '/events?topic=a&topic=full',
  '/events?topic=a&topic=b&topic=c',
  '/events?topic=a&topic=x/*&topic=y/*',
  '/events?topic=x/*&topic=y/*',
]

describe('where not every subscription of a stream has room, nothing of it is written', () => {
  it.each(FULL)('EventSource gets a stream that says when to come back: %s', async path => {
    const answer = await fetch(url + path, { headers: { accept: 'text/event-stream' } })
    const text = await answer.text()
    expect(answer.status).toBe(200)
    expect(Number(/^retry: (\d+)\n/.exec(text)?.[1])).toBeGreaterThanOrEqual(1500)
    expect(text).toMatch(/^retry: \d+\n\nevent: close\ndata: \{"reason":"overloaded","code":"LIMIT_EXCEEDED".*\n\n$/)
    expect(warnings()).toEqual(['LIMIT_EXCEEDED'])
    expect(await rejected()).toEqual(['hubline_rejected_total{code="LIMIT_EXCEEDED",reason=""} 1'])
    expect([hub.getConnectionStats().clients, hub.getTopic('a')?.subscribers ?? 0]).toEqual([0, 0])
  })

  it.each([
    ...FULL.slice(1).map(path => [path, 'application/json, text/event-stream'] as const),
    ['/topics/full', '*/*'] as const,
    ['/topics/full', 'image/*'] as const,
    ['/topics/full', 'application/json, text/event-stream'] as const,
  ])('others get 503 with JSON: %s, %s', async (path, accept) => {
    const answer = await fetch(url + path, { headers: { accept } })
    expect(answer.status).toBe(503)
    expect(await answer.json()).toMatchObject({ error: { code: 'LIMIT_EXCEEDED' } })
    expect(answer.headers.get('retry-after')).toBe('1')
    expect(warnings()).toEqual(['LIMIT_EXCEEDED'])
  })

  it('a refusal for good is 204 to EventSource of a browser, and its status to others', async () => {
    const path = '/events?topic=a&topic=closed&policy=buffered'
    const browser = { accept: 'text/event-stream', 'sec-fetch-dest': 'empty' }
    const answer = await fetch(url + path, { headers: browser })
    expect([answer.status, answer.headers.get('hubline-error')]).toEqual([
      204,
      expect.stringContaining('POLICY_DENIED'),
    ])
    expect((await fetch(url + path)).status).toBe(403)
    expect(warnings()).toEqual(['POLICY_DENIED', 'POLICY_DENIED'])
  })

  it.each(['', '?since=oldest', '?gaps', '?gaps&since=oldest'])(
    'a WebSocket is told, and gets no frame: %s',
    async query => {
      const webSocket = new WebSocket(`${url.replace('http', 'ws')}/topics/full${query}`)
      const frames: unknown[] = []
      webSocket.on('message', data => frames.push(data)).on('error', () => {})
      const status = once(webSocket, 'unexpected-response').then(([, { statusCode }]) => statusCode)
      const code = once(webSocket, 'close').then(([code]) => code)
      expect(await Promise.race([status, code])).toBe(query.includes('since') ? 503 : 1013)
      expect(frames).toEqual([])
      expect(warnings()).toEqual(['LIMIT_EXCEEDED'])
      expect(await rejected()).toEqual(['hubline_rejected_total{code="LIMIT_EXCEEDED",reason=""} 1'])
      webSocket.terminate()
    },
  )
})

it('a stream begins in order: its own beginning, a topic, then messages of it, also those of a handler', async () => {
  hub.events.on('subscribe', ({ topic }) => {
    for (let i = 0; topic === 'a' && i < 20; i++)
      hub.routeData('a', Buffer.alloc(50_000, 'x'), { contentType: 'text/plain' })
  })
  const leave = new AbortController()
  const headers = { accept: 'text/event-stream' }
  const { body } = await fetch(`${url}/events?topic=a&topic=b`, { headers, signal: leave.signal })
  let text = ''
  for await (const piece of body!.pipeThrough(new TextDecoderStream())) {
    text += piece
    if ((text.match(/^id:/gm)?.length ?? 0) >= 20) break
  }
  leave.abort()
  const said = [...text.matchAll(/^(retry|event): (\S*)/gm)].map(([, name, value]) => (name === 'retry' ? name : value))
  expect(said.slice(0, 2)).toEqual(['retry', 'position'])
  expect(said.filter(what => what === 'position')).toHaveLength(2)
  expect(said.length).toBe(23)
})

describe('a newcomer with the id of another client', () => {
  it.each([
    ['a full topic', '/topics/full?client=k', 503],
    ['too many topics', '/events?topic=a&topic=b&topic=c&client=k', 503],
    ['too many patterns', '/events?topic=x/*&topic=y/*&client=k', 503],
    ['a policy that the topic does not allow', '/topics/closed?policy=buffered&client=k', 403],
  ])('that is refused does not replace it: %s', async (_, path, status) => {
    const cut = new AbortController()
    await fetch(`${url}/topics/a?client=k`, { signal: cut.signal })
    const holder = hub.handleOf('k')
    expect((await fetch(url + path)).status).toBe(status)
    const closed = new Promise(resolve => {
      const socket = new WebSocket(`${url.replace('http', 'ws')}${path}`)
      socket.on('error', resolve).on('close', resolve)
    })
    // There is no WebSocket at /events.
    await closed
    expect([hub.handleOf('k') === holder, holder!.closed]).toEqual([true, false])
    cut.abort()
  })

  it('may have a topic that is full because of the client that it replaces', async () => {
    const topics = topicRules({ rules: { one: { maxSubscribers: 1 } } })
    const other = createHub({ topics })
    const server = Fastify()
    await server.register(hubline, { hub: other, open: true })
    const at = await server.listen({ port: 0, host: '127.0.0.1' })
    const cut = new AbortController()
    expect((await fetch(`${at}/topics/one?client=k`, { signal: cut.signal })).status).toBe(200)
    expect((await fetch(`${at}/topics/one?client=k`, { signal: cut.signal })).status).toBe(200)
    expect((await fetch(`${at}/topics/one?client=l`, { signal: cut.signal })).status).toBe(503)
    expect([...other.getActiveClients()].map(({ id }) => id)).toEqual(['k'])
    cut.abort()
    await server.close()
  })
})
