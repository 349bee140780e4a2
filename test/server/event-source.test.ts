import { afterEach, describe, expect, it } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { startTestServer, type TestServer } from './test-server.ts'

const SSE = { accept: 'text/event-stream' }
const DAY_MS = 86_400_000

let server: TestServer
afterEach(() => server.close())

interface Closed {
  readonly status: number
  readonly headers: Headers
  readonly retries: number[]
  readonly close: Record<string, unknown> | undefined
}

/** Reads a stream to its end. */
async function readToEnd(path: string, headers: Record<string, string> = SSE): Promise<Closed> {
  const answer = await fetch(`${server.url}${path}`, { headers })
  const text = await answer.text()
  const close = /event: close\ndata: (.*)\n/.exec(text)?.[1]
  return {
    ...{ status: answer.status, headers: answer.headers },
    retries: [...text.matchAll(/^retry: (\d+)$/gm)].map(match => Number(match[1])),
    close: close === undefined ? undefined : JSON.parse(close),
  }
}

/** Clients that ended together must not come back together. */
function expectDays(retry: number | undefined): void {
  expect(retry).toBeGreaterThan(DAY_MS)
  expect(retry).toBeLessThanOrEqual(2 * DAY_MS)
}

async function fill(count: number): Promise<AbortController> {
  const cut = new AbortController()
  for (let i = 0; i < count; i++) await fetch(`${server.url}/topics/a`, { headers: SSE, signal: cut.signal })
  return cut
}

describe('a refusal that passes reaches EventSource as a stream that ends', () => {
  it('where the hub is full (503)', async () => {
    server = await startTestServer({ limits: { maxClients: 1 } })
    const cut = await fill(1)
    const { status, headers, retries, close } = await readToEnd('/topics/a')
    expect(status).toBe(200)
    expect(headers.get('content-type')).toMatch(/^text\/event-stream/)
    expect(headers.get('cache-control')).toContain('no-store')
    expect(close).toMatchObject({ reason: 'overloaded', code: 'LIMIT_EXCEEDED', reconnectMs: retries[0] })
    expect(retries).toHaveLength(1)
    // A reader that takes errors too is told the status, and so is every other protocol.
    const json = { accept: 'text/event-stream, application/json' }
    expect((await fetch(`${server.url}/topics/a`, { headers: json })).status).toBe(503)
    expect((await fetch(`${server.url}/topics/a`)).status).toBe(503)
    cut.abort()
  })

  it.each(['/api/clients/ada/tail', '/api/topics/a/presence?follow=true'])(
    'where a stream for operators has too many readers: %s',
    async path => {
      server = await startTestServer({ topics: { a: { presence: true } } })
      const cut = new AbortController()
      await fetch(`${server.url}/topics/a?client=ada`, { headers: SSE, signal: cut.signal })
      for (let i = 0; i < 100; i++) await fetch(server.url + path, { headers: SSE, signal: cut.signal })
      const { status, close, retries } = await readToEnd(path)
      expect([status, close]).toEqual([200, expect.objectContaining({ code: 'LIMIT_EXCEEDED' })])
      expect(retries).toHaveLength(1)
      expect((await fetch(server.url + path)).status).toBe(503)
      cut.abort()
    },
  )

  it('where an address asks too often (429), spread over seconds even where the next is let in within milliseconds', async () => {
    server = await startTestServer({ limits: { handshakesPerSecondPerAddress: 5, exempt: [] } })
    const answers: Closed[] = []
    const cut = new AbortController()
    for (let i = 0; answers.length < 8 && i < 40; i++) {
      const answer = await fetch(`${server.url}/topics/a`, { headers: SSE, signal: cut.signal })
      const length = answer.headers.get('content-length')
      if (length !== null) {
        const text = await answer.text()
        const retries = [...text.matchAll(/^retry: (\d+)$/gm)].map(match => Number(match[1]))
        const close = JSON.parse(/data: (.*)\n/.exec(text)![1]!) as Record<string, unknown>
        answers.push({ status: answer.status, headers: answer.headers, retries, close })
      }
    }
    cut.abort()
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 200))
    expect(new Set(answers.map(({ close }) => close!.code))).toEqual(new Set(['RATE_LIMITED']))
    const waits = answers.map(({ retries }) => retries[0]!)
    expect(new Set(waits).size).toBeGreaterThan(4)
    // The bucket lets one more in within 200 ms. Thousands of refused readers would all come back for that one place.
    for (const wait of waits) {
      expect(wait).toBeGreaterThanOrEqual(1500)
      expect(wait).toBeLessThanOrEqual(3000)
    }
  })

  it('where nobody can say who it is, and while the hub drains', async () => {
    const down = new HubError('AUTH_UNAVAILABLE', 'the application does not answer')
    server = await startTestServer({})
    // Asked before every request of the surface.
    server.app.hubContext.authorize = () => {
      throw down
    }
    expect((await readToEnd('/topics/a')).close).toMatchObject({ reason: 'overloaded', code: 'AUTH_UNAVAILABLE' })
    server.app.hubContext.authorize = () => {
      throw new HubError('SHUTTING_DOWN', 'the hub is shutting down')
    }
    expect((await readToEnd('/events?topic=a')).close).toMatchObject({ reason: 'shutdown', code: 'SHUTTING_DOWN' })
  })
})

describe('a refusal that stays', () => {
  it('is 204 to a browser, with the error in a header, and an error to any other reader', async () => {
    server = await startTestServer({ topics: { a: { subscribe: 'nobody' } } })
    const browser = await readToEnd('/topics/a', { ...SSE, 'sec-fetch-dest': 'empty', 'sec-fetch-mode': 'cors' })
    expect([browser.status, browser.close]).toEqual([204, undefined])
    expect(browser.headers.get('hubline-error')).toMatch(/^PERMISSION_DENIED: /)
    const other = await fetch(`${server.url}/topics/a`, { headers: SSE })
    expect([other.status, (await other.json()) as unknown]).toEqual([
      403,
      { error: { code: 'PERMISSION_DENIED', message: expect.any(String) } },
    ])
  })
})

describe('the time to come back', () => {
  it('is spread, between one and a half seconds and three', async () => {
    server = await startTestServer({})
    const cut = new AbortController()
    const waits: number[] = []
    for (let i = 0; i < 20; i++) {
      const { body } = await fetch(`${server.url}/topics/a`, { headers: SSE, signal: cut.signal })
      const { value } = await body!.getReader().read()
      waits.push(Number(/^retry: (\d+)$/m.exec(Buffer.from(value!).toString())![1]))
    }
    cut.abort()
    expect(new Set(waits).size).toBeGreaterThan(10)
    for (const wait of waits) {
      expect(wait).toBeGreaterThanOrEqual(1500)
      expect(wait).toBeLessThanOrEqual(3000)
    }
  })

  it('is one to two days for a client that an operator ended, and for one that another took the id of', async () => {
    server = await startTestServer({})
    const ended = readToEnd('/topics/a?client=ada')
    await expect.poll(() => server.hub.getConnectionStats().clients).toBe(1)
    expect((await fetch(`${server.url}/api/clients/ada`, { method: 'DELETE' })).status).toBe(204)
    expectDays((await ended).retries.at(-1))
    expect((await ended).close).toEqual({ reason: 'ended' })

    const first = readToEnd('/topics/a?client=ada')
    await expect.poll(() => server.hub.getConnectionStats().clients).toBe(1)
    const second = readToEnd('/topics/a?client=ada')
    expect((await first).close).toEqual({ reason: 'replaced' })
    expectDays((await first).retries.at(-1))
    server.hub.unregisterClient('ada', 'overloaded')
    expect((await second).retries.at(-1)).toBeLessThanOrEqual(3000)
  })
})

describe('what Accept refuses is not sent', () => {
  it.each([
    ['text/event-stream;q=0, */*', 'application/octet-stream'],
    ['text/event-stream; q=0.000,*/*', 'application/octet-stream'],
    ['text/event-stream;q=0', 'application/octet-stream'],
    ['image/*;q=0, text/event-stream;q=0.1', 'text/event-stream; charset=utf-8'],
    ['image/png;q=0, */*', 'application/octet-stream'],
    ['*/*;q=0.01, text/event-stream;q=0.01', 'text/event-stream; charset=utf-8'],
    ['Text/Event-Stream;q=1', 'text/event-stream; charset=utf-8'],
  ])('%s gets %s', async (accept, type) => {
    server = await startTestServer()
    const cut = new AbortController()
    const { headers } = await fetch(`${server.url}/topics/a`, { headers: { accept }, signal: cut.signal })
    expect(headers.get('content-type')).toBe(type)
    cut.abort()
  })

  it('nor is an error an event stream', async () => {
    server = await startTestServer({ limits: { maxClients: 1 } })
    const cut = await fill(1)
    const accept = 'text/event-stream;q=0'
    expect((await fetch(`${server.url}/topics/a`, { headers: { accept } })).status).toBe(503)
    cut.abort()
  })
})
