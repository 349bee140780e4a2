import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Turn } from '../../src/server/api/turn.ts'
import { MAX_JSON_VALUES, measureJson } from '../../src/wire/json.ts'
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
  ])('with too many values is refused before it is parsed: 8 MB of %s', async (_, item) => {
    const many = item.repeat(Math.floor((8 * 1024 * 1024 - 100) / item.length))
    const { status, body } = await json('POST', '/api/publish', `{"publications":[{"topic":"a","data":[${many}1]}]}`)
    expect([status, body.error.message]).toEqual([400, expect.stringContaining(`at most ${MAX_JSON_VALUES} values`)])
  })

  it('may be large where its values are', async () => {
    const publications = Array.from({ length: 6 }, (_, n) => ({ topic: `large-${n}`, text: 'x'.repeat(1_000_000) }))
    expect((await askJson(`${server.url}/api/publish`, { publications })).body).toMatchObject({ published: 6 })
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

describe('measureJson', () => {
  const list = (length: number) => JSON.stringify(Array.from({ length }, () => 1))

  it('counts values, not what looks like them in strings', () => {
    expect(measureJson(list(MAX_JSON_VALUES - 2))).toBeUndefined()
    expect(measureJson(list(MAX_JSON_VALUES + 1))).toBe('many')
    expect(measureJson(JSON.stringify(['[{,'.repeat(MAX_JSON_VALUES), '"'.repeat(10)]))).toBeUndefined()
    const members = (length: number) =>
      JSON.stringify(Object.fromEntries(Array.from({ length }, (_, n) => [`k${n}`, 1])))
    expect(measureJson(members(MAX_JSON_VALUES / 4 - 2))).toBeUndefined()
    expect(measureJson(members(MAX_JSON_VALUES / 4 + 1))).toBe('many')
    expect(measureJson('['.repeat(256))).toBeUndefined()
    expect(measureJson('['.repeat(257))).toBe('deep')
  })
})

describe('a turn', () => {
  it('ends after so many items, and sooner after so many bytes', async () => {
    const turn = new Turn()
    const ends = (bytes: number, items: number) =>
      Array.from({ length: items }, () => turn.after(bytes)).flatMap((end, index) => (end === undefined ? [] : [index]))
    expect(ends(10, 120)).toEqual([49, 99])
    expect(new Turn().after(256 * 1024)).toBeInstanceOf(Promise)
    expect(new Turn().after(256 * 1024 - 1)).toBeUndefined()
  })
})
