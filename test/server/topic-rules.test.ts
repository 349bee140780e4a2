import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { latest } from '../../src/policies/latest.ts'
import { startTestServer, type TestServer } from './test-server.ts'

let server: TestServer
beforeEach(async () => {
  server = await startTestServer({
    unknownTopics: 'refuse',
    topics: {
      'video/*': { policy: 'latest', presence: true, history: { messages: 3 }, metadata: { unit: 'frames' } },
      orders: { schema: { type: 'object', required: ['id'] } },
      'free/**': {},
    },
  })
})
afterEach(() => server.close())

async function call(method: string, path: string, body?: unknown) {
  const init = body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
  const answer = await fetch(server.url + path, { method, ...init })
  const text = await answer.text()
  return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) }
}
const publish = (topic: string, text: string, type = 'application/json') =>
  fetch(`${server.url}/topics/${topic}`, { method: 'POST', body: text, headers: { 'content-type': type } })

describe('/api/topic-rules', () => {
  it('lists the rules in the form in which they can be set', async () => {
    const { status, body } = await call('GET', '/api/topic-rules')
    expect([status, body.unknownTopics]).toEqual([200, 'refuse'])
    expect(body.rules.map(({ pattern }: { pattern: string }) => pattern)).toEqual(['video/*', 'orders', 'free/**'])
    for (const { pattern, rule } of body.rules) {
      expect((await call('PUT', `/api/topic-rules/${pattern}`, rule)).status).toBe(200)
      expect((await call('GET', `/api/topic-rules/${pattern}`)).body.rule).toEqual(rule)
    }
  })

  it('takes the pattern as it is, or percent-encoded in any part', async () => {
    for (const path of ['video/*', 'video%2F*', 'video%2f%2A', '/video/%2A', '%76ideo/*']) {
      expect((await call('GET', `/api/topic-rules/${path}`)).body.pattern).toBe('video/*')
    }
    expect((await call('GET', '/api/topic-rules/free/**')).body.pattern).toBe('free/**')
  })

  it('changes topics in use at once, and says which they are', async () => {
    await publish('video/main', 'x', 'text/plain')
    await publish('video/side', 'x', 'text/plain')
    await publish('free/a', 'x', 'text/plain')
    const made = await call('PUT', '/api/topic-rules/video/main', { maxMessageBytes: 2 })
    expect(made).toMatchObject({ status: 201, body: { pattern: 'video/main', matched: 1, topics: ['video/main'] } })
    expect((await publish('video/main', 'xxx', 'text/plain')).status).toBe(413)
    const changed = await call('PUT', '/api/topic-rules/video/*', { maxMessageBytes: 1 })
    expect(changed).toMatchObject({
      status: 200,
      body: { matched: 1, topics: ['video/side'], rule: { maxMessageBytes: 1 } },
    })
    expect((await publish('video/side', 'xx', 'text/plain')).status).toBe(413)
    expect((await publish('video/main', 'xx', 'text/plain')).status).toBe(202)
    expect((await call('DELETE', '/api/topic-rules/video/main')).status).toBe(204)
    expect((await publish('video/main', 'xx', 'text/plain')).status).toBe(413)
    expect((await call('DELETE', '/api/topic-rules/video/main')).status).toBe(404)
  })

  it.each([
    [{ polcy: 'latest' }, 'unknown key "polcy": did you mean "policy"?'],
    [{ history: { mesages: 1 } }, 'unknown key "history.mesages": did you mean "history.messages"?'],
    [{ publishRate: { byte: 1 } }, 'unknown key "publishRate.byte": did you mean "publishRate.bytes"?'],
    [{ publishRate: {} }, 'publishRate: give messages, bytes or both'],
    [{ policy: 'newest' }, 'policy: unknown name "newest": did you mean "latest"?'],
    [{ policy: { name: 'drop-slow', timeout: 1 } }, 'policy: unknown option "timeout": did you mean "timeoutMs"?'],
    [{ schema: { type: 'objekt' } }, 'schema: /type must be equal to one of the allowed values'],
    [{ schema: {}, contentType: 'text/plain' }, 'schema: it is for JSON, and contentType says text/plain'],
    [{ maxMessageBytes: 0 }, 'maxMessageBytes must be at least 1, got 0'],
    [{ preamble: '%%' }, 'preamble: '],
    [[], 'body must be an object, got an array'],
  ])('refuses %j with 400', async (rule, sentence) => {
    const { status, body } = await call('PUT', '/api/topic-rules/video/*', rule)
    expect([status, body.error.code]).toEqual([400, 'REQUEST_INVALID'])
    expect(body.error.message).toContain(sentence)
    expect((await call('GET', '/api/topic-rules/video/*')).body.rule.presence).toBe(true)
  })

  it('refuses what is no pattern, what nests too deep, and what nobody has', async () => {
    for (const path of ['video/**/hd', 'a*', '%00', '%2e%2e%2f', 'a/*/*/*/*/*/*/*/*', '%zz', '']) {
      const { status, body } = await call('PUT', `/api/topic-rules/${path}`, {})
      expect([path, status, body.error.code]).toEqual([
        path,
        400,
        expect.stringMatching(/TOPIC_INVALID|REQUEST_INVALID/),
      ])
    }
    const deep = `{"metadata":${'{"a":'.repeat(40)}1${'}'.repeat(40)}}`
    const answer = await fetch(`${server.url}/api/topic-rules/x`, {
      method: 'PUT',
      body: deep,
      headers: { 'content-type': 'application/json' },
    })
    expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining('deeper than 32 levels')])
    expect((await call('GET', '/api/topic-rules/nobody/*')).body.error.code).toBe('NOT_FOUND')
  })

  it('says of a rule from code what JSON cannot have', async () => {
    const other = await startTestServer(
      {},
      { topics: { a: { policy: latest(), check: () => undefined, preamble: new Uint8Array([1, 2]) } } },
    )
    const answer = await fetch(`${other.url}/api/topic-rules/a`)
    expect(((await answer.json()) as { rule: unknown }).rule).toEqual({
      policy: { name: 'latest' },
      preamble: 'AQI=',
      checkedInCode: true,
    })
    await other.close()
  })
})

describe('what a topic is like', () => {
  it('is told of topics that nobody has used, where there may be such', async () => {
    expect(await call('GET', '/api/topics/video/main')).toMatchObject({
      status: 200,
      body: {
        name: 'video/main',
        used: false,
        spec: {
          ...{ rule: 'video/*', policy: { name: 'latest' }, history: { messages: 3, bytes: 262_144, ageMs: 60_000 } },
          ...{ presence: true, metadata: { unit: 'frames' }, wildcards: true, publish: 'anyone', checked: false },
        },
      },
    })
    await publish('free/a', 'x', 'text/plain')
    expect((await call('GET', '/api/topics/free/a')).body).toMatchObject({
      used: true,
      published: 1,
      spec: { rule: 'free/**' },
    })
    expect(await call('GET', '/api/topics/else')).toMatchObject({
      status: 404,
      body: { error: { code: 'TOPIC_UNKNOWN' } },
    })
  })

  it('clients may read what is for them, with ?describe, and no more', async () => {
    expect(await call('GET', '/topics/orders?describe')).toEqual({
      status: 200,
      body: {
        topic: 'orders',
        contentType: 'application/json',
        schema: { type: 'object', required: ['id'] },
        history: { messages: 256, bytes: 262_144, ageMs: 60_000 },
        maxMessageBytes: 1_048_576,
        presence: false,
        publisher: false,
      },
    })
    expect((await call('GET', '/topics/video/main?describe=1')).body.metadata).toEqual({ unit: 'frames' })
    expect((await call('GET', '/topics/else?describe')).body.error.code).toBe('TOPIC_UNKNOWN')
    expect(server.hub.getConnectionStats().clients).toBe(0)
  })

  it('a message that its schema does not take is 422, with the place', async () => {
    const refused = await publish('orders', '{"nr":1}')
    expect([refused.status, ((await refused.json()) as { error: unknown }).error]).toEqual([
      422,
      { code: 'SCHEMA_MISMATCH', message: expect.stringContaining("payload: must have required property 'id'") },
    ])
    expect((await publish('orders', 'id', 'text/plain')).status).toBe(422)
    expect((await publish('orders', '{"id":1}')).status).toBe(202)
    const source = await fetch(`${server.url}/topics/orders?split=lines`, {
      method: 'PUT',
      body: '{"id":2}\n{"nr":2}\n{"id":3}\n',
      headers: { 'content-type': 'application/json' },
    })
    expect([source.status, server.hub.getTopic('orders')?.published]).toEqual([422, 2])
  })

  it('a publisher on a WebSocket, which has no answers, is closed', async () => {
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/topics/orders?role=publisher`)
    await once(socket, 'open')
    socket.send('{"ä\\n":1}')
    const [code] = await once(socket, 'close')
    expect(code).toBe(4400)
  })

  it('is nothing that a WebSocket could be told', async () => {
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/topics/orders?describe`)
    const [error] = await once(socket, 'error')
    expect(error.message).toMatch(/400/)
  })
})
