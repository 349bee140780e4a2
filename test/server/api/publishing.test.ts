import { connect } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Idempotency } from '../../../src/server/api/idempotency.ts'
import { ManualScheduler } from '../../../src/testing/index.ts'
import { ask, type Listener, listen, until } from '../http.ts'
import { startTestServer, type TestServer } from '../test-server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer({
    maxMessageBytes: 1000,
    topics: { typed: { contentType: 'application/vnd.own+json' } },
  })
})
afterAll(() => server.close())

const open: Listener[] = []
afterEach(() => {
  for (const { webSocket } of open.splice(0)) webSocket.terminate()
})
async function hear(topic: string): Promise<(string | Buffer)[]> {
  const listener = await listen(server.url, `reader-of-${topic.replaceAll('/', '-')}`, topic)
  open.push(listener)
  return listener.heard
}
const publish = (publications: unknown, headers: Record<string, string> = {}) =>
  ask(`${server.url}/api/publish`, {
    method: 'POST',
    body: JSON.stringify({ publications }),
    headers: { 'content-type': 'application/json', ...headers },
  })
const published = () => server.hub.getConnectionStats().published

describe('POST /api/publish', () => {
  it('publishes in order, as JSON, text and bytes', async () => {
    const heard = await hear('batch/one')
    const { status, body } = await publish([
      { topic: '/batch/one', data: { n: 1 }, key: 'k' },
      { topic: 'batch/one', data: 'a string' },
      { topic: 'batch/one', text: 'text', contentType: 'text/csv' },
      { topic: 'batch/one', base64: '/wA=' },
      { topic: 'typed', data: null },
    ])
    expect([status, body]).toEqual([
      200,
      {
        published: 5,
        failed: 0,
        results: [
          ...[1, 2, 3, 4].map(seq => ({
            topic: 'batch/one',
            epoch: expect.any(String),
            seq,
            matched: 1,
            behind: 0,
            unsupported: 0,
          })),
          { topic: 'typed', epoch: expect.any(String), seq: 1, matched: 0, behind: 0, unsupported: 0 },
        ],
      },
    ])
    await until(() => heard.length === 4)
    expect(heard).toEqual(['{"n":1}', '"a string"', 'text', Buffer.from([255, 0])])
    expect(server.hub.getTopic('typed')?.contentType).toBe('application/vnd.own+json')
  })

  it.each([
    [{ data: { n: 1 } }, 'application/json'],
    [{ text: '{"n":1}' }, 'text/plain; charset=utf-8'],
    [{ base64: btoa('{"n":1}') }, 'application/octet-stream'],
  ])('takes the content type of %j from its member, whatever the bytes look like', async (message, type) => {
    await publish([{ topic: 'types', ...message }])
    expect(server.hub.getTopic('types')?.contentType).toBe(type)
  })

  it('G9: publishes none where one is wrong, and tells each of these by its index', async () => {
    const before = published()
    const good = { topic: 'fine', text: 'x' }
    const { status, body } = await publish([
      good,
      { topic: 'a//b', text: 'x' },
      good,
      { topic: 'fine', text: 'x'.repeat(1001) },
    ])
    expect([status, body]).toEqual([
      400,
      {
        error: {
          code: 'TOPIC_INVALID',
          message: expect.stringMatching(/^publications\.1: topic: .*; nothing was published$/),
        },
        faults: [
          { index: 1, error: { code: 'TOPIC_INVALID', message: expect.any(String) } },
          { index: 3, error: { code: 'MESSAGE_TOO_LARGE', message: expect.stringContaining('1001 bytes') } },
        ],
      },
    ])
    expect((await publish([good, { topic: 'fine', base64: Buffer.alloc(1001).toString('base64') }])).status).toBe(413)
    expect(published()).toBe(before)
  })

  it('tells what was refused when its turn came, and takes it again under its key if that was all', async () => {
    const small = await startTestServer({ limits: { maxTopics: 2 } })
    const send = (topics: string[], key: string) =>
      ask(`${small.url}/api/publish`, {
        method: 'POST',
        body: JSON.stringify({ publications: topics.map(topic => ({ topic, text: 'x' })) }),
        headers: { 'content-type': 'application/json', 'idempotency-key': key },
      })
    const refused = { topic: 'c', error: { code: 'LIMIT_EXCEEDED', message: expect.stringContaining('2') } }
    for (let time = 0; time < 2; time++) {
      const { status, body } = await send(['a', 'b', 'c'], 'some')
      expect([status, body]).toEqual([
        207,
        {
          published: 2,
          failed: 1,
          results: [...['a', 'b'].map(topic => expect.objectContaining({ topic, seq: 1 })), refused],
        },
      ])
    }
    expect((await send(['c'], 'none')).body).toEqual({ published: 0, failed: 1, results: [refused] })
    small.hub.setLimits({ maxTopics: 3 })
    expect((await send(['c'], 'none')).body).toMatchObject({ published: 1, failed: 0 })
    await small.close()
  })

  it.each<[string, unknown, number, RegExp]>([
    ['nothing', [], 400, /^publications must have at least 1 entries, got 0$/],
    ['more than 1,000', Array(1001).fill({ topic: 'a', text: '' }), 400, /at most 1000 publications/],
    ['100,000', Array(100_000).fill({ topic: 'a', text: '' }), 400, /at most 100000 values/],
    [
      'an unknown key',
      [{ topic: 'a', txt: 'x' }],
      400,
      /^unknown key "publications\.0\.txt": did you mean "publications\.0\.text"\?$/,
    ],
    ['no message', [{ topic: 'a' }], 400, /^publications\.0\.data: say what, once/],
    ['two messages', [{ topic: 'a', text: 'x', data: 1 }], 400, /^publications\.0\.data: say what, once/],
    ['what is not base64', [{ topic: 'a', base64: '%' }], 400, /^publications\.0\.base64: it is not base64$/],
    ['no topic', [{ text: 'x' }], 400, /^publications\.0\.topic: it is missing$/],
    ['a topic that is none', [{ topic: 5, text: 'x' }], 400, /^publications\.0\.topic must be a string, got a number$/],
    ['no list', { topic: 'a' }, 400, /^publications must be an array, got an object$/],
  ])('refuses %s', async (_what, publications, status, sentence) => {
    const answer = await publish(publications)
    expect([answer.status, answer.body.error.message]).toEqual([status, expect.stringMatching(sentence)])
  })

  it('refuses a body over its limit with 413, and what cannot be written with 400', async () => {
    const large = await publish([{ topic: 'a', text: 'x'.repeat(8 * 1024 * 1024) }])
    expect([large.status, large.body.error.message]).toEqual([413, expect.stringContaining('8388608')])
    const deep = `{"publications":[{"topic":"a","data":${'['.repeat(30_000)}${']'.repeat(30_000)}}]}`
    const answer = await ask(`${server.url}/api/publish`, {
      method: 'POST',
      body: deep,
      headers: { 'content-type': 'application/json' },
    })
    expect([answer.status, answer.body.error.code]).toEqual([400, 'REQUEST_INVALID'])
  })
})

describe('idempotency-key', () => {
  const key = (text: string) => ({ 'idempotency-key': text })
  const post = (text: string, headers: Record<string, string>) =>
    ask(`${server.url}/topics/once`, { method: 'POST', body: text, headers })

  it('answers the same again, and publishes once', async () => {
    const before = published()
    const batch = [
      { topic: 'once', text: 'one' },
      { topic: 'once', text: 'two' },
    ]
    const first = await publish(batch, key('batch-1'))
    const second = await publish(batch, key('batch-1'))
    expect([second.status, second.body]).toEqual([200, first.body])
    expect([first, second].map(({ headers }) => headers.get('idempotent-replayed'))).toEqual([null, 'true'])
    const one = await post('three', key('post-1'))
    const again = await post('three', key('post-1'))
    expect([again.status, again.body]).toEqual([202, one.body])
    expect(published() - before).toBe(3)
  })

  it('refuses another request under a key that was used', async () => {
    await post('four', key('post-2'))
    for (const answer of [
      await post('five', key('post-2')),
      await ask(`${server.url}/topics/elsewhere`, { method: 'POST', body: 'four', headers: key('post-2') }),
      await ask(`${server.url}/topics/once?key=k`, { method: 'POST', body: 'four', headers: key('post-2') }),
    ]) {
      expect([answer.status, answer.body.error.code]).toEqual([409, 'IDEMPOTENCY_CONFLICT'])
    }
    expect((await post('x', key('ä'.repeat(1)))).status).toBe(400)
    expect((await post('x', key('k'.repeat(256)))).status).toBe(400)
  })

  it('keeps nothing of what was refused: it may be tried again', async () => {
    expect((await publish([{ topic: 'once', text: 'x'.repeat(1001) }], key('batch-2'))).status).toBe(413)
    expect((await publish([{ topic: 'once', text: 'short' }], key('batch-2'))).status).toBe(200)
  })

  it('publishes once, where the answer was cut and the request made again, also at the same time', async () => {
    const heard = await hear('cut')
    const body = 'pay 5'
    const { hostname, port } = new URL(server.url)
    const request = `POST /topics/cut HTTP/1.1\r\nHost: ${hostname}:${port}\r\nIdempotency-Key: pay-1\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: ${body.length}\r\n\r\n${body}`
    const socket = connect(Number(port), hostname, () => socket.write(request))
    socket.on('error', () => {})
    await until(() => heard.length === 1)
    socket.resetAndDestroy()
    const answers = await Promise.all(
      [1, 2, 3].map(() =>
        ask(`${server.url}/topics/cut`, {
          method: 'POST',
          body,
          headers: { 'idempotency-key': 'pay-1' },
        }),
      ),
    )
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1)
    expect(answers[0]!.body).toMatchObject({ topic: 'cut', seq: 1 })
    await ask(`${server.url}/topics/cut`, { method: 'POST', body: 'end' })
    await until(() => heard.length === 2)
    expect(heard).toEqual(['pay 5', 'end'])
  })
})

describe('the table of answers', () => {
  /** As far as `once` looks at them. */
  const call = (table: Idempotency, key: string, work: () => Promise<object>, parts = ['same']) => {
    const reply = {
      statusCode: 200,
      header: () => reply,
      code: () => reply,
      type: () => reply,
      send: (body: string) => body,
    }
    const done = async () => ({ status: 200, body: await work() })
    return table.once({ headers: { 'idempotency-key': key }, method: 'POST' } as never, reply as never, '', parts, done)
  }

  it('forgets after five minutes, and what is beyond its bounds, the oldest first', async () => {
    const scheduler = new ManualScheduler()
    const table = new Idempotency(scheduler, { entries: 3, bytes: 100_000 })
    let made = 0
    const work = async () => ({ made: ++made })
    expect(await call(table, 'a', work)).toBe('{"made":1}')
    expect(await call(table, 'a', work)).toBe('{"made":1}')
    scheduler.advance(5 * 60_000 - 1)
    expect(await call(table, 'a', work)).toBe('{"made":1}')
    scheduler.advance(1)
    expect(await call(table, 'a', work)).toBe('{"made":2}')
    for (const key of ['b', 'c', 'd']) await call(table, key, work)
    expect(table.size).toBe(3)
    expect(await call(table, 'd', work)).toBe('{"made":5}')
    expect(await call(table, 'a', work)).toBe('{"made":6}')
    await call(table, 'large', async () => ({ text: 'x'.repeat(100_000) }))
    expect(table.size).toBeLessThan(3)
  })

  it('makes those wait that come while the first is at work, and lets them try if it fails', async () => {
    const table = new Idempotency(new ManualScheduler())
    let fail = (_: Error) => {}
    const first = call(table, 'a', () => new Promise((_, reject) => (fail = reject)))
    const second = call(table, 'a', async () => ({ never: true }))
    fail(new Error('broker'))
    await expect(first).rejects.toThrow('broker')
    await expect(second).rejects.toThrow('broker')
    expect(await call(table, 'a', async () => ({ at: 'last' }))).toBe('{"at":"last"}')
    expect(table.size).toBe(1)
    // Alone: vitest fails where a rejection is left to nobody.
    await expect(call(table, 'b', () => Promise.reject(new Error('again')))).rejects.toThrow('again')
  })

  it('takes no two lists of parts for the same', async () => {
    const table = new Idempotency(new ManualScheduler())
    await call(table, 'a', async () => ({}), ['ab', 'c'])
    await expect(call(table, 'a', async () => ({}), ['a', 'bc'])).rejects.toMatchObject({
      code: 'IDEMPOTENCY_CONFLICT',
    })
  })
})
