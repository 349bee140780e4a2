import { connect } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { httpReceiver, type Receiver } from '../transports/receiver.ts'
import { ask, askJson, type Listener, listen, until } from './http.ts'
import { startTestServer, type TestServer } from './test-server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer({ callbacks: { allow: ['127.0.0.1'] } })
})
afterAll(() => server.close())

const listeners: Listener[] = []
const receivers: Receiver[] = []
afterEach(async () => {
  for (const { webSocket } of listeners.splice(0)) webSocket.terminate()
  for (const receiver of receivers.splice(0)) await receiver[Symbol.asyncDispose]()
  for (const { id } of [...server.hub.getActiveClients()]) server.hub.unregisterClient(id)
})

async function open(client: string, topic?: string): Promise<Listener> {
  const listener = await listen(server.url, client, topic)
  listeners.push(listener)
  return listener
}

/** A client that is a URL, and what it answers. */
async function receive(id: string, ...[answer]: Parameters<typeof httpReceiver>): Promise<Receiver> {
  const receiver = await httpReceiver(answer)
  receivers.push(receiver)
  await askJson(`${server.url}/api/clients`, { id, url: receiver.url.href })
  return receiver
}

const send = (path: string, body: string | Uint8Array, headers: Record<string, string> = {}) =>
  ask(`${server.url}/api/clients/${path}`, { method: 'POST', body: body as string, headers })
const broadcast = (body: unknown) => askJson(`${server.url}/api/broadcast`, body)

describe('POST /api/clients/{id}/send', () => {
  it('sends the body as it is, of any type, and says what became of it', async () => {
    const { heard } = await open('one')
    expect(await send('one/send', '{"n":1}', { 'content-type': 'application/json' })).toMatchObject({
      status: 200,
      body: { id: expect.stringMatching(/^[0-9a-f-]{36}$/), confirmed: false, ms: expect.any(Number) },
    })
    await send('one/send', 'plain words', { 'content-type': 'text/plain' })
    await send('one/send', Buffer.of(0xff, 0), { 'content-type': 'application/octet-stream' })
    await send('one/send', 'a=b', { 'content-type': 'application/x-www-form-urlencoded' })
    await until(() => heard.length === 4)
    expect(heard).toEqual(['{"n":1}', 'plain words', Buffer.of(0xff, 0), 'a=b'])
  })

  it('waits until the peer has it, where asked to', async () => {
    await open('one')
    expect((await send('one/send?confirm=true', 'x')).body).toMatchObject({ confirmed: true })
    expect((await send('one/send?confirm=false', 'x')).body).toMatchObject({ confirmed: false })
  })

  it('gives the message the id of the query or of the header, and its correlation id, to the receiver and in the answer', async () => {
    const receiver = await receive('hook', response => response.end())
    const first = await send('hook/send?id=key-1', 'x', { 'x-correlation-id': 'order-7', 'content-type': 'text/csv' })
    expect([first.status, first.body, first.headers.get('x-correlation-id')]).toEqual([
      200,
      { id: 'key-1', confirmed: true, ms: expect.any(Number) },
      'order-7',
    ])
    const second = await send('hook/send', 'y', { 'idempotency-key': 'key-2' })
    expect(
      receiver.requests.map(({ headers, body }) => [headers['idempotency-key'], headers['content-type'], `${body}`]),
    ).toEqual([
      ['key-1', 'text/csv', 'x'],
      ['key-2', 'text/plain;charset=UTF-8', 'y'],
    ])
    // Nobody named the second one, so it is the request's own id, which the caller is told.
    const [, { headers }] = receiver.requests as [unknown, { headers: Record<string, string> }]
    expect(headers['x-correlation-id']).toMatch(/^[0-9a-f]{16}-[0-9a-z]+$/)
    expect(second.headers.get('x-correlation-id')).toBe(headers['x-correlation-id'])
    expect((await send('hook/send?id=a', 'z', { 'idempotency-key': 'b' })).body.error).toMatchObject({
      code: 'REQUEST_INVALID',
    })
    expect((await send('hook/send?id=a', 'z', { 'idempotency-key': 'a' })).status).toBe(200)
  })

  it.each([
    ['nobody/send', {}, 404, 'CONNECTION_NOT_FOUND'],
    ['one/send?id=', {}, 400, 'REQUEST_INVALID'],
    [`one/send?id=${'k'.repeat(256)}`, {}, 400, 'REQUEST_INVALID'],
    ['one/send?id=%0a', {}, 400, 'REQUEST_INVALID'],
    ['one/send?confirm=yes', {}, 400, 'REQUEST_INVALID'],
    ['one/send?timeoutMs=0', {}, 400, 'REQUEST_INVALID'],
    ['one/send?timeoutMs=', {}, 400, 'REQUEST_INVALID'],
    ['one/send?timeoutMs=1e99', {}, 400, 'REQUEST_INVALID'],
    ['one/send?timeout=5', {}, 400, 'REQUEST_INVALID'],
    ['one/send', { 'x-correlation-id': 'two words' }, 400, 'REQUEST_INVALID'],
    ['one/send', { 'idempotency-key': 'é' }, 400, 'REQUEST_INVALID'],
    ['%00/send', {}, 404, 'CONNECTION_NOT_FOUND'],
    [`${'x'.repeat(128)}/send`, {}, 404, 'CONNECTION_NOT_FOUND'],
    [`${'x'.repeat(5000)}/send`, {}, 400, 'REQUEST_INVALID'],
  ])('refuses %s %j with %i %s', async (path, headers, status, code) => {
    await open('one')
    const answer = await send(path, 'x', headers)
    expect([answer.status, answer.body.error.code]).toEqual([status, code])
  })

  it('reaches a client whose id is escaped in the path, and one whose id is as long as it may be', async () => {
    const ids = ['a@b:c', 'x'.repeat(128), `@${':'.repeat(127)}`]
    for (const id of ids) {
      const { heard } = await open(encodeURIComponent(id))
      expect((await send(`${encodeURIComponent(id)}/send`, id)).status).toBe(200)
      await until(() => heard.length === 1)
    }
  })

  it('refuses what is too large, and what the protocol cannot carry', async () => {
    await open('one')
    const { status, body } = await send('one/send', 'x'.repeat(1024 * 1024 + 1))
    expect([status, body.error.code, body.error.message]).toEqual([
      413,
      'MESSAGE_TOO_LARGE',
      expect.stringContaining('1048576'),
    ])
    const peer = new WebSocket(`${server.url.replace('http', 'ws')}/connection/websocket?client=json`)
    peer.onopen = () => peer.send('{"id":1,"connect":{}}')
    await until(() => server.hub.getConnectionStats().clientsByProtocol.centrifuge === 1)
    expect((await send('json/send', 'no json', { 'content-type': 'text/plain' })).status).toBe(415)
    peer.close()
  })

  it('tells why a client that is a URL did not get it', async () => {
    await receive('refuses', response => response.writeHead(400).end())
    await receive('gone', response => response.writeHead(410).end())
    await receive('hangs', () => {})
    expect((await send('refuses/send', 'x')).status).toBe(502)
    const gone = await send('gone/send', 'x')
    expect([gone.status, gone.body.error.code]).toEqual([410, 'CONNECTION_STALE'])
    expect((await send('gone/send', 'x')).status).toBe(404)
    const late = await send('hangs/send?timeoutMs=50', 'x')
    expect([late.status, late.body.error]).toEqual([
      504,
      { code: 'SEND_TIMEOUT', message: expect.stringContaining('50 ms') },
    ])
  })

  it('says 410 of a socket that goes before it has confirmed', async () => {
    const { webSocket } = await open('one')
    webSocket.pause()
    const sent = send('one/send?confirm=true', 'x')
    await until(() => server.hub.getMetrics().operations.send.active === 1)
    webSocket.terminate()
    const { status, body } = await sent
    expect([status, body.error.code]).toEqual([410, 'CONNECTION_STALE'])
  })

  it('gives up what nobody waits for any more', async () => {
    const hanging = await receive('hangs', () => {})
    const caller = new AbortController()
    const url = `${server.url}/api/clients/hangs/send`
    const sent = fetch(url, { method: 'POST', body: 'x', signal: caller.signal })
    const hook = await hanging.connected()
    caller.abort()
    await expect(sent).rejects.toThrow()
    // Its own request to the receiver has ended too, long before any time limit.
    await new Promise<void>(resolve => hook.once('close', () => resolve()))
    await until(() => server.hub.getMetrics().operations.send.active === 0)
    expect(server.hub.getMetrics().operations.send.errors.SEND_ABORTED).toBe(1)
  })

  it('lives through a caller that ends in the middle of its body', async () => {
    await open('one')
    const { hostname, port } = new URL(server.url)
    const socket = connect(Number(port), hostname)
    socket.write('POST /api/clients/one/send HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf')
    await new Promise<void>(resolve => socket.once('connect', () => resolve()))
    socket.resetAndDestroy()
    expect((await send('one/send', 'whole')).status).toBe(200)
  })
})

describe('POST /api/broadcast', () => {
  it('sends JSON, text or bytes to the clients that are named, once each, and tells what came of it at each', async () => {
    const [a, b] = [await open('a'), await open('b')]
    const answer = await broadcast({ clients: ['a', 'b', 'a'], data: { n: 1 }, confirm: true, id: 'bulk-1' })
    expect([answer.status, answer.body]).toEqual([
      200,
      {
        id: 'bulk-1',
        sent: 2,
        failed: 0,
        results: ['a', 'b'].map(clientId => ({ clientId, ok: true, confirmed: true, ms: expect.any(Number) })),
      },
    ])
    await broadcast({ clients: ['a'], data: 'a string' })
    await broadcast({ clients: ['a'], data: null })
    await broadcast({ clients: ['a'], text: 'words' })
    await broadcast({ clients: ['a'], base64: Buffer.of(0xff, 1).toString('base64') })
    await until(() => a.heard.length === 5)
    expect(a.heard).toEqual(['{"n":1}', '"a string"', 'null', 'words', Buffer.of(0xff, 1)])
    expect(b.heard).toEqual(['{"n":1}'])
  })

  it('goes on after failures and answers 207 with each of them', async () => {
    const { heard } = await open('there')
    await receive('refuses', response => response.writeHead(400).end())
    const { status, body } = await broadcast({ clients: ['nobody', 'there', 'refuses'], text: 'x' })
    expect([status, body]).toEqual([
      207,
      {
        error: { code: 'BROADCAST_PARTIAL_FAILURE', message: expect.stringContaining('2 of 3') },
        id: expect.any(String),
        sent: 1,
        failed: 2,
        results: [
          { clientId: 'nobody', ok: false, error: { code: 'CONNECTION_NOT_FOUND', message: expect.any(String) } },
          { clientId: 'there', ok: true, confirmed: false, ms: expect.any(Number) },
          { clientId: 'refuses', ok: false, error: { code: 'SEND_FAILED', message: expect.stringContaining('400') } },
        ],
      },
    ])
    await until(() => heard.length === 1)
  })

  it('sends to whoever has something in common', async () => {
    const [a, b, c] = [await open('a', 'left'), await open('b', 'left'), await open('c', 'right')]
    expect((await broadcast({ filter: { topic: 'left', except: ['b'] }, text: 'to a' })).body).toMatchObject({
      sent: 1,
    })
    expect((await broadcast({ filter: { protocol: 'websocket' }, text: 'to all' })).body).toMatchObject({ sent: 3 })
    expect((await broadcast({ filter: { all: true }, text: 'to everybody' })).body).toMatchObject({ sent: 3 })
    expect((await broadcast({ filter: { user: 'nobody' }, text: 'x' })).body).toMatchObject({ sent: 0, results: [] })
    await until(() => c.heard.length === 2)
    expect([a.heard, b.heard, c.heard]).toEqual([
      ['to a', 'to all', 'to everybody'],
      ['to all', 'to everybody'],
      ['to all', 'to everybody'],
    ])
  })

  it('a receiver that hangs delays no other, and its own time ends it', async () => {
    await receive('hangs', () => {})
    const { heard } = await open('quick')
    const answered = broadcast({ clients: ['hangs', 'quick'], text: 'x', timeoutMs: 300 })
    await until(() => heard.length === 1)
    expect((await answered).body.results).toMatchObject([{ error: { code: 'SEND_TIMEOUT' } }, { ok: true }])
  })

  it('ends with its caller', async () => {
    const hanging = await receive('hangs', () => {})
    const caller = new AbortController()
    const sent = fetch(`${server.url}/api/broadcast`, {
      method: 'POST',
      body: '{"clients":["hangs"],"text":"x"}',
      headers: { 'content-type': 'application/json' },
      signal: caller.signal,
    })
    const hook = await hanging.connected()
    caller.abort()
    await expect(sent).rejects.toThrow()
    await new Promise<void>(resolve => hook.once('close', () => resolve()))
    await until(() => server.hub.getMetrics().operations.broadcast.active === 0)
  })

  const ids = (count: number) => Array.from({ length: count }, (_, i) => `client-${i}`)
  it.each<[string, unknown, RegExp]>([
    ['nobody', { text: 'x' }, /clients/],
    ['two ways to say who', { clients: [], filter: { all: true }, text: 'x' }, /clients/],
    ['nothing to send', { clients: ['a'] }, /data/],
    ['two things to send', { clients: ['a'], text: 'x', data: null }, /data/],
    ['an id that is none', { clients: [5], text: 'x' }, /clients\.0/],
    ['more ids than there may be', { clients: ids(10_001), text: 'x' }, /clients: .*10000/],
    ['what is not base64', { clients: ['a'], base64: '*' }, /base64/],
    ['a topic that is none', { filter: { topic: '..' }, text: 'x' }, /topic/],
    ['an unknown filter', { filter: { tpoic: 'a' }, text: 'x' }, /tpoic/],
    ['an unknown key', { clients: ['a'], txt: 'x' }, /txt/],
    ['no concurrency', { clients: ['a'], text: 'x', concurrency: 0 }, /concurrency/],
    ['a time beyond all bounds', { clients: ['a'], text: 'x', timeoutMs: 1e12 }, /timeoutMs/],
    ['a content type that no head can carry', { clients: ['a'], text: 'x', contentType: 'a\nb' }, /contentType/],
    ['a list', [], /object/],
    ['nothing', null, /object/],
  ])('refuses %s with 400, naming it', async (_what, body, message) => {
    const answer = await broadcast(body)
    expect(answer.status).toBe(400)
    expect(answer.body.error.message).toMatch(message)
  })

  it('lists, of more clients than one request may name, only those that failed', async () => {
    for (let i = 0; i < 10_001; i++) {
      const connection = new FakeConnection()
      connection.client = server.hub.registerClient(`fake-${i}`, connection)
    }
    await receive('refuses', response => response.writeHead(400).end())
    const { status, body } = await broadcast({ filter: { all: true }, text: 'x' })
    expect([status, body.sent, body.failed, body.results]).toEqual([
      207,
      10_001,
      1,
      [{ clientId: 'refuses', ok: false, error: expect.objectContaining({ code: 'SEND_FAILED' }) }],
    ])
  })

  it('takes as many ids as there may be, of the longest', async () => {
    const clients = ids(10_000).map(id => id.padEnd(128, 'x'))
    const { status, body } = await broadcast({ clients, text: 'x' })
    expect([status, body.failed, body.results.length]).toEqual([207, 10_000, 10_000])
  })

  it('refuses JSON that cannot be written again, and a message that is too large, before anything is sent', async () => {
    const { heard } = await open('a')
    const nested = `{"clients":["a"],"data":${'['.repeat(200_000)}${']'.repeat(200_000)}}`
    const headers = { 'content-type': 'application/json' }
    const deep = await ask(`${server.url}/api/broadcast`, { method: 'POST', body: nested, headers })
    expect([deep.status, deep.body.error.message]).toEqual([400, 'body: JSON nests at most 256 levels here'])
    const large = await broadcast({ clients: ['a'], text: 'x'.repeat(1024 * 1024 + 1) })
    expect([large.status, large.body.error.code]).toEqual([413, 'MESSAGE_TOO_LARGE'])
    const huge = await broadcast({ clients: ['a'], text: 'x'.repeat(9 * 1024 * 1024) })
    expect([huge.status, huge.body.error.message]).toEqual([413, expect.stringContaining('8388608')])
    expect(heard).toEqual([])
  })

  it('holds the message to the limit of the configuration, whatever form it comes in', async () => {
    const small = await startTestServer({ maxMessageBytes: 1000 })
    const base64 = Buffer.alloc(1001).toString('base64')
    for (const message of [{ text: 'x'.repeat(1001) }, { base64 }, { data: 'x'.repeat(999) }]) {
      const { status, body } = await askJson(`${small.url}/api/broadcast`, { clients: ['a'], ...message })
      expect([status, body.error]).toEqual([
        413,
        { code: 'MESSAGE_TOO_LARGE', message: expect.stringContaining('1000') },
      ])
    }
    const most = await askJson(`${small.url}/api/broadcast`, {
      filter: { all: true },
      base64: Buffer.alloc(1000).toString('base64'),
    })
    expect(most.status).toBe(200)
    await small.close()
  })

  it('takes JSON only: a text could come from a form on any page', async () => {
    const body = '{"clients":["a"],"text":"x"}'
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x']) {
      const answer = await ask(`${server.url}/api/broadcast`, {
        method: 'POST',
        body,
        headers: { 'content-type': type },
      })
      expect([type, answer.status]).toEqual([type, 415])
    }
  })
})
