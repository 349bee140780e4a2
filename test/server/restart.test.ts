import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { redisStore } from '../../src/stores/redis.ts'
import { freePort, RedisServer, withoutRedis } from '../stores/redis-server.ts'
import { httpReceiver, type Receiver } from '../transports/receiver.ts'
import { ask, askJson, listen, until } from './http.ts'
import { startTestServer, type TestServer } from './test-server.ts'

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
const servers: TestServer[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close()
})

async function start(flags: object): Promise<TestServer> {
  const server = await startTestServer({ callbacks: { allow: ['127.0.0.1'] }, ...flags })
  servers.push(server)
  return server
}

async function stop(server: TestServer): Promise<void> {
  servers.splice(servers.indexOf(server), 1)
  await server.close()
}

const ready = async (server: TestServer) => {
  const { status, body } = await ask(`${server.url}/health/ready`)
  return [status, body]
}

describe.skipIf(withoutRedis)('a server whose store is Redis', () => {
  let redis: RedisServer
  let receiver: Receiver
  beforeAll(async () => {
    redis = await RedisServer.start()
    receiver = await httpReceiver(response => response.end())
  })
  afterAll(async () => {
    await redis.kill()
    await receiver[Symbol.asyncDispose]()
  })

  it('has its callback clients again after a restart, and another node has not', async () => {
    const store = { redisUrl: redis.url, node: 'one' }
    const first = await start({ store })
    const topics = ['news', { name: 'prices', policy: { name: 'reliable', window: 7 } }]
    const wanted = { id: 'hook', url: receiver.url.href, secret: SECRET, user: 'ann', topics }
    expect((await askJson(`${first.url}/api/clients`, wanted)).status).toBe(201)
    await askJson(`${first.url}/api/clients/hook/subscriptions`, { topic: 'later' })
    await stop(first)

    const other = await start({ store: { ...store, node: 'two' } })
    expect(other.hub.selectClients({ all: true })).toEqual([])
    const second = await start({ store })
    expect(await ready(second)).toEqual([200, { status: 'ok' }])
    const { user, subscriptions } = second.hub.getClient('hook')
    expect([user, subscriptions.map(({ topic, wish }) => [topic, wish?.window]).sort()]).toEqual([
      'ann',
      [
        ['later', undefined],
        ['news', undefined],
        ['prices', 7],
      ],
    ])
    await fetch(`${second.url}/topics/news`, { method: 'POST', body: 'again' })
    await until(() => receiver.requests.length === 1)
    expect(receiver.requests[0]!.headers['webhook-signature']).toMatch(/^v1,/)
    // The backend that registers it at its own start changes nothing, and one that ends it ends it for good.
    expect((await askJson(`${second.url}/api/clients`, { ...wanted, topics: undefined })).status).toBe(200)
    expect((await ask(`${second.url}/api/clients/hook`, { method: 'DELETE' })).status).toBe(204)
    await stop(second)
    expect((await start({ store })).hub.selectClients({ all: true })).toEqual([])
  })

  it('tells others that share the store of its sockets, while they are there', async () => {
    const server = await start({ store: { redisUrl: redis.url, node: 'sockets' } })
    const store = redisStore({ url: redis.url })
    const { webSocket } = await listen(server.url, 'ada')
    for (;;) if ((await store.get('ada'))?.node === 'sockets') break
    webSocket.close()
    for (;;) if ((await store.get('ada')) === undefined) break
    await store.close()
  })

  it('takes nothing from a server of its own name that has the port', async () => {
    const store = { redisUrl: redis.url, node: 'twice' }
    const first = await start({ store })
    const { webSocket } = await listen(first.url, 'held')
    const other = redisStore({ url: redis.url })
    for (;;) if ((await other.get('held')) !== undefined) break
    const second = start({ store, port: Number(new URL(first.url).port) })
    await expect(second).rejects.toMatchObject({ code: 'PORT_IN_USE' })
    expect((await other.get('held'))?.node).toBe('twice')
    webSocket.close()
    await other.close()
  })

  it('ends in its time although the store answers nothing', async () => {
    const server = await start({ store: { redisUrl: redis.url, node: 'paused' }, drainMs: 1000 })
    await askJson(`${server.url}/api/clients`, { url: receiver.url.href })
    redis.pause()
    try {
      await askJson(`${server.url}/api/clients`, { url: receiver.url.href })
      // Redis stays paused until the server has ended: a store that is waited for would hold it for ever.
      await stop(server)
    } finally {
      redis.resume()
    }
  })
})

describe('a server whose store is out of reach', () => {
  it('starts without it, says so, and takes clients all the same', async () => {
    const server = await start({ store: { redisUrl: `redis://:hidden@127.0.0.1:${await freePort()}` } })
    expect(await ready(server)).toEqual([200, { status: 'degraded', why: 'store: redis is out of reach' }])
    expect((await askJson(`${server.url}/api/clients`, { id: 'hook', url: 'http://127.0.0.1:1/' })).status).toBe(201)
    const { webSocket } = await listen(server.url, 'ada')
    webSocket.close()
  })

  it('that is none at all stops the start', async () => {
    await expect(start({ store: { redisUrl: 'http://127.0.0.1' } })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })
})
