import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { afterEach, expect, it } from 'vitest'
import { createHub, type Hub } from '../../src/hub.ts'
import { hubline } from '../../src/server/fastify.ts'
import { CallbackClients } from '../../src/transports/callback.ts'
import { httpReceiver } from '../transports/receiver.ts'
import { ask, askJson, until } from './http.ts'

/** The plugin in an app of one's own, with clients that are URLs, and what it logs. */

let app: FastifyInstance
let hub: Hub
let callbacks: CallbackClients
let lines: Record<string, unknown>[]
afterEach(async () => {
  await app.close()
  await callbacks.close()
})

async function start(): Promise<string> {
  hub = createHub()
  lines = []
  const write = (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>)
  const loggerInstance: FastifyBaseLogger = pino({ base: null, timestamp: false }, { write })
  app = Fastify({ loggerInstance })
  callbacks = new CallbackClients(hub, { allow: ['127.0.0.1'], retry: { retries: 1, baseMs: 1 } })
  await app.register(hubline, { hub, callbacks })
  return app.listen({ port: 0, host: '127.0.0.1' })
}

const said = (message: string) => lines.filter(({ msg }) => msg === message)

it('one id joins a publication, its attempts and its loss, in the log and at the receiver', async () => {
  const url = await start()
  await using receiver = await httpReceiver(response => response.writeHead(503).end())
  await askJson(`${url}/api/clients`, { id: 'shop', url: `${receiver.url.href}?token=hidden`, topics: ['orders'] })
  const headers = { 'x-correlation-id': 'order-7' }
  const published = await ask(`${url}/topics/orders`, { method: 'POST', body: 'tea', headers })
  expect(published.headers.get('x-correlation-id')).toBe('order-7')
  await until(() => said('delivery given up').length > 0)
  const about = {
    client: 'shop',
    topic: 'orders',
    messageId: `${published.body.epoch}-1`,
    correlationId: 'order-7',
    why: 'status 503',
  }
  // What follows is a notice of the loss, which is nobody's work.
  const [tried] = said('delivery failed, tried again')
  expect(tried).toMatchObject({ ...about, attempts: 1, waitMs: expect.any(Number) })
  expect(said('delivery given up')[0]).toMatchObject({ ...about, attempts: 2 })
  const sent = receiver.requests.filter(({ headers }) => headers['hubline-event'] === 'message')
  expect(sent.map(({ headers }) => headers['x-correlation-id'])).toEqual(['order-7', 'order-7'])
  expect(JSON.stringify(lines)).not.toContain('hidden')
})

it('a client that is a URL has its two lines, with the id of the request that registered it', async () => {
  const url = await start()
  const wanted = { id: 'shop', url: 'http://127.0.0.1:1/' }
  await askJson(`${url}/api/clients`, wanted)
  await askJson(`${url}/api/clients`, wanted)
  await ask(`${url}/api/clients/shop`, { method: 'DELETE' })
  await askJson(`${url}/api/clients`, wanted)
  await ask(`${url}/api/clients/shop`, { method: 'DELETE' })
  const about = { client: 'shop', protocol: 'callback' }
  const [first, second] = said('client connected')
  expect(said('client connected')).toMatchObject([about, about])
  expect(said('client disconnected')).toMatchObject([
    { ...about, reason: 'ended', reqId: first!.reqId },
    { ...about, reason: 'ended', reqId: second!.reqId },
  ])
})

it('what is a request’s own id goes with a publication only where it fits into a header', async () => {
  hub = createHub()
  lines = []
  callbacks = new CallbackClients(hub, { allow: ['127.0.0.1'] })
  app = Fastify({ genReqId: () => 'two words' })
  await app.register(hubline, { hub, callbacks })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  await using receiver = await httpReceiver(response => response.end())
  await askJson(`${url}/api/clients`, { id: 'shop', url: receiver.url.href, topics: ['orders'] })
  const { status, headers } = await ask(`${url}/topics/orders`, { method: 'POST', body: 'tea' })
  expect([status, headers.get('x-correlation-id')]).toEqual([202, null])
  await until(() => receiver.requests.length === 1)
  expect(receiver.requests[0]!.headers['x-correlation-id']).toBeUndefined()
})
