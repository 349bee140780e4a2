import { beforeEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { createHub, type Hub } from '../../src/hub.ts'
import { Rivals } from '../../src/server/rivals.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { until } from './http.ts'
import { startTestServer } from './test-server.ts'

describe('Rivals', () => {
  let scheduler: ManualScheduler
  let hub: Hub
  let rivals: Rivals
  beforeEach(() => {
    scheduler = new ManualScheduler()
    hub = createHub({ scheduler })
    rivals = new Rivals(hub.events, () => scheduler.now())
  })

  /** One more connection of the id. */
  function connect(): void {
    rivals.check('tv')
    hub.registerClient('tv', new FakeConnection())
  }
  const refused = () => expect(() => rivals.check('tv'))
  const connectTimes = (times: number) => {
    for (let i = 0; i < times; i++) connect()
  }

  it('lets a device come back five times before the hub misses it, and then its connection stays for 10 s', () => {
    connectTimes(6)
    refused().toThrow(
      'client: tv was replaced 5 times in a row, so its connection stays for 10 s; give each program its own id',
    )
    scheduler.advance(9_999)
    refused().toThrow('stays for 1 s')
    scheduler.advance(1)
    expect(connect).not.toThrow()
  })

  it('doubles the time with each further replacement, up to an hour', () => {
    connectTimes(6)
    const seconds: number[] = []
    for (let i = 0; i < 11; i++) {
      const at = scheduler.now()
      while (!connects()) scheduler.advance(1000)
      seconds.push((scheduler.now() - at) / 1000)
    }
    expect(seconds).toEqual([10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600])
  })

  it('says when the id is free, as other limits of a rate do', () => {
    connectTimes(6)
    refused().toThrow(expect.objectContaining({ code: 'RATE_LIMITED', status: 429, retryMs: 10_000 }))
  })

  it('refuses nobody once the connection has gone by itself', () => {
    connectTimes(6)
    hub.unregisterClient('tv')
    expect(() => connectTimes(6)).not.toThrow()
    refused().toThrow('5 times')
  })

  it('counts anew after a connection that nothing replaced for a minute', () => {
    connectTimes(5)
    scheduler.advance(60_000)
    expect(() => connectTimes(5)).not.toThrow()
    refused().toThrow('5 times')
  })

  it('leaves other ids alone', () => {
    connectTimes(6)
    expect(() => rivals.check('radio')).not.toThrow()
  })

  function connects(): boolean {
    try {
      connect()
      return true
    } catch {
      return false
    }
  }
})

it.each([
  ['one topic', '/topics/a?client=tv'],
  ['the client protocol', '/connection/websocket?client=tv'],
])('two programs that share an id and always come back settle: %s', async (_what, path) => {
  const server = await startTestServer({})
  try {
    const sockets: WebSocket[] = []
    const refusals: string[] = []
    /** A program that comes back at once, whatever it is told, until a status refuses it. */
    const comeBack = (): void => {
      const socket = new WebSocket(server.url.replace('http', 'ws') + path)
      sockets.push(socket)
      socket.on('open', () => {
        if (path.startsWith('/connection')) socket.send('{"id":1,"connect":{}}')
      })
      socket.on('error', error => refusals.push(error.message))
      socket.on('close', () => {
        if (refusals.length === 0) comeBack()
      })
    }
    comeBack()
    comeBack()
    await until(() => refusals.length > 0)
    expect(refusals).toEqual(['Unexpected server response: 429'])
    expect(sockets.filter(({ readyState }) => readyState === WebSocket.OPEN)).toHaveLength(1)
    expect([...server.hub.getActiveClients()].map(({ id }) => id)).toEqual(['tv'])
    for (const socket of sockets) socket.terminate()
  } finally {
    await server.close()
  }
})

it.each([
  ['a stream', 'application/octet-stream', 429],
  // An EventSource gives up at any other status than 200.
  ['an EventSource', 'text/event-stream', 200],
])('two programs that share an id and always come back settle: %s', async (_what, accept, status) => {
  const server = await startTestServer({})
  const end = new AbortController()
  let connections = 0
  /** Comes back at once whenever its stream ends, until it is refused. */
  async function program(): Promise<{ readonly status: number; readonly text: string }> {
    for (;;) {
      const answer = await fetch(`${server.url}/topics/a?client=tv`, { headers: { accept }, signal: end.signal })
      const text = await answer.text()
      if (text.includes('in a row')) return { status: answer.status, text }
      connections++
    }
  }
  try {
    const programs = [program(), program()]
    const refused = await Promise.race(programs)
    expect(refused.status).toBe(status)
    expect(refused.text).toContain('tv was replaced 5 times in a row, so its connection stays for 10 s')
    if (status === 200) expect(Number(/^retry: (\d+)$/m.exec(refused.text)?.[1])).toBeGreaterThanOrEqual(10_000)
    expect(connections).toBe(5)
    expect([...server.hub.getActiveClients()].map(({ id }) => id)).toEqual(['tv'])
    end.abort()
    await Promise.allSettled(programs)
  } finally {
    await server.close()
  }
})
