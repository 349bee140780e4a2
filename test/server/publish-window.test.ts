import { once } from 'node:events'
import Fastify from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import type { Broker, Publication } from '../../src/core/broker.ts'
import { createHub } from '../../src/hub.ts'
import { hubline } from '../../src/server/fastify.ts'

const ends: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const end of ends.splice(0)) await end()
})

/** A broker that accepts nothing until it is told to. */
class SlowBroker implements Broker {
  readonly name = 'slow'
  readonly given: Publication[] = []
  readonly #settle: { accept: (result: undefined) => void; refuse: (error: Error) => void }[] = []
  open = false

  start(): void {}
  join(): void {}
  leave(): void {}
  close(): void {}

  publish(publication: Publication): Promise<undefined> {
    this.given.push(publication)
    if (this.open) return Promise.resolve(undefined)
    return new Promise((accept, refuse) => this.#settle.push({ accept, refuse }))
  }

  get inFlight(): number {
    return this.#settle.length
  }

  /** The newest first: brokers may answer in any order. */
  acceptAll(): void {
    for (const { accept } of this.#settle.splice(0).reverse()) accept(undefined)
  }

  refuseOne(): void {
    this.#settle.shift()!.refuse(new Error('down'))
  }

  get texts(): string[] {
    return this.given.map(({ data }) => Buffer.from(data).toString())
  }
}

async function serve() {
  const broker = new SlowBroker()
  const hub = createHub({ broker })
  hub.events.on('fault', () => {})
  const app = Fastify()
  await app.register(hubline, { hub, edge: { limits: { messagesPerSecondPerClient: 1_000_000 } } })
  const url = (await app.listen({ port: 0, host: '127.0.0.1' })).replace('http', 'ws')
  ends.push(async () => {
    broker.open = true
    broker.acceptAll()
    await app.close()
  })
  return { broker, hub, url }
}

async function open(url: string): Promise<WebSocket> {
  const client = new WebSocket(url)
  await once(client, 'open')
  ends.unshift(async () => client.terminate())
  return client
}

const MESSAGES = 3000
const numbers = Array.from({ length: MESSAGES }, (_, n) => `${n}`)

describe('a WebSocket that publishes faster than its broker accepts', () => {
  it('has a window: 64 messages are in flight, the rest waits, and all are published in their order', async () => {
    const { broker, hub, url } = await serve()
    const client = await open(`${url}/topics/a?role=publisher`)
    // 12 MB: more than the kernel holds for both ends.
    const text = 'x'.repeat(4096)
    for (const n of numbers) client.send(`${n} ${text}`)
    await expect.poll(() => broker.inFlight).toBe(64)
    // A round trip through the process: what it would have read by now, it has.
    const other = await open(`${url}/topics/b`)
    other.terminate()
    expect(broker.inFlight).toBe(64)
    expect(client.bufferedAmount).toBeGreaterThan(0)
    broker.open = true
    broker.acceptAll()
    await expect.poll(() => broker.given.length, { timeout: 10_000 }).toBe(MESSAGES)
    expect(broker.texts.map(each => each.split(' ')[0])).toEqual(numbers)
    expect(hub.getConnectionStats().clients).toBeGreaterThanOrEqual(1)
  })

  it('has one in bytes too', async () => {
    const { broker, url } = await serve()
    const client = await open(`${url}/topics/a?role=publisher`)
    for (let n = 0; n < 10; n++) client.send(Buffer.alloc(600_000, n))
    await expect.poll(() => broker.inFlight).toBe(2)
    broker.acceptAll()
    await expect.poll(() => broker.given.length).toBe(4)
    expect(broker.given.map(({ data }) => data[0])).toEqual([0, 1, 2, 3])
  })

  it('ends where the broker refuses one, and nothing that waited is published', async () => {
    const { broker, url } = await serve()
    const client = await open(`${url}/topics/a?role=publisher`)
    const closed = once(client, 'close')
    for (const n of numbers.slice(0, 200)) client.send(n)
    await expect.poll(() => broker.inFlight).toBe(64)
    broker.refuseOne()
    expect((await closed)[0]).toBe(4400)
    expect(broker.given).toHaveLength(64)
  })
})

describe('a client of the client protocol', () => {
  async function connected(url: string) {
    const client = await open(`${url}/connection/websocket`)
    const replies: { id: number; error?: object }[] = []
    client.on('message', data => replies.push(...`${data}`.split('\n').map(line => JSON.parse(line))))
    client.send('{"id":1,"connect":{}}')
    await expect.poll(() => replies.length).toBe(1)
    replies.length = 0
    const publish = (id: number) => JSON.stringify({ id, publish: { channel: 'a', data: id } })
    return { client, replies, publish }
  }

  it('has up to 64 publications with the broker, and is replied to in their order', async () => {
    const { broker, url } = await serve()
    const { client, replies, publish } = await connected(url)
    const ids = Array.from({ length: 300 }, (_, n) => n + 2)
    client.send(ids.map(publish).join('\n'))
    await expect.poll(() => broker.inFlight).toBe(64)
    expect(replies).toEqual([])
    while (broker.given.length < ids.length) {
      const before = broker.given.length
      broker.acceptAll()
      await expect.poll(() => broker.given.length).toBeGreaterThan(before)
      expect(broker.inFlight).toBeLessThanOrEqual(64)
    }
    broker.acceptAll()
    await expect.poll(() => replies.length).toBe(ids.length)
    expect(replies.map(({ id }) => id)).toEqual(ids)
    expect(broker.texts).toEqual(ids.map(String))
  })

  it('is told which one failed, and another command waits for the publications before it', async () => {
    const { broker, url } = await serve()
    const { client, replies, publish } = await connected(url)
    client.send([publish(2), publish(3), '{"id":4,"subscribe":{"channel":"b"}}'].join('\n'))
    await expect.poll(() => broker.inFlight).toBe(2)
    broker.refuseOne()
    await expect.poll(() => replies.length).toBe(1)
    expect(replies[0]).toMatchObject({ id: 2, error: { code: 100 } })
    broker.acceptAll()
    await expect.poll(() => replies.length).toBe(3)
    expect(replies.slice(1)).toMatchObject([
      { id: 3, publish: {} },
      { id: 4, subscribe: {} },
    ])
  })
})
