import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FakeConnection } from '../../../src/testing/fake-connection.ts'
import { firstListener } from '../../listeners.ts'
import { listen } from '../http.ts'
import { startTestServer, type TestServer } from '../test-server.ts'

let server: TestServer
const leave: AbortController[] = []
beforeEach(async () => {
  server = await startTestServer({ topics: { 'rooms/*': { presence: true } } })
})
afterEach(async () => {
  for (const each of leave.splice(0)) each.abort()
  await server.close()
})

/** Follows the presence of a topic; each event as its name and what it says. */
async function follow(topic: string) {
  const end = new AbortController()
  leave.push(end)
  const answer = await fetch(`${server.url}/api/topics/${topic}/presence?follow=true`, { signal: end.signal })
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
  let text = ''
  let over = false
  const read = async (): Promise<void> => {
    for await (const piece of answer.body!) text += Buffer.from(piece).toString()
  }
  void read()
    .catch(() => {})
    .finally(() => {
      over = true
    })
  return {
    over: () => over,
    events: () =>
      [...text.matchAll(/event: (.*)\ndata: (.*)\n\n/g)].map(([, name, data]) => [name, JSON.parse(data!)] as const),
  }
}

async function until(what: () => boolean): Promise<void> {
  const end = Date.now() + 5000
  while (!what()) {
    if (Date.now() > end) throw new Error('it never came')
    await new Promise(setImmediate)
  }
}

describe('GET /api/topics/{topic}/presence?follow=true', () => {
  it('tells who is there, who comes and who goes, by name or by pattern, of this topic alone', async () => {
    const ada = await listen(server.url, 'ada', 'rooms/one')
    const stream = await follow('rooms/one')
    await until(() => stream.events().length === 1)
    const bob = await listen(server.url, 'bob', 'rooms/one')
    await listen(server.url, 'eve', 'rooms/two')
    server.hub.subscribePattern('eve', 'rooms/*')
    await until(() => stream.events().length === 3)
    bob.webSocket.close()
    await until(() => stream.events().length === 4)
    ada.webSocket.close()
    await until(() => stream.events().length === 5)
    expect(stream.events()).toEqual([
      ['state', { clients: [{ client: 'ada' }] }],
      ['join', { client: 'bob' }],
      ['join', { client: 'eve' }],
      ['leave', { client: 'bob' }],
      ['leave', { client: 'ada' }],
    ])
  })

  it('tells of a client that a handler registers again under the same id as another one', async () => {
    const { hub } = server
    const join = (user: string) => {
      hub.registerClient('ada', new FakeConnection(), { session: { user } })
      hub.subscribe('ada', 'rooms/one')
    }
    join('old')
    const older = hub.handleOf('ada')
    const stream = await follow('rooms/one')
    await until(() => stream.events().length === 1)
    firstListener(hub, 'unsubscribe', ({ client }) => void (client === older && join('new')))
    hub.unregisterClient('ada')
    await until(() => stream.events().length === 3)
    expect(stream.events().slice(1)).toEqual([
      ['leave', { client: 'ada', user: 'old' }],
      ['join', { client: 'ada', user: 'new' }],
    ])
  })

  it('ends when the topic no longer tells it, and when the hub drains', async () => {
    const one = await follow('rooms/one')
    const two = await follow('rooms/two')
    const headers = { 'content-type': 'application/json' }
    await fetch(`${server.url}/api/topic-rules/rooms/one`, { method: 'PUT', headers, body: '{}' })
    await listen(server.url, 'ada', 'rooms/one')
    await until(one.over)
    expect(one.events().at(-1)).toEqual(['end', { reason: 'presence is off' }])
    await fetch(`${server.url}/api/drain`, { method: 'POST' })
    await until(two.over)
    expect(two.events().at(-1)).toEqual(['end', { reason: 'shutdown' }])
  })

  it('is refused as presence is, and there are so many readers', async () => {
    const path = (topic: string) => `${server.url}/api/topics/${topic}/presence?follow=true`
    expect((await fetch(path('news'))).status).toBe(403)
    const readers = await Promise.all(Array.from({ length: 100 }, () => follow('rooms/one')))
    const refused = await fetch(path('rooms/one'))
    expect([refused.status, await refused.json()]).toMatchObject([503, { error: { code: 'LIMIT_EXCEEDED' } }])
    leave.pop()!.abort()
    await until(() => readers.some(reader => reader.over()))
    await expect
      .poll(() => fetch(path('rooms/one'), { signal: AbortSignal.timeout(1000) }).then(answer => answer.status))
      .toBe(200)
  })
})
