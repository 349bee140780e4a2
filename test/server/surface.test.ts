import { EventSource } from 'eventsource'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { startTestServer, type TestServer } from './test-server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer({
    topics: { 'fixed/json': { contentType: 'application/json', policy: 'latest', allowedPolicies: ['latest'] } },
  })
})
afterAll(() => server.close())

const at = (path: string) => server.url + path
const json = async (path: string, init?: RequestInit) => (await fetch(at(path), init)).json() as Promise<never>
const post = (topic: string, body: string | Uint8Array, headers: Record<string, string> = {}, query = '') =>
  fetch(at(`/topics/${topic}${query}`), { method: 'POST', body: body as string, headers })

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(resolve => setTimeout(resolve, 5))
}

/** Reads a stream until this text has come. */
async function read(response: Response, marker: string): Promise<string> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += decoder.decode(piece, { stream: true })
    if (text.includes(marker)) break
  }
  return text
}

describe('publishing', () => {
  it('takes what curl -d sends for what it looks like', async () => {
    for (const [topic, body, type] of [
      ['guess/json', '{"a":1}', 'application/json'],
      ['guess/text', 'hello', 'text/plain; charset=utf-8'],
      ['guess/bytes', new Uint8Array([0xff, 0xfe]), 'application/octet-stream'],
    ] as const) {
      await post(topic, body, { 'content-type': 'application/x-www-form-urlencoded' })
      expect(server.hub.getTopic(topic)?.contentType).toBe(type)
    }
    await post('guess/said', 'hello', { 'content-type': 'application/vnd.my+json' })
    expect(server.hub.getTopic('guess/said')?.contentType).toBe('application/vnd.my+json')
    await post('fixed/json', '1', { 'content-type': 'application/x-www-form-urlencoded' })
    expect(server.hub.getTopic('fixed/json')?.contentType).toBe('application/json')
  })

  it('splits a live source into lines, whatever the pieces it comes in', async () => {
    const socket = new WebSocket(at('/topics/lines').replace('http', 'ws'))
    const lines: string[] = []
    socket.on('message', (data: Buffer) => lines.push(data.toString()))
    await until(() => server.hub.getTopic('lines')?.subscribers === 1)
    const pieces = ['one\ntw', 'o\r\n', '\nlast']
    const body = new ReadableStream({
      async start(controller) {
        for (const piece of pieces) {
          controller.enqueue(new TextEncoder().encode(piece))
          await new Promise(setImmediate)
        }
        controller.close()
      },
    })
    const answer = await fetch(at('/topics/lines?split=lines'), { method: 'PUT', body, duplex: 'half' } as RequestInit)
    expect(await answer.json()).toEqual({ topic: 'lines', messages: 4, bytes: 10 })
    await until(() => lines.length === 4)
    expect(lines).toEqual(['one', 'two', '', 'last'])
    socket.close()
  })

  it('lets a WebSocket publish where it asked to', async () => {
    const url = at('/topics/talk').replace('http', 'ws')
    const both = new WebSocket(`${url}?role=both`)
    const publisher = new WebSocket(`${url}?role=publisher`)
    const heard: [string, boolean][] = []
    both.on('message', (data: Buffer, binary) => heard.push([data.toString(), binary]))
    publisher.on('message', () => heard.push(['the publisher heard it', false]))
    await until(() => both.readyState === 1 && publisher.readyState === 1)
    both.send('hello')
    await until(() => heard.length === 1)
    publisher.send(Buffer.from('bytes'))
    await until(() => heard.length === 2)
    expect(heard).toEqual([
      ['hello', false],
      ['bytes', true],
    ])
    both.close()
    publisher.close()
  })
})

describe('publishers that go wrong', () => {
  it('a source that goes away leaves what it published, and no trace', async () => {
    const { connect } = await import('node:net')
    const { hostname, port } = new URL(server.url)
    const socket = connect(Number(port), hostname)
    socket.write('PUT /topics/vanished HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n')
    await until(() => server.hub.getTopic('vanished')?.position.seq === 1)
    socket.resetAndDestroy()
    await post('vanished', 'still here')
    expect(server.hub.getTopic('vanished')?.position.seq).toBe(2)
  })

  it('a frame over the limit ends the socket with 1009, at either border', async () => {
    for (const size of [1024 * 1024 + 1, 1024 * 1024 + 70_000]) {
      const socket = new WebSocket(`${at('/topics/big').replace('http', 'ws')}?role=publisher`)
      const closed = new Promise<number>(resolve => socket.on('close', resolve))
      socket.on('open', () => socket.send(Buffer.alloc(size)))
      expect(await closed).toBe(1009)
    }
    expect(server.hub.getTopic('big')).toBeNull()
  })
})

describe('subscribing', () => {
  it('resumes an EventSource from Last-Event-ID, and tells what is gone', async () => {
    for (const text of ['one', 'two', 'three']) await post('resume', text)
    const { epoch } = server.hub.getTopic('resume')!.position
    const get = (id: string) =>
      fetch(at('/topics/resume'), { headers: { accept: 'text/event-stream', 'last-event-id': id } })
    const text = await read(await get(`${epoch}-1`), 'three\n\n')
    expect(text).toContain(`id: ${epoch}-2\ndata: two\n\nid: ${epoch}-3\ndata: three\n\n`)
    expect(text).not.toContain('gap')
    for (const id of ['older0-1', 'nonsense']) {
      expect(await read(await get(id), '}\n\n')).toContain(
        'event: gap\ndata: {"topic":"resume","from":1,"to":3,"count":null,"reason":"epoch"}',
      )
    }
  })

  it('carries several topics on one event stream, each under its own name', async () => {
    const source = new EventSource(at('/events?topic=multi/a&topic=multi/b&topic=multi/bytes'))
    const events: [string, string][] = []
    for (const name of ['/multi/a', '/multi/b', '/multi/bytes;base64']) {
      source.addEventListener(name, event => events.push([name, (event as MessageEvent).data]))
    }
    await until(() => server.hub.getTopic('multi/bytes')?.subscribers === 1)
    await post('multi/a', 'first\nsecond')
    await post('multi/b', '{"n":1}')
    await post('multi/bytes', new Uint8Array([0, 255]))
    await until(() => events.length === 3)
    expect(events).toEqual([
      ['/multi/a', 'first\nsecond'],
      ['/multi/b', '{"n":1}'],
      ['/multi/bytes;base64', 'AP8='],
    ])
    source.close()
  })

  it('makes a live picture of an image topic, and says the type of any other', async () => {
    await post('cam', new Uint8Array([1, 2, 3]), { 'content-type': 'image/png' })
    const picture = await fetch(at('/topics/cam'))
    expect(picture.headers.get('content-type')).toBe('multipart/x-mixed-replace; boundary=hubline-frame')
    await picture.body?.cancel()
    const asked = await fetch(at('/topics/not-yet'), { headers: { accept: 'image/avif,image/webp,*/*;q=0.8' } })
    expect(asked.headers.get('content-type')).toContain('multipart/x-mixed-replace')
    await asked.body?.cancel()
    const plain = await fetch(at('/topics/fixed/json'))
    expect(plain.headers.get('content-type')).toBe('application/json')
    await plain.body?.cancel()
  })

  it('speaks HTTP/1.0 without chunks', async () => {
    const { rawRequest } = await import('./raw-request.ts')
    const answer = rawRequest(server.url, 'GET /topics/old?client=old HTTP/1.0\r\n\r\n')
    await until(() => server.hub.getTopic('old')?.subscribers === 1)
    await post('old', 'bare')
    server.hub.unregisterClient('old', 'denied')
    const { head, body } = await answer
    expect(head.toLowerCase()).not.toContain('transfer-encoding')
    expect(body).toBe('bare')
  })

  it('takes the wish of a subscriber, within what the topic allows', async () => {
    const stream = await fetch(at('/topics/wish?client=wisher&policy={"name":"drop-slow","timeoutMs":99}'))
    expect(stream.headers.get('hubline-client')).toBe('wisher')
    expect(await json('/api/clients/wisher')).toMatchObject({
      subscriptions: [{ policy: { name: 'drop-slow', timeoutMs: 99 } }],
    })
    await stream.body?.cancel()
    const refused = await fetch(at('/topics/fixed/json?policy=best-effort&client=refused'))
    expect(refused.status).toBe(403)
    expect(await refused.json()).toMatchObject({ error: { code: 'POLICY_DENIED' } })
    expect([...server.hub.getActiveClients()].some(({ id }) => id === 'refused')).toBe(false)
  })
})

describe('operating', () => {
  it('sets policies of topics and clients at run time, without a reconnect', async () => {
    const stream = await fetch(at('/topics/live/one?client=kept'))
    const put = (path: string, policy: object) =>
      json(path, { method: 'PUT', body: JSON.stringify(policy), headers: { 'content-type': 'application/json' } })
    expect(await put('/api/topics/live/one/policy', { name: 'drop-slow', timeoutMs: 250 })).toMatchObject({
      timeoutMs: 250,
    })
    expect(await json('/api/topics/live/one/policy')).toMatchObject({ name: 'drop-slow', timeoutMs: 250 })
    expect(await json('/api/topics/live%2Fone/policy')).toMatchObject({ name: 'drop-slow' })
    const policy = async () =>
      ((await json('/api/clients/kept')) as { subscriptions: { policy: { name: string } }[] }).subscriptions[0]!.policy
        .name
    expect(await policy()).toBe('drop-slow')
    await put('/api/clients/kept/policy', { name: 'latest' })
    expect(await policy()).toBe('latest')
    expect((await fetch(at('/api/clients/kept/policy'), { method: 'DELETE' })).status).toBe(204)
    expect((await fetch(at('/api/topics/live/one/policy'), { method: 'DELETE' })).status).toBe(204)
    expect(await policy()).toBe('buffered')
    await stream.body?.cancel()
  })

  it('shows clients, topics, stats, health and metrics', async () => {
    const stream = await fetch(at('/topics/seen?client=watcher'))
    await post('seen', 'x')
    await until(() => server.hub.getSubscription('watcher', 'seen')?.delivered === 1)
    const { clients } = (await json('/api/clients')) as { clients: { id: string }[] }
    expect(clients.find(({ id }) => id === 'watcher')).toMatchObject({
      protocol: 'http-stream',
      address: '127.0.0.1',
      writable: true,
    })
    const { topics } = (await json('/api/topics')) as { topics: { name: string }[] }
    expect(topics.find(({ name }) => name === 'seen')).toMatchObject({ subscribers: 1, published: 1, delivered: 1 })
    expect(await json('/api/topics/seen')).toMatchObject({ name: 'seen', position: { seq: 1 } })
    expect(await json('/api/stats')).toMatchObject({ clientsByProtocol: { 'http-stream': expect.any(Number) } })
    expect(await json('/health/live')).toEqual({ status: 'ok' })
    expect(await json('/health/ready')).toEqual({ status: 'ok' })
    const metrics = await (await fetch(at('/metrics'))).text()
    expect(metrics).toMatch(/^hubline_clients\{protocol="http-stream"\} \d+$/m)
    expect(metrics).toMatch(/^hubline_delivered_total [1-9]\d*$/m)
    expect(metrics).toMatch(/^process_resident_memory_bytes \d+$/m)
    await stream.body?.cancel()
  })
})
