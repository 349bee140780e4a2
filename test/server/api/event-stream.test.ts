import { IncomingMessage, ServerResponse } from 'node:http'
import { type AddressInfo, connect, Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createHub, type Hub } from '../../../src/hub.ts'
import { openTopics } from '../../../src/open-topics.ts'
import { keepAlive } from '../../../src/server/api/event-stream.ts'
import { hubline } from '../../../src/server/fastify.ts'
import { ManualHeartbeat } from '../../transports/client-peer.ts'

const presenceEverywhere = { resolve: (name: string) => ({ ...openTopics().resolve(name), presence: true }) }

describe('the keep-alive of a stream of events', () => {
  function setUp() {
    const heartbeat = new ManualHeartbeat()
    const response = new ServerResponse(new IncomingMessage(new Socket()))
    const failed = vi.fn()
    const write = vi.spyOn(response, 'write')
    response.on('error', failed)
    keepAlive(response, heartbeat)
    return { heartbeat, response, failed, write }
  }

  it('is a comment at each heartbeat, until the response closes', () => {
    const { heartbeat, response, write } = setUp()
    heartbeat.beat()
    heartbeat.beat()
    expect(write.mock.calls).toEqual([[':\n\n'], [':\n\n']])
    response.emit('close')
    expect(heartbeat.clients).toBe(0)
  })

  it('writes nothing behind the end of a response that its peer has not read yet', async () => {
    const { heartbeat, response, failed, write } = setUp()
    response.end()
    heartbeat.beat()
    await new Promise(setImmediate)
    expect(write).not.toHaveBeenCalled()
    expect(failed).not.toHaveBeenCalled()
  })
})

/** More than may read at a time. */
const MANY = 101

describe.each(['/api/clients/ada/tail', '/api/topics/news/presence?follow=true'])('a reader of %s', path => {
  let app: FastifyInstance
  let hub: Hub
  /** Requests that have come and wait for `go`. */
  let waiting = 0
  let go = (): void => {}
  afterEach(() => app.close())

  /** Requests with the header `x-slow` wait. */
  async function start(forceCloseConnections: boolean | 'idle' = true): Promise<number> {
    waiting = 0
    const gate = new Promise<void>(resolve => {
      go = resolve
    })
    hub = createHub({ topics: presenceEverywhere })
    app = Fastify({ forceCloseConnections })
    app.addHook('onRequest', async request => {
      if (request.headers['x-slow'] === undefined) return
      waiting++
      await gate
    })
    await app.register(hubline, { hub, open: true })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const { port } = app.server.address() as AddressInfo
    void fetch(`http://127.0.0.1:${port}/topics/news?client=ada`).catch(() => {})
    await expect.poll(() => hub.handleOf('ada')).toBeDefined()
    return port
  }

  async function statusOf(port: number): Promise<number> {
    const end = new AbortController()
    const { status } = await fetch(`http://127.0.0.1:${port}${path}`, { signal: end.signal })
    end.abort()
    return status
  }

  it('that goes before its stream begins takes no place for ever', async () => {
    const port = await start()
    const sockets = Array.from({ length: MANY }, () => connect(port, '127.0.0.1').on('error', () => {}))
    for (const socket of sockets) socket.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\nx-slow: yes\r\n\r\n`)
    await expect.poll(() => waiting).toBe(MANY)
    for (const socket of sockets) socket.resetAndDestroy()
    const connections = () =>
      new Promise<number>(resolve => app.server.getConnections((_error, count) => resolve(count)))
    await expect.poll(connections).toBe(1)
    go()
    await new Promise(setImmediate)
    expect(await statusOf(port)).toBe(200)
  })

  it('may not ask for it behind another request', async () => {
    const port = await start()
    const socket = connect(port, '127.0.0.1')
    let heard = ''
    socket.on('data', data => {
      heard += String(data)
    })
    const slow = 'GET /api/limits HTTP/1.1\r\nhost: localhost\r\nx-slow: yes\r\n\r\n'
    socket.write(`${slow}GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n${slow}`)
    await expect.poll(() => waiting).toBe(2)
    go()
    await expect.poll(() => heard.match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 400', 'HTTP/1.1 200'])
    expect(heard).toContain('a stream cannot be pipelined behind another request of its connection')
    socket.destroy()
  })

  it('does not hold up the close of the app', { timeout: 10_000 }, async () => {
    const port = await start('idle')
    const { headers, body } = await fetch(`http://127.0.0.1:${port}${path}`)
    expect(headers.get('connection')).toBe('close')
    const end = text(body!)
    await app.close()
    expect(await end).toContain('event: end')
  })
})
