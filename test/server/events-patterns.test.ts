import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startTestServer, type TestServer } from './test-server.ts'

let server: TestServer
const leave: AbortController[] = []
beforeEach(async () => {
  server = await startTestServer({ topics: { 'sensors/hidden': { wildcards: false } } })
})
afterEach(async () => {
  for (const each of leave.splice(0)) each.abort()
  await server.close()
})

interface Event {
  readonly id: string
  readonly event: string
  readonly data: string
}

/** What a stream has told so far. */
async function events(path: string, headers: Record<string, string> = {}): Promise<() => Event[]> {
  const end = new AbortController()
  leave.push(end)
  const answer = await fetch(server.url + path, { headers, signal: end.signal })
  expect(answer.status).toBe(200)
  let text = ''
  const read = async (): Promise<void> => {
    for await (const piece of answer.body!) text += Buffer.from(piece).toString()
  }
  read().catch(() => {})
  const field = (block: string, name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? ''
  return () =>
    text.split('\n\n').flatMap(block => {
      const [id, event, data] = ['id', 'event', 'data'].map(name => field(block, name)) as [string, string, string]
      return data === '' || event === 'position' ? [] : [{ id, event, data }]
    })
}

const publish = (topic: string, text: string): void =>
  void server.hub.routeData(topic, Buffer.from(text), { contentType: 'text/plain' })

async function until(what: () => boolean): Promise<void> {
  const end = Date.now() + 5000
  while (!what()) {
    if (Date.now() > end) throw new Error('it never came')
    await new Promise(setImmediate)
  }
}

describe('GET /events with patterns', () => {
  it('tells what matches, named as its topic, also what comes into being, and each message once', async () => {
    publish('sensors/a', 'before')
    const told = await events('/events?topic=sensors/**&topic=sensors/*&topic=sensors/a&topic=news&client=one')
    publish('sensors/a', '1')
    publish('sensors/hall/b', '2')
    publish('sensors/hidden', 'not for patterns')
    publish('other', 'not asked for')
    publish('news', '3')
    await until(() => told().length === 3)
    expect(told().map(({ event, data }) => [event, data])).toEqual([
      ['/sensors/a', '1'],
      ['/sensors/hall/b', '2'],
      ['/news', '3'],
    ])
    expect(server.hub.getClient('one').patterns.map(({ pattern }) => pattern)).toEqual(['sensors/**', 'sensors/*'])
  })

  it('begins with what is kept where since=oldest asks for it', async () => {
    publish('sensors/a', 'old')
    publish('sensors/b', 'old too')
    const told = await events('/events?topic=sensors/*&since=oldest')
    await until(() => told().length === 2)
    expect(told().map(({ data }) => data)).toEqual(['old', 'old too'])
  })

  it('comes back after the id of an event: its topic goes on, of the others the loss is told', async () => {
    const first = await events('/events?topic=sensors/*')
    publish('sensors/a', '1')
    publish('sensors/b', '1')
    await until(() => first().length === 2)
    const { id } = first()[0]!
    leave.pop()!.abort()
    publish('sensors/a', '2')
    publish('sensors/b', '2')
    const again = await events('/events?topic=sensors/*', { 'last-event-id': id })
    await until(() => again().length === 2)
    expect(again().map(({ event, data }) => [event, data])).toEqual(
      expect.arrayContaining([
        ['/sensors/a', '2'],
        ['gap', expect.stringMatching(/"topic":"sensors\/b".*"count":null/)],
      ]),
    )
  })

  it.each([
    ['/events?topic=sensors/**/x', /no pattern/],
    ['/events?topic=a*', /no pattern/],
    [`/events?topic=${'*/'.repeat(9)}*`, /at most 8 segments/],
    ['/topics/sensors/*', /not a topic name/],
  ])('%s is refused with 400', async (path, sentence) => {
    const answer = await fetch(server.url + path)
    const { error } = (await answer.json()) as { error: { code: string; message: string } }
    expect([answer.status, error.code]).toEqual([400, 'TOPIC_INVALID'])
    expect(error.message).toMatch(sentence)
    expect(server.hub.getConnectionStats().clientsTotal).toBe(0)
  })
})
