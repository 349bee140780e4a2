import { once } from 'node:events'
import { connect } from 'node:net'
import websocket from '@fastify/websocket'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { createHub, type Hub } from '../../src/hub.ts'
import { hubline } from '../../src/server/fastify.ts'

let app: FastifyInstance
afterEach(() => app.close())

async function start(prepare: (app: FastifyInstance, hub: Hub) => Promise<void>): Promise<{ url: string; hub: Hub }> {
  const hub = createHub()
  app = Fastify()
  await prepare(app, hub)
  return { url: await app.listen({ port: 0, host: '127.0.0.1' }), hub }
}

const heard = (url: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket(url.replace('http', 'ws'))
    socket.on('message', (data: Buffer) => resolve(data.toString()))
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('closed without a word')))
  })

describe('the plugin in an app of one’s own', () => {
  it('leaves the app its routes, its sockets, its requests and its errors', async () => {
    const { url, hub } = await start(async (host, hub) => {
      host.decorateRequest('session', null)
      host.setErrorHandler((error: Error, _request, reply) => reply.code(418).send({ own: error.message }))
      await host.register(hubline, { hub })
      host.get('/own/echo', { websocket: true }, socket => socket.send('from the app'))
      host.post('/orders', async request =>
        hub.publishBytes('orders', Buffer.from(JSON.stringify(request.body)), { contentType: 'application/json' }),
      )
      host.get('/broken', async () => {
        throw new Error('its own')
      })
    })
    expect(await heard(`${url}/own/echo`)).toBe('from the app')
    expect(await (await fetch(`${url}/broken`)).json()).toEqual({ own: 'its own' })
    const wrong = await fetch(`${url}/topics/..%2f`)
    expect([wrong.status, await wrong.json()]).toEqual([
      400,
      { error: expect.objectContaining({ code: 'TOPIC_INVALID' }) },
    ])
    const order = heard(`${url}/topics/orders`)
    while ((hub.getTopic('orders')?.subscribers ?? 0) === 0) await new Promise(setImmediate)
    await fetch(`${url}/orders`, { method: 'POST', body: '{"id":1}', headers: { 'content-type': 'application/json' } })
    expect(await order).toBe('{"id":1}')
  })

  it('shares @fastify/websocket with an app that has it already', async () => {
    const { url, hub } = await start(async (host, hub) => {
      await host.register(websocket)
      await host.register(hubline, { hub })
    })
    const first = heard(`${url}/topics/a`)
    while ((hub.getTopic('a')?.subscribers ?? 0) === 0) await new Promise(setImmediate)
    hub.routeData('a', Buffer.from('hello'))
    expect(await first).toBe('hello')
  })

  it('ends at once beside a connection that sends nothing, where Fastify closes connections by force', async () => {
    app = Fastify({ forceCloseConnections: true })
    await app.register(hubline, { hub: createHub(), shutdown: { spreadMs: 0 } })
    const url = await app.listen({ port: 0, host: '127.0.0.1' })
    const silent = connect(Number(new URL(url).port), '127.0.0.1')
    await once(silent, 'connect')
    const events = await fetch(`${url}/topics/a`, { headers: { accept: 'text/event-stream' } })
    const begun = performance.now()
    await Promise.all([app.close(), once(silent.resume(), 'close')])
    expect(performance.now() - begun).toBeLessThan(5000)
    expect(await events.text()).toContain('event: close')
  })

  it('closes the hub with the app', async () => {
    const { url, hub } = await start(async (host, hub) => {
      await host.register(hubline, { hub })
    })
    const stream = await fetch(`${url}/topics/a`)
    await app.close()
    expect(await stream.text()).toBe('')
    expect(() => hub.routeData('a', new Uint8Array(1))).toThrow('shutting down')
  })
})
