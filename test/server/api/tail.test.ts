import { PassThrough } from 'node:stream'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createHub } from '../../../src/hub.ts'
import { Tails } from '../../../src/server/api/tails.ts'
import { FakeConnection, ManualScheduler } from '../../../src/testing/index.ts'
import { SseReader } from '../../../src/wire/sse-reader.ts'
import { ask, type Listener, listen, until } from '../http.ts'
import { startTestServer, type TestServer } from '../test-server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(() => server.close())

const ends: (() => void)[] = []
afterEach(async () => {
  for (const end of ends.splice(0)) end()
  await until(() => server.hub.getConnectionStats().clients === 0)
})

interface Tail {
  // biome-ignore lint/suspicious/noExplicitAny: whatever is told, for a test to compare
  readonly events: { event: string; data: any }[]
  readonly ended: Promise<void>
  stop(): void
}

async function tail(id: string, query = ''): Promise<Tail> {
  const stop = new AbortController()
  const response = await fetch(`${server.url}/api/clients/${id}/tail${query}`, { signal: stop.signal })
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
  const events: Tail['events'] = []
  const reader = new SseReader()
  const read = async () => {
    for await (const piece of response.body!.pipeThrough(new TextDecoderStream())) {
      for (const { event, data } of reader.push(piece)) events.push({ event, data: JSON.parse(data) })
    }
  }
  const ended = read().catch(() => {})
  ends.push(() => stop.abort())
  await until(() => events.length > 0)
  return { events, ended, stop: () => stop.abort() }
}
async function connect(id: string, topic: string): Promise<Listener> {
  const listener = await listen(server.url, id, topic)
  ends.push(() => listener.webSocket.terminate())
  return listener
}
const kinds = ({ events }: Tail) => events.flatMap(({ event, data }) => (event === 'seen' ? data.kind : event))

describe('GET /api/clients/{id}/tail', () => {
  it('tells how the client is, what it is sent, and how it ends', async () => {
    await connect('ada', 'told')
    const one = await tail('ada')
    expect(one.events[0]!.data).toMatchObject({
      id: 'ada',
      protocol: 'websocket',
      queuedBytes: 0,
      drops: {},
      subscriptions: [{ topic: 'told', policy: { name: 'buffered' }, decidedBy: 'default', state: 'live' }],
    })
    void server.hub.publishBytes('told', Buffer.from('secret'))
    await until(() => one.events.length === 2)
    expect(one.events[1]).toEqual({
      event: 'seen',
      data: { kind: 'messages', topic: 'told', first: 1, last: 1, bytes: 6, result: 'ok', at: expect.any(Number) },
    })
    await server.hub.send('ada', 'for you alone')
    await until(() => one.events.length === 3)
    expect(one.events[2]!.data).toMatchObject({ kind: 'direct', result: 'ok' })
    server.hub.unregisterClient('ada', 'ended')
    await one.ended
    expect(one.events.at(-1)).toEqual({ event: 'end', data: { reason: 'ended', at: expect.any(Number) } })
    expect(JSON.stringify(one.events)).not.toContain('secret')
  })

  it('shows payloads where they are asked for, and of large ones the beginning', async () => {
    await connect('ada', 'shown')
    const one = await tail('ada', '?payload=true')
    void server.hub.publishBytes('shown', Buffer.from('{"n":1}'), { contentType: 'application/json', key: 'k' })
    void server.hub.publishBytes('shown', Buffer.alloc(5000, 'x'), { contentType: 'text/plain' })
    await until(() => one.events.length === 2)
    const { messages } = one.events[1]!.data
    expect(messages[0]).toEqual({ seq: 1, contentType: 'application/json', key: 'k', bytes: 7, data: { n: 1 } })
    expect([messages[1].bytes, messages[1].cut, Buffer.from(messages[1].base64, 'base64').length]).toEqual([
      5000,
      true,
      1024,
    ])
  })

  it('tells what is decided of a client that is behind', async () => {
    const { webSocket } = await connect('slow', 'behind')
    await ask(`${server.url}/api/clients/slow/policy`, {
      method: 'PUT',
      body: '{"name":"buffered","bytes":200000,"overflow":"drop-oldest"}',
      headers: { 'content-type': 'application/json' },
    })
    const one = await tail('slow')
    webSocket.pause()
    while (!kinds(one).includes('dropped')) {
      void server.hub.publishBytes('behind', Buffer.alloc(100_000))
      await new Promise(setImmediate)
    }
    webSocket.resume()
    await until(() => kinds(one).includes('caught up'))
    expect(kinds(one)).toEqual(expect.arrayContaining(['messages', 'behind', 'dropped', 'drained', 'caught up']))
  })

  it('lets several look at one client, and leaves it alone when the last has gone', async () => {
    await connect('ada', 'shared')
    const [one, two] = [await tail('ada'), await tail('ada')]
    void server.hub.publishBytes('shared', Buffer.from('x'))
    await until(() => one.events.length + two.events.length === 4)
    one.stop()
    await one.ended
    void server.hub.publishBytes('shared', Buffer.from('y'))
    await until(() => two.events.length === 3)
    two.stop()
    await two.ended
    // The core lets one watch at a time: it can again.
    await until(() => {
      try {
        server.hub.watch('ada', () => {})[Symbol.dispose]()
        return true
      } catch {
        return false
      }
    })
    const three = await tail('ada')
    void server.hub.publishBytes('shared', Buffer.from('z'))
    await until(() => three.events.length === 2)
  })

  it('follows no id to another client, and may look at that one too', async () => {
    await connect('ada', 'old')
    const one = await tail('ada')
    await connect('ada', 'new')
    await one.ended
    expect(one.events.at(-1)).toMatchObject({ event: 'end', data: { reason: 'replaced' } })
    const two = await tail('ada')
    expect(two.events[0]!.data.subscriptions).toMatchObject([{ topic: 'new' }])
  })

  it('answers 404 for nobody, and 400 for what it does not know', async () => {
    expect((await ask(`${server.url}/api/clients/nobody/tail`)).body.error.code).toBe('CONNECTION_NOT_FOUND')
    await connect('ada', 'any')
    const { status, body } = await ask(`${server.url}/api/clients/ada/tail?payloads=true`)
    expect([status, body.error.message]).toEqual([400, 'unknown key "payloads": did you mean "payload"?'])
  })

  it('is bounded: so many may look at a time', async () => {
    await connect('ada', 'any')
    const tails = await Promise.all(Array.from({ length: 100 }, () => tail('ada')))
    const { status, body } = await ask(`${server.url}/api/clients/ada/tail`)
    expect([status, body.error.code]).toEqual([503, 'LIMIT_EXCEEDED'])
    tails[0]!.stop()
    await tails[0]!.ended
  })
})

describe('a tail whose viewer is still there when its client has gone', () => {
  it('is no tail of who has the id next', () => {
    const hub = createHub({ scheduler: new ManualScheduler() })
    const tails = new Tails(hub, hub.heartbeat)
    const look = () => {
      const response = new PassThrough()
      tails.open('ada', response as never, { payload: false, state: () => ({}) })
      return response
    }
    hub.registerClient('ada', new FakeConnection())
    look()
    hub.registerClient('ada', new FakeConnection())
    look()
    expect(tails.viewers).toBe(2)
    // The second watches the second client: nobody else may.
    expect(() => hub.watch('ada', () => {})).toThrow('watched already')
  })
})
