import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { memoryStore } from '../../src/stores/memory.ts'
import { redisStore } from '../../src/stores/redis.ts'
import { storeContract } from '../../src/testing/store-contract.ts'
import { RedisServer, withoutRedis } from '../stores/redis-server.ts'

/** An hour ahead of Redis, so that the store's clock alone says whose time has come, however slow this machine is. */
let time = Date.now() + 3_600_000
const clock = {
  now: () => time,
  advance(ms: number) {
    time += ms
  },
}

describe('store contract: memory', () => {
  const cases = storeContract({ ...clock, store: () => memoryStore({ now: clock.now }) })
  for (const { name, run } of cases) it(name, run)
})

describe.skipIf(withoutRedis)('store contract: Redis', () => {
  let server: RedisServer
  let client: Redis
  let stores = 0
  /** A store that holds nothing is one with a prefix of its own. */
  const unused = () => ({ prefix: `hubline:${stores++}:`, now: clock.now })

  beforeAll(async () => {
    server = await RedisServer.start()
    client = new Redis(server.url, { keyPrefix: 'of the client:' })
  })
  afterAll(async () => {
    client?.disconnect()
    await server?.kill()
  })

  describe('with a url', () => {
    const cases = storeContract({ ...clock, store: () => redisStore({ ...unused(), url: server.url }) })
    for (const { name, run } of cases) it(name, run)
  })

  describe('with a client, which puts a prefix of its own before every key', () => {
    const cases = storeContract({ ...clock, store: () => redisStore({ ...unused(), client }) })
    for (const { name, run } of cases) it(name, run)
  })
})
