import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Turn } from '../../src/server/turn.ts'
import { MAX_JSON_VALUES } from '../../src/wire/json-steps.ts'
import { ask, askJson } from './http.ts'
import { startTestServer, type TestServer } from './test-server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(() => server.close())

const json = (method: string, path: string, body?: string) =>
  ask(server.url + path, {
    method,
    headers: { 'content-type': 'application/json' },
    ...(body !== undefined && { body }),
  })

describe('a body of JSON', () => {
  it('that is empty is none: DELETE works with the content type that libraries send', async () => {
    const reading = new AbortController()
    await fetch(`${server.url}/topics/a?client=ada`, { signal: reading.signal })
    expect((await json('DELETE', '/api/clients/ada')).status).toBe(204)
    expect((await json('POST', '/api/tickets', '')).status).toBe(201)
    expect((await json('POST', '/api/publish', '')).body.error.message).toBe('body: it is missing')
    reading.abort()
  })

  it.each([
    '{"__proto__": 1}',
    '{"publications": [{"topic": "a", "data": {"__proto__": {}}}]}',
    '{"constructor": {"prototype": 1}}',
  ])('says which key is not taken: %s', async body => {
    const answer = await json('POST', '/api/publish', body)
    expect([answer.status, answer.body.error.message]).toEqual([400, expect.stringContaining('"__proto__"')])
  })

  it('that is no JSON says so, and where', async () => {
    const { status, body } = await json('POST', '/api/publish', '{"a": 1,}')
    expect([status, body.error.message]).toEqual([400, expect.stringMatching(/it is not valid JSON .*position/)])
  })

  it.each([
    ['numbers', '1,'],
    ['empty objects', '{},'],
    ['members', '{"a":1},'],
    ['strings', '"",'],
  ])('with too many values is refused: 8 MB of %s', async (_, item) => {
    const many = item.repeat(Math.floor((8 * 1024 * 1024 - 100) / item.length))
    const { status, body } = await json('POST', '/api/publish', `{"publications":[{"topic":"a","data":[${many}1]}]}`)
    expect([status, body.error.message]).toEqual([400, expect.stringContaining(`at most ${MAX_JSON_VALUES} values`)])
  })

  it('may be large where its values are', async () => {
    const publications = Array.from({ length: 6 }, (_, n) => ({ topic: `large-${n}`, text: 'x'.repeat(1_000_000) }))
    expect((await askJson(`${server.url}/api/publish`, { publications })).body).toMatchObject({ published: 6 })
  })

  it('that is large keeps the exact text of each message, whatever stands around it', async () => {
    const long = `{"number":12345678901234567890.10, "text":"${'ä€😀\\n\\u20ac\\"'.repeat(5000)}", "list":[${'1.0, '.repeat(10_000)}2]}`
    const escaped = 'ä\n'.repeat(50_000)
    const publications = [
      '{"topic":"exact-0", "data":0.0}',
      `{ "data" : ${long} ,"topic":"exact-1"}`,
      `{"topic":"exact-2","text":"${'\\u00e4\\n'.repeat(50_000)}"}`,
      '{"topic":"exact-3","data":3.0}',
    ]
    const answer = await json('POST', '/api/publish', `\ufeff {"publications" : [\n${publications.join(' ,\n')} ]} `)
    expect([answer.status, answer.body.published]).toEqual([200, 4])
    for (const [n, text] of ['0.0', long, escaped, '3.0'].entries()) {
      const kept = await fetch(`${server.url}/topics/exact-${n}?history`)
      const { messages } = (await kept.json()) as { messages: { text: string }[] }
      // Compared here: a difference would print the whole text.
      expect(messages[0]?.text === text, `publication ${n}`).toBe(true)
    }
  })

  it.each([
    ['is no JSON', '1,}', /it is not valid JSON \(after character \d+\)/],
    ['has a key that is not taken', '{"__proto__":{}}', /a key "__proto__"/],
    [
      'has a prototype far into a constructor',
      `{"constructor":{"a":"${'x'.repeat(100_000)}","prototype":1}}`,
      /"prototype" within "constructor"/,
    ],
    [
      'has a long key',
      `{"${'k'.repeat(200_000)}":1}`,
      /a key, a number or white space of JSON has at most 65536 characters/,
    ],
    ['nests too deep', '['.repeat(300) + ']'.repeat(300), /nests at most 256 levels/],
  ])('that is large and %s is refused, and says why', async (_, data, message) => {
    const text = `{"publications":[{"topic":"a","text":"${'x'.repeat(200_000)}"},{"topic":"a","data":${data}}]}`
    const { status, body } = await json('POST', '/api/publish', text)
    expect([status, body.error.message]).toEqual([400, expect.stringMatching(message)])
  })

  it('begins with a byte order mark or not', async () => {
    const text = '\ufeff{"publications":[{"topic":"mark","data":{"a":1.0}}]}'
    expect((await json('POST', '/api/publish', text)).body).toMatchObject({ published: 1 })
  })

  it.each([1, 100_000])('begins with one byte order mark at most: a message of %s characters', async length => {
    const text = `\ufeff\ufeff{"publications":[{"topic":"mark","text":"${'x'.repeat(length)}"}]}`
    const { status, body } = await json('POST', '/api/publish', text)
    expect([status, body.error.message]).toEqual([400, expect.stringContaining('it is not valid JSON')])
  })

  it('of 1,000 publications keeps their order', async () => {
    const publications = Array.from({ length: 1000 }, (_, n) => ({ topic: 'order', data: n }))
    expect((await askJson(`${server.url}/api/publish`, { publications })).body).toMatchObject({ published: 1000 })
    const { body } = await ask(`${server.url}/topics/order?history`)
    expect(body.messages.map(({ text }: { text: string }) => Number(text))).toEqual(
      Array.from({ length: 256 }, (_, n) => 744 + n),
    )
  })
})

describe('a turn', () => {
  const standing = { over: false, wait: async () => {} }

  it('ends after so many items, and sooner after so many bytes', async () => {
    const turn = new Turn(50, standing)
    const ends = (bytes: number, items: number) =>
      Array.from({ length: items }, () => turn.after(bytes)).flatMap((end, index) => (end === undefined ? [] : [index]))
    expect(ends(10, 120)).toEqual([49, 99])
    expect(new Turn(50, standing).after(256 * 1024)).toBeInstanceOf(Promise)
    expect(new Turn(50, standing).after(256 * 1024 - 1)).toBeUndefined()
  })

  it('ends when the time of all is over, and goes on in one that has time left', async () => {
    const time = { over: false, waited: 0, wait: async () => void time.waited++ }
    const turn = new Turn(50, time)
    expect(turn.after(1)).toBeUndefined()
    time.over = true
    const next = turn.after(1)
    expect(next).toBeInstanceOf(Promise)
    await next
    expect(time.waited).toBe(1)
    time.over = false
    expect(turn.after(1)).toBeUndefined()
  })
})
