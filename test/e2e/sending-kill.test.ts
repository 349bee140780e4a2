import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { afterEach, describe, expect, it } from 'vitest'
import type { DeliveryPolicy } from '../../src/core/policy.ts'
import { createHub } from '../../src/hub.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { reliable } from '../../src/policies/reliable.ts'
import { CallbackClients } from '../../src/transports/callback.ts'

interface Line {
  readonly id: string
  readonly client: string
  readonly event: 'message' | 'send' | 'gap'
  readonly body: string
}

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** Receivers that follow each other on one port. */
class MortalReceiver {
  readonly port: number
  readonly lines: Line[] = []
  #process: ChildProcess | undefined

  constructor(port: number) {
    this.port = port
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, ['test/e2e/sending/receiver.mjs', `${this.port}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.#process = child
    const output = createInterface(child.stdout!)
    await once(output, 'line')
    output.on('line', line => this.lines.push(JSON.parse(line)))
  }

  async kill(): Promise<void> {
    const child = this.#process!
    child.kill('SIGKILL')
    await once(child, 'close')
  }
}

const until = (condition: () => boolean): Promise<void> =>
  expect.poll(condition, { timeout: 15_000, interval: 5 }).toBe(true)

describe('a receiver that is killed and comes back', () => {
  const CLIENTS = ['a', 'b', 'c']

  async function killAndBringBack(policy: DeliveryPolicy) {
    const receiver = new MortalReceiver(await freePort())
    await receiver.start()
    ends.push(() => receiver.kill())
    const hub = createHub()
    // More failures than one message has attempts: each client gives one up before its circuit opens.
    const breaker = { failures: 6, coolDownMs: 150 }
    const callbacks = new CallbackClients(hub, { allow: ['127.0.0.1'], retry: { baseMs: 5 }, breaker })
    ends.push(async () => {
      await hub.close()
      await callbacks.close()
    })
    const circuits: string[] = []
    hub.events.on('circuit', ({ id, circuit }) => id === 'a' && circuits.push(circuit))
    for (const id of CLIENTS) {
      callbacks.register({ id, url: `http://127.0.0.1:${receiver.port}/${id}`, topics: [{ name: 'news', policy }] })
    }

    let published = 0
    const source = setInterval(() => hub.routeData('news', Buffer.from(`${published++}`)), 2)
    ends.push(() => clearInterval(source))
    await until(() => receiver.lines.length > 100)
    await receiver.kill()
    await until(() => circuits.filter(circuit => circuit === 'half-open').length >= 2)
    await receiver.start()
    await until(() => circuits.at(-1) === 'closed')
    const before = receiver.lines.length
    await until(() => receiver.lines.length > before + 100)
    clearInterval(source)
    await until(() => hub.getConnectionStats().pending === 0)

    const stats = hub.getConnectionStats()
    console.log(
      `${policy.name}: published ${published}, requests ${receiver.lines.length}, circuits`,
      circuits.join(' '),
      stats.drops,
    )
    expect(stats.clients).toBe(CLIENTS.length)
    expect(circuits).toEqual([
      'open',
      ...circuits.slice(1, -2).map((_, i) => (i % 2 === 0 ? 'half-open' : 'open')),
      'half-open',
      'closed',
    ])
    const received = CLIENTS.map(client => {
      const seen = new Map(
        receiver.lines
          .filter(line => line.client === client && line.event === 'message')
          .map(({ id, body }) => [id, Number(body)]),
      )
      return [...seen.values()]
    })
    return { hub, published, received }
  }

  it('has everything under reliable, each message in its place', { timeout: 60_000 }, async () => {
    const { hub, published, received } = await killAndBringBack(reliable({ ackMs: 500, bytes: 1024 * 1024 }))
    const all = Array.from({ length: published }, (_, i) => i)
    for (const numbers of received) expect(numbers).toEqual(all)
    expect(hub.getConnectionStats()).toMatchObject({ delivered: published * CLIENTS.length, dropped: 0 })
  })

  it('has everything but what was given up under buffered, in order', { timeout: 60_000 }, async () => {
    const { hub, published, received } = await killAndBringBack(buffered())
    const { delivered, dropped } = hub.getConnectionStats()
    expect(delivered + dropped).toBe(published * CLIENTS.length)
    expect(dropped).toBeGreaterThanOrEqual(CLIENTS.length)
    for (const numbers of received) expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
    const arrived = received.reduce((sum, { length }) => sum + length, 0)
    // One may have arrived though its answer did not, once per client.
    expect(arrived - delivered).toBeGreaterThanOrEqual(0)
    expect(arrived - delivered).toBeLessThanOrEqual(CLIENTS.length)
  })
})
