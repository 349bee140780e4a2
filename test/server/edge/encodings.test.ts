import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ask } from '../http.ts'
import { rawRequest } from '../raw-request.ts'
import { startTestServer, type TestServer } from '../test-server.ts'

const MAX = 100_000
let server: TestServer
beforeAll(async () => {
  server = await startTestServer({ maxMessageBytes: MAX })
})
afterAll(() => server.close())

const send = (method: string, path: string, body: Uint8Array, headers: Record<string, string>) =>
  ask(server.url + path, { method, body: body as Uint8Array<ArrayBuffer>, headers })
const kept = async (topic: string) => (await ask(`${server.url}/topics/${topic}?history`)).body.messages

describe('a body with a content coding', () => {
  it.each([
    ['gzip', gzipSync],
    ['x-gzip', gzipSync],
    ['GZip', gzipSync],
    ['deflate', deflateSync],
    ['br', brotliCompressSync],
  ])('is decoded: %s', async (coding, encode) => {
    const topic = `coded-${coding}`
    const headers = { 'content-encoding': coding, 'content-type': 'application/json' }
    expect((await send('POST', `/topics/${topic}`, encode('{"a": 1}'), headers)).status).toBe(202)
    expect(await kept(topic)).toMatchObject([{ contentType: 'application/json', text: '{"a": 1}' }])
    const batch = JSON.stringify({ publications: [{ topic: `${topic}-2`, text: 'x' }] })
    expect((await send('POST', '/api/publish', encode(batch), headers)).body).toMatchObject({ published: 1 })
  })

  it('identity is none', async () => {
    const headers = { 'content-encoding': 'identity', 'content-type': 'text/plain' }
    expect((await send('POST', '/topics/plain', Buffer.from('x'), headers)).status).toBe(202)
  })

  it('is bounded by its decoded size: 100 MB of zeros are 413 and do not become a message', async () => {
    for (const bomb of [gzipSync(Buffer.alloc(100_000_000)), gzipSync(Buffer.alloc(MAX + 1))]) {
      const answer = await send('POST', '/topics/bomb', bomb, { 'content-encoding': 'gzip' })
      expect([answer.status, answer.body.error.code]).toEqual([413, 'MESSAGE_TOO_LARGE'])
    }
    expect(
      (await send('POST', '/topics/fits', gzipSync(Buffer.alloc(MAX)), { 'content-encoding': 'gzip' })).status,
    ).toBe(202)
    expect(server.hub.getTopic('bomb')?.published ?? 0).toBe(0)
  })

  it.each(['zstd', 'gzip, gzip', 'compress', 'constructor', 'x'])(
    'of another kind is 415, with what is taken: %s',
    async coding => {
      const { status, headers, body } = await send('POST', '/topics/other', Buffer.from('x'), {
        'content-encoding': coding,
      })
      expect([status, body.error.code]).toEqual([415, 'UNSUPPORTED_PAYLOAD'])
      expect(headers.get('accept-encoding')).toBe('gzip, deflate, br')
      expect(body.error.message).toContain('gzip')
    },
  )

  it('of a live source is 415', async () => {
    const { status, headers } = await send('PUT', '/topics/live', gzipSync('a\nb\n'), { 'content-encoding': 'gzip' })
    expect([status, headers.get('accept-encoding')]).toEqual([415, 'identity'])
    expect(server.hub.getTopic('live')?.published ?? 0).toBe(0)
  })

  it('that is no such thing, or ends too soon, is 400', async () => {
    for (const body of [Buffer.from('plain'), gzipSync('hello hello').subarray(0, 15)]) {
      const answer = await send('POST', '/topics/broken', body, { 'content-encoding': 'gzip' })
      expect([answer.status, answer.body.error.code]).toEqual([400, 'REQUEST_INVALID'])
      expect(answer.body.error.message).toContain('content-encoding')
    }
  })
})

describe('forms', () => {
  it('of parts are 415, and the answer says what to send', async () => {
    const form = new FormData()
    form.append('file', new Blob(['x']), 'x.txt')
    for (const [method, path] of [
      ['POST', '/topics/form'],
      ['PUT', '/topics/form'],
      ['POST', '/api/clients/x/send'],
    ] as const) {
      const { status, body } = await ask(server.url + path, { method, body: form })
      expect([status, body.error.code]).toEqual([415, 'UNSUPPORTED_PAYLOAD'])
      expect(body.error.message).toContain('--data-binary')
    }
  })

  it('as curl -d sends them are the message itself; the API takes JSON and says so', async () => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    expect((await send('POST', '/topics/curl', Buffer.from('a=1&b=2'), headers)).status).toBe(202)
    expect(await kept('curl')).toMatchObject([{ text: 'a=1&b=2' }])
    const { status, body } = await send('POST', '/api/publish', Buffer.from('topic=a'), headers)
    expect([status, body.error.message]).toEqual([415, expect.stringContaining('content-type: application/json')])
  })
})

describe('content types', () => {
  it.each(['text', '', 'x'.repeat(12_000)])('that are none say so: %.10s', async type => {
    const request = `POST /topics/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: ${type}\r\nContent-Length: 1\r\n\r\nx`
    const { status, body } = await rawRequest(server.url, request)
    expect([status, JSON.parse(body).error.message]).toEqual([415, expect.stringContaining('is no media type')])
    expect(body.length).toBeLessThan(300)
  })

  it.each(['Application/JSON', 'application/json;CHARSET=utf-8', 'APPLICATION/JSON; charset=UTF-8'])(
    'are of any case: %s',
    async type => {
      const batch = Buffer.from(JSON.stringify({ publications: [{ topic: 'case', text: 'x' }] }))
      expect((await send('POST', '/api/publish', batch, { 'content-type': type })).status).toBe(200)
    },
  )

  it.each(['Text/Event-Stream', 'TEXT/EVENT-STREAM, */*'])('in Accept are of any case: %s', async accept => {
    const aborted = new AbortController()
    const { headers } = await fetch(`${server.url}/topics/a`, { headers: { accept }, signal: aborted.signal })
    expect(headers.get('content-type')).toContain('text/event-stream')
    aborted.abort()
  })
})
