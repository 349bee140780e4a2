import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { withoutStrange } from '../../src/server/read-input.ts'
import { startTestServer, type TestServer } from './test-server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startTestServer({ topics: { who: { presence: true } } })
})
afterAll(() => server.close())

const status = async (path: string) => {
  const aborted = new AbortController()
  const response = await fetch(server.url + path, { signal: aborted.signal })
  const { status } = response
  const message = status === 200 ? '' : ((await response.json()) as { error: { message: string } }).error.message
  aborted.abort()
  return { status, message }
}

describe('keys of a stream that the hub does not know', () => {
  it.each([
    '_=1',
    '1764275000000',
    'cacheBust=1',
    't=1',
    'ts=2',
    'v=3',
    'nocache',
    'rnd=0.5',
    'random=1',
    'cb=1',
    'utm_source=x',
    'time=5',
  ])('are ignored: ?%s', async query => {
    expect(await status(`/topics/a?${query}`)).toMatchObject({ status: 200 })
    expect(await status(`/events?topic=a&${query}`)).toMatchObject({ status: 200 })
    expect(await status(`/topics/a?history&${query}`)).toMatchObject({ status: 200 })
    expect(await status(`/api/topics/who/presence?follow=true&${query}`)).toMatchObject({ status: 200 })
    expect(await status(`/api/clients/stranger/tail?${query}`)).toMatchObject({ status: 404 })
  })

  it.each([
    ['rolle', 'role'],
    ['Role', 'role'],
    ['polcy', 'policy'],
    ['topics', 'topic'],
    ['clientId', 'client'],
    ['last-event-id', 'lastEventId'],
    ['LastEventID', 'lastEventId'],
    ['sinse', 'since'],
    ['histroy', 'history'],
    ['encodin', 'encoding'],
    ['tikcet', 'ticket'],
  ])('that resemble one are refused with its name: %s is %s', async (key, nearest) => {
    const { status: code, message } = await status(`/events?topic=a&${key}=1`)
    expect(code).toBe(400)
    expect(message).toContain(`did you mean "${nearest}"?`)
  })

  it.each(['token', 'access_token', 'jwt', 'apiKey'])('that look like a credential are refused: %s', async key => {
    const { status: code, message } = await status(`/topics/a?${key}=x`)
    expect([code, message]).toEqual([400, expect.stringContaining('has no place in a URL')])
  })

  it('are refused wherever no program adds them by itself', async () => {
    expect(await status('/api/stats?_=1')).toMatchObject({ status: 400 })
    expect((await fetch(`${server.url}/topics/a?_=1`, { method: 'POST', body: 'x' })).status).toBe(400)
  })

  it('never hide one that is known', () => {
    const schema = z.strictObject({ client: z.string(), since: z.string() })
    expect(withoutStrange(schema, { client: 'a', since: 'b', _: '1' })).toEqual({ client: 'a', since: 'b' })
  })
})

describe('every endless answer', () => {
  it.each([
    ['/topics/a', 'text/event-stream'],
    ['/topics/a', '*/*'],
    ['/topics/a', 'image/*'],
    ['/events?topic=a', '*/*'],
    ['/api/clients/ada/tail', '*/*'],
    ['/api/topics/who/presence?follow=true', '*/*'],
  ])('%s (%s) tells caches and proxies to pass it on as it is', async (path, accept) => {
    const aborted = new AbortController()
    const { signal } = aborted
    await fetch(`${server.url}/topics/a?client=ada`, { signal })
    const { status, headers } = await fetch(server.url + path, { headers: { accept }, signal })
    expect([status, headers.get('cache-control'), headers.get('x-accel-buffering')]).toEqual([
      200,
      'no-store, no-transform',
      'no',
    ])
    aborted.abort()
  })
})
