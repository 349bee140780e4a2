import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { HubError } from '../../src/core/errors.ts'
import type { SessionManager } from '../../src/core/sessions.ts'
import { type ReadEvent, SseReader } from '../../src/wire/sse-reader.ts'
import { ask } from './http.ts'
import { startTestServer, type TestServer } from './test-server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer({ history: { messages: 5 } })
})
afterAll(() => server.close())

const turn = () => new Promise(resolve => setImmediate(resolve))
let topics = 0

/** A topic of its own with so many messages, of which the last five are kept. Answers a position of it by seq. */
async function topicWith(count: number): Promise<{ topic: string; at: (seq: number) => string }> {
  const topic = `since/${++topics}`
  for (let i = 1; i <= count; i++) server.hub.routeData(topic, Buffer.from(`${i};`), { contentType: 'text/plain' })
  await turn()
  const { epoch } = server.hub.getTopic(topic)!.position
  return { topic, at: seq => `${epoch}-${seq}` }
}

interface Stream {
  readonly headers: Headers
  /** Reads until the body so far is what is waited for. */
  until(done: (text: string) => boolean): Promise<string>
  end(): void
}

async function stream(path: string, headers: Record<string, string> = {}): Promise<Stream> {
  const leave = new AbortController()
  const response = await fetch(`${server.url}${path}`, { headers, signal: leave.signal })
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  let text = ''
  return {
    headers: response.headers,
    async until(done) {
      while (!done(text)) {
        const { value } = await reader.read()
        text += Buffer.from(value!).toString()
      }
      return text
    },
    end: () => leave.abort(),
  }
}

const SSE = { accept: 'text/event-stream' }
const events = (text: string): ReadEvent[] => [...new SseReader().push(text)]

describe('a plain stream', () => {
  it('says where it begins, resumes there, and does so exactly', async () => {
    const { topic, at } = await topicWith(7)
    const now = await stream(`/topics/${topic}`)
    expect(now.headers.get('hubline-position')).toBe(at(7))
    expect(now.headers.has('hubline-recovered')).toBe(false)
    now.end()
    const resumed = await stream(`/topics/${topic}?since=${at(4)}`)
    expect(Object.fromEntries(resumed.headers)).toMatchObject({
      'hubline-position': at(4),
      'hubline-recovered': 'true',
    })
    server.hub.routeData(topic, Buffer.from('8;'))
    expect(await resumed.until(text => text.includes('8;'))).toBe('5;6;7;8;')
    resumed.end()
  })

  it.each([
    ['of what is no longer kept', (at: (seq: number) => string) => at(0), 0, '3;4;5;6;7;'],
    ['of another life of the topic', () => 'zzz-3', 7, ''],
    ['ahead of the topic', (at: (seq: number) => string) => at(8), 7, ''],
  ])('tells that it has not recovered: %s', async (_what, since, begins, expected) => {
    const { topic, at } = await topicWith(7)
    const resumed = await stream(`/topics/${topic}?since=${since(at)}`)
    expect(Object.fromEntries(resumed.headers)).toMatchObject({
      'hubline-position': at(begins),
      'hubline-recovered': 'false',
    })
    server.hub.routeData(topic, Buffer.from('end'))
    expect(await resumed.until(text => text.includes('end'))).toBe(`${expected}end`)
    resumed.end()
  })

  it('since=oldest begins with all that is kept', async () => {
    const { topic, at } = await topicWith(7)
    const resumed = await stream(`/topics/${topic}?since=oldest`)
    expect(resumed.headers.get('hubline-position')).toBe(at(2))
    expect(await resumed.until(text => text.includes('7;'))).toBe('3;4;5;6;7;')
    resumed.end()
  })
})

describe('an event stream', () => {
  it('begins with an id, so that who got nothing yet resumes exactly', async () => {
    const { topic, at } = await topicWith(2)
    const first = await stream(`/topics/${topic}`, SSE)
    expect(await first.until(text => text.includes('id:'))).toMatch(new RegExp(`^retry: \\d{4}\n\nid: ${at(2)}\n\n$`))
    expect(first.headers.get('hubline-ping')).toBe('25000')
    first.end()
    server.hub.routeData(topic, Buffer.from('3;'), { contentType: 'text/plain' })
    await turn()
    const second = await stream(`/topics/${topic}`, { ...SSE, 'last-event-id': at(2) })
    const text = await second.until(text => text.includes('3;'))
    expect(events(text)).toEqual([{ event: 'message', id: at(3), data: '3;' }])
    expect(second.headers.get('hubline-recovered')).toBe('true')
    second.end()
  })

  it('tells a gap where it has not recovered, also on a topic that nobody has used since', async () => {
    const { topic, at } = await topicWith(7)
    const trimmed = await stream(`/topics/${topic}?since=${at(1)}`, SSE)
    const [gap, next] = events(await trimmed.until(text => text.includes('7;')))
    expect(JSON.parse(gap!.data)).toEqual({ topic, from: 2, to: 2, count: 1, reason: 'trimmed' })
    expect(next).toMatchObject({ id: at(3) })
    trimmed.end()
    const anew = await stream('/topics/since/anew?since=abc-5', SSE)
    const [unknown] = events(await anew.until(text => text.includes('gap')))
    expect(JSON.parse(unknown!.data)).toMatchObject({ count: null, reason: 'epoch' })
    expect(anew.headers.get('hubline-recovered')).toBe('false')
    anew.end()
  })

  it('the last event is newer than the URL', async () => {
    const { topic, at } = await topicWith(7)
    const resumed = await stream(`/topics/${topic}?since=${at(3)}`, { ...SSE, 'last-event-id': at(6) })
    expect(events(await resumed.until(text => text.includes('7;'))).map(({ id }) => id)).toEqual([at(7)])
    resumed.end()
  })

  it('of several topics says where each begins, and each may resume', async () => {
    const a = await topicWith(3)
    const b = await topicWith(4)
    const c = await topicWith(2)
    const query = `topic=${a.topic}&topic=${b.topic}&topic=${c.topic}`
    const since = `since=${a.topic}@${a.at(1)}&since=${b.topic}@zzz-1`
    const resumed = await stream(`/events?${query}&${since}`)
    const seen = events(await resumed.until(text => text.includes('"count":null') && text.includes('3;')))
    expect(seen.filter(({ event }) => event === 'position').map(({ data }) => JSON.parse(data))).toEqual([
      { topic: a.topic, position: a.at(1), recovered: true },
      { topic: b.topic, position: b.at(4), recovered: false },
      { topic: c.topic, position: c.at(2) },
    ])
    expect(seen.filter(({ event }) => event === `/${a.topic}`).map(({ id }) => id)).toEqual([a.at(2), a.at(3)])
    resumed.end()
    const both = await stream(`/events?${query}&since=${b.topic}@${b.at(2)}`, { 'last-event-id': a.at(2) })
    const again = events(await both.until(text => text.includes('"count":null') && text.includes('4;')))
    expect(again.flatMap(({ event, id }) => (event.startsWith('/') ? [id] : []))).toEqual([a.at(3), b.at(3), b.at(4)])
    both.end()
  })
})

describe('a WebSocket', () => {
  async function open(path: string): Promise<{ headers: Record<string, unknown>; heard: string[]; end: () => void }> {
    const webSocket = new WebSocket(`${server.url.replace('http', 'ws')}${path}`)
    const heard: string[] = []
    webSocket.on('message', data => heard.push(`${data}`))
    const [response] = (await once(webSocket, 'upgrade')) as [IncomingMessage]
    return { headers: response.headers, heard, end: () => webSocket.terminate() }
  }

  it('is told with the upgrade where it begins and whether that is all', async () => {
    const { topic, at } = await topicWith(7)
    const resumed = await open(`/topics/${topic}?since=${at(5)}`)
    expect(resumed.headers).toMatchObject({ 'hubline-position': at(5), 'hubline-recovered': 'true' })
    await expect.poll(() => resumed.heard).toEqual(['6;', '7;'])
    resumed.end()
    const oldest = await open(`/topics/${topic}?since=oldest`)
    expect(oldest.headers).toMatchObject({ 'hubline-position': at(2), 'hubline-recovered': 'true' })
    await expect.poll(() => oldest.heard.length).toBe(5)
    oldest.end()
    for (const [since, begins] of [
      [at(0), at(0)],
      ['zzz-1', at(7)],
    ]) {
      const lost = await open(`/topics/${topic}?since=${since}`)
      expect(lost.headers).toMatchObject({ 'hubline-position': begins, 'hubline-recovered': 'false' })
      lost.end()
    }
    const plain = await open(`/topics/${topic}`)
    expect(plain.headers).not.toHaveProperty('hubline-position')
    plain.end()
  })
})

describe('a history', () => {
  it('is pages of JSON', async () => {
    const { topic, at } = await topicWith(7)
    server.hub.routeData(topic, Buffer.of(0xff), { contentType: 'image/png', key: 'k' })
    const first = await ask(`${server.url}/topics/${topic}?history&limit=3`)
    expect(first.body).toEqual({
      topic,
      position: at(8),
      messages: [4, 5, 6].map(seq => ({ position: at(seq), contentType: 'text/plain', text: `${seq};` })),
      next: at(6),
    })
    const last = await ask(`${server.url}/topics/${topic}?history&since=${first.body.next}`)
    expect(last.body).toMatchObject({ recovered: true, messages: [{ text: '7;' }, { base64: '/w==', key: 'k' }] })
    expect(last.body).not.toHaveProperty('next')
    const lost = await ask(`${server.url}/topics/${topic}?history&since=${at(1)}`)
    expect(lost.body.recovered).toBe(false)
  })

  it('of a topic that nobody has used is empty', async () => {
    const { status, body } = await ask(`${server.url}/topics/since/never?history`)
    expect({ status, body }).toEqual({ status: 200, body: { topic: 'since/never', messages: [] } })
  })
})

describe('bad input', () => {
  it.each([
    ['/topics/a?since=yesterday', 'since'],
    ['/topics/a?since=a-b', 'since'],
    ['/topics/a?since=b@abc-1', 'since'],
    ['/events?topic=a&since=abc-1', 'since'],
    ['/events?topic=a&since=c@abc-1', 'since'],
    ['/events?topic=a&history', 'history'],
    ['/topics/a?limit=5', 'history'],
    ['/topics/a?history&limit=0', 'limit'],
    ['/topics/a?history&limit=1001', 'limit'],
    ['/topics/a?history=no', 'history'],
  ])('%s is 400 and names the field', async (path, field) => {
    const { status, body } = await ask(`${server.url}${path}`)
    expect(status).toBe(400)
    expect(body.error.message).toContain(field)
  })
})

describe('what was before', () => {
  it('is for those who may read the history; who goes on where it stopped reads on', async () => {
    const { hubline } = await import('../../src/server/fastify.ts')
    const { createHub } = await import('../../src/hub.ts')
    const { default: Fastify } = await import('fastify')
    const sessions: SessionManager = {
      authenticate: () => ({}),
      authorize: (_session, action) => action === 'subscribe',
    }
    const app = Fastify()
    await app.register(hubline, { hub: createHub(), sessions })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    try {
      for (const path of [
        ...['?since=oldest', '?since=abc-1', '?history'].map(query => `/topics/a${query}`),
        ...['/events?topic=a&since=oldest', '/events?topic=a/*&since=oldest'],
      ]) {
        const { error } = (await ask(`${url}${path}`)).body
        expect(error.code).toBe('PERMISSION_DENIED' satisfies HubError['code'])
        expect(error.message).toMatch(/^topic: this session may not read the history of a/)
      }
      const leave = new AbortController()
      const resumed = await fetch(`${url}/topics/a`, {
        headers: { ...SSE, 'last-event-id': 'abc-1' },
        signal: leave.signal,
      })
      expect(resumed.status).toBe(200)
      leave.abort()
    } finally {
      await app.close()
    }
  })
})
