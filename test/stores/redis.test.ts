import { execFile } from 'node:child_process'
import { inspect, promisify } from 'node:util'
import { Cluster, Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { ConnectionStore } from '../../src/stores/connection-store.ts'
import { type RedisStoreOptions, redisStore } from '../../src/stores/redis.ts'
import { freePort, RedisServer, withoutRedis } from './redis-server.ts'

const record = (id: string, more: object = {}) => ({ id, node: 'n', protocol: 'websocket', connectedAt: 0, ...more })

/** Closed when the test is over. */
function open(options: RedisStoreOptions): ConnectionStore {
  const store = redisStore(options)
  onTestFinished(() => store.close())
  return store
}

/** Every method that asks Redis something. */
const askAll = (store: ConnectionStore): Promise<unknown>[] => [
  store.put(record('a')),
  store.get('a'),
  store.touch([{ id: 'a', lastSendAt: 1 }]),
  store.delete('a'),
  store.listByUser('u'),
  store.listByNode('n'),
]

/** What each promise was rejected with, and how long the last of them took, in ms. */
async function refusals(asked: Promise<unknown>[]): Promise<{ errors: unknown[]; ms: number }> {
  const start = performance.now()
  const settled = await Promise.allSettled(asked)
  const errors = settled.map(each => (each.status === 'rejected' ? each.reason : undefined))
  return { errors, ms: performance.now() - start }
}

const runNode = (args: string[], options: object) => promisify(execFile)(process.execPath, args, options)

const WAIT = { timeout: 10_000 }
const works = (store: ConnectionStore) => () => store.put(record('again')).then(() => 'works', String)

describe('redisStore', () => {
  it.each([
    ['neither url nor client', {}, 'redisStore: give one of url and client'],
    ['both', { url: 'redis://127.0.0.1:1', client: { defineCommand() {} } }, 'redisStore: give one of url and client'],
    ['no client of ioredis', { client: {} }, 'redisStore: client must be a client of ioredis'],
    ['a mistake in a name', { url: 'redis://127.0.0.1:1', prefx: 'a' }, 'did you mean "prefix"?'],
    ['another kind of url', { url: 'http://user:secret@localhost' }, 'url: '],
    [
      'no time',
      { url: 'redis://127.0.0.1:1', timeoutMs: 0 },
      'timeoutMs must be a number over 0 and at most 2147483647, got ',
    ],
    [
      'a time that is no number',
      { url: 'redis://127.0.0.1:1', timeoutMs: Number.NaN },
      'timeoutMs must be a number over 0 and at most 2147483647, got ',
    ],
    [
      'a time that no timer has',
      { url: 'redis://127.0.0.1:1', timeoutMs: 2 ** 31 },
      'timeoutMs must be a number over 0 and at most 2147483647, got ',
    ],
  ])('refuses %s', (_, options, message) => {
    const make = () => redisStore(options as unknown as RedisStoreOptions)
    expect(make).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
    expect(make).toThrow(message)
    expect(make).not.toThrow('secret')
  })
})

describe.skipIf(withoutRedis)('redisStore, on a server', () => {
  let server: RedisServer
  let raw: Redis
  let stores = 0
  beforeAll(async () => {
    server = await RedisServer.start()
    raw = new Redis(server.url)
  })
  afterAll(async () => {
    raw?.disconnect()
    await server?.kill()
  })
  const unused = () => `test ${stores++}:`

  it('takes calls before it is connected', async () => {
    const store = open({ url: server.url, prefix: unused() })
    expect(store.name).toBe('redis')
    await Promise.all([store.put(record('a')), store.put(record('b'))])
    expect(await store.get('b')).toEqual(record('b'))
  })

  it('is one with every store of the same prefix, and knows nothing of others', async () => {
    const prefix = unused()
    const one = open({ url: server.url, prefix })
    const two = open({ url: server.url, prefix })
    const inner = open({ url: server.url, prefix: `${prefix}user:` })
    await one.put(record('a', { user: 'ada' }))
    expect(await two.get('a')).toEqual(record('a', { user: 'ada' }))
    await two.touch([{ id: 'a', lastSendAt: 1 }])
    expect(await one.listByUser('ada')).toEqual([record('a', { user: 'ada', lastSendAt: 1 })])
    // As texts side by side, both would be the same key.
    await one.put(record('b', { user: 'connection:a' }))
    await inner.put(record('a', { user: 'bob' }))
    expect(await inner.listByNode('n')).toEqual([record('a', { user: 'bob' })])
    expect(await one.listByUser('connection:a')).toEqual([record('b', { user: 'connection:a' })])
    expect(await two.delete('a')).toBe(true)
    expect(await one.get('a')).toBeUndefined()
  })

  it('leaves no key behind', async () => {
    const prefix = unused()
    const store = open({ url: server.url, prefix })
    const before = await raw.dbsize()
    await store.put(record('a', { user: 'ada' }))
    await store.put(record('a', { user: 'bob', node: 'm' }))
    expect((await raw.keys(`${prefix}*`)).sort()).toEqual(
      ['connection:"a"', 'node:"m"', 'user:"bob"'].map(key => prefix + key),
    )
    await store.delete('a')
    expect(await raw.dbsize()).toBe(before)
  })

  it('lets Redis forget a record when its time comes, and an index with the last of its records', async () => {
    const prefix = unused()
    const store = open({ url: server.url, prefix })
    const soon = Date.now() + 3_600_000
    const keys = ['connection:"a"', 'user:"ada"', 'node:"n"'].map(key => prefix + key)
    const times = () => Promise.all(keys.map(key => raw.pexpiretime(key)))
    await store.put(record('a', { user: 'ada', expiresAt: soon }))
    expect(await times()).toEqual([soon, soon, soon])
    await store.put(record('b', { user: 'ada', expiresAt: soon + 5000.5 }))
    expect(await times()).toEqual([soon, soon + 5001, soon + 5001])
    await store.touch([{ id: 'a', expiresAt: soon + 9000 }])
    expect(await times()).toEqual([soon + 9000, soon + 9000, soon + 9000])
    // -1: for ever.
    await store.put(record('c'))
    expect(await times()).toEqual([soon + 9000, soon + 9000, -1])
    await store.delete('c')
    await store.delete('a')
    expect(await times()).toEqual([-2, soon + 5001, soon + 5001])
    await store.put(record('a', { expiresAt: Number.MAX_VALUE }))
    expect(await store.get('a')).toEqual(record('a', { expiresAt: Number.MAX_VALUE }))
    await store.touch(['a', 'b'].map(id => ({ id, expiresAt: 1 })))
    expect(await raw.keys(`${prefix}*`)).toEqual([])
  })

  it('takes ids out of an index when their time has come, though nobody lists it', async () => {
    const prefix = unused()
    let now = Date.now() + 3_600_000
    const store = open({ url: server.url, prefix, now: () => now })
    for (let i = 0; i < 20; i++) await store.put(record(`${i}`, { user: 'ada', expiresAt: now + 1000 }))
    now += 1000
    await store.put(record('new', { user: 'ada' }))
    expect(await raw.zrange(`${prefix}user:"ada"`, '0', '-1')).toEqual(['"new"'])
    expect(await raw.zrange(`${prefix}node:"n"`, '0', '-1')).toEqual(['"new"'])
  })

  it('takes ids out of an index whose record is gone or belongs to another', async () => {
    const prefix = unused()
    const store = open({ url: server.url, prefix })
    for (const id of ['gone', 'moved', 'here']) await store.put(record(id, { user: 'ada' }))
    await raw.del(`${prefix}connection:"gone"`, `${prefix}connection:"moved"`)
    await store.put(record('moved', { user: 'bob' }))
    expect(await store.listByUser('ada')).toEqual([record('here', { user: 'ada' })])
    expect(await raw.zrange(`${prefix}user:"ada"`, '0', '-1')).toEqual(['"here"'])
    expect((await store.listByNode('n')).map(({ id }) => id).sort()).toEqual(['here', 'moved'])
    // What it held on to for them, it lets go.
    const expiresAt = Date.now() + 3_600_000
    await store.touch([{ id: 'here', expiresAt }])
    await raw.del(`${prefix}connection:"moved"`)
    await store.listByNode('n')
    expect(await raw.pexpiretime(`${prefix}node:"n"`)).toBe(expiresAt)
  })

  it.each<[string, (key: string) => Promise<unknown>]>([
    ['no hash', key => raw.set(key, '{"id":"a"}')],
    ['no JSON', key => raw.hset(key, { node: '"n"', protocol: 'websocket', connectedAt: '0', user: '"ada"' })],
    ['no number', key => raw.hset(key, { node: '"n"', protocol: '"w"', connectedAt: '"0"', user: '"ada"' })],
    ['no protocol', key => raw.hset(key, { node: '"n"', connectedAt: '0', user: '"ada"' })],
    [
      'a time that is none',
      key => raw.hset(key, { node: '"n"', protocol: '"w"', connectedAt: '0', expiresAt: 'null' }),
    ],
  ])('takes for absent what somebody else wrote: %s', async (_, write) => {
    const prefix = unused()
    const store = open({ url: server.url, prefix })
    const key = `${prefix}connection:"a"`
    const spoil = async () => {
      await raw.del(key)
      await write(key)
      for (const index of ['user:"ada"', 'node:"n"']) await raw.zadd(prefix + index, '+inf', '"a"', '+inf', 'no JSON')
    }
    await spoil()
    expect(await store.get('a')).toBeUndefined()
    expect(await store.listByUser('ada')).toEqual([])
    expect(await store.listByNode('n')).toEqual([])
    await store.touch([{ id: 'a', lastSendAt: 1 }])
    expect(await store.delete('a')).toBe(false)
    await spoil()
    await store.put(record('a', { user: 'ada' }))
    expect(await store.get('a')).toEqual(record('a', { user: 'ada' }))
    expect(await store.listByUser('ada')).toEqual([record('a', { user: 'ada' })])
  })

  it('tells nobody what it sent, not even in an error', async () => {
    const prefix = unused()
    const store = open({ url: server.url, prefix })
    await raw.set(`${prefix}node:"n"`, 'no index')
    const error = await store.put(record('a', { restore: { token: 'secret' } })).catch(error => error)
    expect(error).toMatchObject({ message: expect.stringContaining('WRONGTYPE') })
    expect(inspect(error, { depth: null, showHidden: true })).not.toContain('secret')
  })

  it('closes a client of its own, and lets what was sent be answered', async () => {
    const prefix = unused()
    const store = redisStore({ url: server.url, prefix })
    const [put] = [store.put(record('a')), store.get('a')]
    await store.close()
    await put
    expect(await raw.exists(`${prefix}connection:"a"`)).toBe(1)
    const { errors } = await refusals(askAll(store))
    expect(errors.map(String)).toEqual(Array(6).fill('Error: Connection is closed.'))
  })

  it('leaves a client of yours open', async () => {
    const store = redisStore({ client: raw, prefix: unused() })
    await store.put(record('a'))
    await store.close()
    expect(await raw.ping()).toBe('PONG')
  })
})

describe.skipIf(withoutRedis)('redisStore, when Redis is away', () => {
  it('rejects at once with what the driver says, prints nothing, and works when Redis has come', async () => {
    const printed = vi.spyOn(console, 'error').mockImplementation(() => {})
    onTestFinished(() => printed.mockRestore())
    const port = await freePort()
    const store = open({ url: `redis://127.0.0.1:${port}`, timeoutMs: 20_000 })
    const first = await refusals(askAll(store))
    const second = await refusals(askAll(store))
    for (const { errors, ms } of [first, second]) {
      expect(errors).toEqual(Array(6).fill(expect.objectContaining({ code: 'ECONNREFUSED' })))
      // Not by the timeout.
      expect(ms).toBeLessThan(20_000)
    }
    const server = await RedisServer.start(port)
    onTestFinished(() => server.kill())
    await expect.poll(works(store), WAIT).toBe('works')
    expect(printed).not.toHaveBeenCalled()
  })

  it('rejects while Redis is killed, and works with the one that takes its place', async () => {
    const server = await RedisServer.start()
    const store = open({ url: server.url, timeoutMs: 20_000 })
    await Promise.all(askAll(store))
    // All of them on their way, and none answered.
    server.pause()
    const underWay = refusals(askAll(store))
    await server.kill()
    for (const { errors, ms } of [await underWay, await refusals(askAll(store))]) {
      expect(errors.map(error => error instanceof Error)).toEqual(Array(6).fill(true))
      expect(errors).not.toContainEqual(expect.objectContaining({ code: 'STORE_UNAVAILABLE' }))
      expect(ms).toBeLessThan(20_000)
    }
    const next = await RedisServer.start(server.port)
    onTestFinished(() => next.kill())
    await expect.poll(works(store), WAIT).toBe('works')
    expect((await store.listByNode('n')).map(({ id }) => id)).toEqual(['again'])
  })

  it('rejects within its time when Redis answers nothing, and gives that connection up', async () => {
    const server = await RedisServer.start()
    onTestFinished(() => server.kill())
    const store = open({ url: server.url, timeoutMs: 400 })
    await store.put(record('a'))
    server.pause()
    const { errors, ms } = await refusals(askAll(store))
    expect(errors.map(error => error instanceof Error)).toEqual(Array(6).fill(true))
    // Redis is paused until it is told to go on: without a time of its own this would never end.
    expect(ms).toBeGreaterThan(300)
    // From then on nothing is sent that nobody answers.
    const quick = async () => (await refusals(askAll(store))).ms
    await expect.poll(quick, WAIT).toBeLessThan(300)
    server.resume()
    await expect.poll(works(store), WAIT).toBe('works')
  })

  it('rejects within its time with a client of yours, whatever that one would do', async () => {
    const server = await RedisServer.start()
    onTestFinished(() => server.kill())
    const client = new Redis(server.url)
    onTestFinished(() => client.disconnect())
    const store = open({ client, timeoutMs: 400 })
    await store.put(record('a'))
    server.pause()
    const { errors } = await refusals(askAll(store))
    const code = 'STORE_UNAVAILABLE'
    expect(errors).toEqual(Array(6).fill(expect.objectContaining({ code, message: expect.stringContaining('400 ms') })))
    server.resume()
    await expect.poll(works(store), WAIT).toBe('works')
  })

  it('rejects with what Redis says of a wrong password, and does not repeat it', async () => {
    const server = await RedisServer.start(undefined, ['--requirepass', 'right'])
    onTestFinished(() => server.kill())
    const store = open({ url: server.url.replace('//', '//:secret@') })
    const { errors } = await refusals(askAll(store))
    expect(errors.map(String)).toEqual(Array(6).fill(expect.stringMatching(/WRONGPASS|invalid password/)))
    expect(inspect(errors, { depth: null, showHidden: true })).not.toContain('secret')
  })

  it('lets the process end once it is closed', async () => {
    const program = `import { redisStore } from '${new URL('../../dist/stores/redis.js', import.meta.url)}'
      const store = redisStore({ url: 'redis://127.0.0.1:${await freePort()}' })
      console.log(await store.get('a').catch(error => error.code))
      await store.close()
      const start = performance.now()
      process.once('exit', () => console.log(Math.round(performance.now() - start)))`
    const { stdout } = await runNode(['--input-type=module', '-e', program], { timeout: 40_000 })
    expect(stdout).toMatch(/^ECONNREFUSED\n\d+\n$/)
    // A timer of a reconnect would come again and again: the process would be ended by the timeout above.
    expect(Number(stdout.split('\n')[1])).toBeLessThan(30_000)
  })

  it('closes while Redis answers nothing', async () => {
    const server = await RedisServer.start()
    onTestFinished(() => server.kill())
    const store = redisStore({ url: server.url, timeoutMs: 400 })
    await store.put(record('a'))
    server.pause()
    // Redis stays paused: to wait for its answer is to wait for ever.
    await Promise.all([store.close(), store.close()])
  })
})

describe.skipIf(withoutRedis)('redisStore, in a cluster', () => {
  it('works with a hash tag in its prefix, and is refused without one', async () => {
    const busPort = await freePort()
    const flags = { enabled: 'yes', port: `${busPort}`, 'announce-ip': '127.0.0.1', 'require-full-coverage': 'no' }
    const args = Object.entries(flags).flatMap(([name, value]) => [`--cluster-${name}`, value])
    const server = await RedisServer.start(undefined, args)
    onTestFinished(() => server.kill())
    const node = new Redis(server.url)
    // Only where both prefixes are: a key in any other slot is one of another node.
    for (const key of ['{hubline}:', 'hubline:']) await node.cluster('ADDSLOTS', await node.cluster('KEYSLOT', key))
    await expect.poll(() => node.cluster('INFO'), WAIT).toContain('cluster_state:ok')
    node.disconnect()
    const client = new Cluster([{ host: '127.0.0.1', port: server.port }])
    onTestFinished(() => client.disconnect())
    const tagged = open({ client, prefix: '{hubline}:' })
    await tagged.put(record('a', { user: 'ada' }))
    await tagged.touch([{ id: 'a', lastSendAt: 1 }])
    expect(await tagged.listByUser('ada')).toEqual([record('a', { user: 'ada', lastSendAt: 1 })])
    expect(await tagged.delete('a')).toBe(true)
    await expect(open({ client }).put(record('a'))).rejects.toThrow('non local key')
  })
})
