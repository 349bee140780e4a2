import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { afterEach, describe, expect, it } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { createHub } from '../../src/hub.ts'
import { CallbackClients, type CallbackOptions } from '../../src/transports/callback.ts'

const ends: (() => unknown)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

/** Answers each request as told, once its body is there. */
async function serve(
  answer: (request: IncomingMessage, response: ServerResponse, body: string) => void,
): Promise<string> {
  const server = createServer((request, response) => {
    buffer(request).then(
      body => answer(request, response, body.toString()),
      () => {},
    )
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  ends.push(() => {
    server.close()
    server.closeAllConnections()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function setUp(options: CallbackOptions = {}) {
  const hub = createHub()
  const clients = new CallbackClients(hub, { allow: ['127.0.0.1'], ...options })
  ends.push(async () => {
    await hub.close()
    await clients.close()
  })
  return { hub, clients }
}

function count<T extends string>(all: readonly T[]): Partial<Record<T, number>> {
  const counts: Partial<Record<T, number>> = {}
  for (const each of all) counts[each] = (counts[each] ?? 0) + 1
  return counts
}

/** Between 0 and 1, and always the same of the same text: what becomes of a request does not depend on the machine. */
function chanceOf(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE() / 2 ** 32
}

type Answer = 'ok' | '500' | '410' | 'never'

/**
 * A receiver that honours idempotency keys: what it has done it does not do again. Of its requests 30 % end in a 500, half of them after
 * the work was done, 5 % in 410, as does all that comes to the same client afterwards, and 5 % are done and never answered.
 */
class FailingReceiver {
  /** Ids in the order in which they were done, by client. */
  readonly done = new Map<string, string[]>()
  readonly gone = new Set<string>()
  readonly answers: Answer[] = []
  afterGone = 0
  readonly #ids = new Set<string>()
  readonly #requests = new Map<string, number>()

  take = ({ headers }: IncomingMessage, response: ServerResponse): void => {
    const { 'idempotency-key': id, 'hubline-client': client } = headers as Record<
      'idempotency-key' | 'hubline-client',
      string
    >
    const attempt = (this.#requests.get(id) ?? 0) + 1
    this.#requests.set(id, attempt)
    if (this.gone.has(client)) this.afterGone++
    const chance = chanceOf(`${id} ${attempt}`)
    const answer = this.gone.has(client) || chance < 0.05 ? '410' : chance < 0.1 ? 'never' : chance < 0.4 ? '500' : 'ok'
    this.answers.push(answer)
    if (answer === '410') this.gone.add(client)
    else if (chance > 0.25 || answer === 'never') this.#work(client, id)
    if (answer !== 'never') response.writeHead(answer === 'ok' ? 200 : Number(answer)).end()
  }

  #work(client: string, id: string): void {
    if (this.#ids.has(id)) return
    this.#ids.add(id)
    this.done.set(client, [...(this.done.get(client) ?? []), id])
  }
}

describe('1,000 concurrent sends to 50 URLs that fail in every way', () => {
  it('each ends in exactly one way, and receiver and hub agree about all of them', { timeout: 60_000 }, async () => {
    const receiver = new FailingReceiver()
    const url = await serve(receiver.take)
    const { hub, clients } = setUp({ timeoutMs: 1500, retry: { baseMs: 5 }, random: () => 0.5 })
    const undelivered: string[] = []
    const removed: string[] = []
    let timeouts = 0
    const failed = ({ why }: { why: string }): void => {
      if (why.startsWith('timeout')) timeouts++
    }
    hub.events.on('retry', failed)
    hub.events.on('undelivered', failed)
    hub.events.on('undelivered', ({ messageId }) => undelivered.push(messageId))
    hub.events.on('circuit', ({ why }) => why && failed({ why }))
    hub.events.on('unregister', ({ id }) => removed.push(id))
    for (let i = 0; i < 50; i++) clients.register({ id: `c${i}`, url: `${url}/${i}` })

    const ended: string[][] = []
    const sends = Array.from({ length: 1000 }, async (_, i) => {
      const id = `m${i}`
      const client = `c${i % 50}`
      const code = await hub.send(client, { i }, { id }).then(
        ({ confirmed }) => (confirmed ? 'delivered' : 'unconfirmed'),
        error => (error instanceof HubError ? error.code : 'another error'),
      )
      ended.push([id, client, code])
    })
    await Promise.all(sends)

    const codes = count(ended.map(([, , code]) => code!))
    console.log('1,000 sends:', codes, 'receiver:', count(receiver.answers), 'timeouts:', timeouts)
    // Each once, each in a way that is documented.
    expect(new Set(ended.map(([id]) => id)).size).toBe(1000)
    expect(ended).toHaveLength(1000)
    const known = ['delivered', 'SEND_FAILED', 'SEND_TIMEOUT', 'CONNECTION_STALE', 'CIRCUIT_OPEN']
    for (const code of Object.keys(codes)) expect(known).toContain(code)
    expect(codes.delivered).toBeGreaterThan(100)

    // The hub's own counts are these, and its requests are those that came in.
    const { send, callback } = hub.getMetrics().operations
    const { delivered, ...errors } = codes
    expect(send).toMatchObject({ count: 1000, active: 0, errors })
    expect(callback.active).toBe(0)
    expect(callback.count + callback.retries).toBe(receiver.answers.length)
    expect(undelivered).toHaveLength((codes.SEND_FAILED ?? 0) + (codes.SEND_TIMEOUT ?? 0))
    // 410 removes a client, nothing else does, and nothing is sent to it afterwards; but where the machine was so slow that the answer came
    // too late, which is then a timeout more than there were requests without an answer.
    const late = timeouts - (count(receiver.answers).never ?? 0)
    expect(late).toBeGreaterThanOrEqual(0)
    expect(receiver.afterGone).toBeLessThanOrEqual(late)
    expect([...receiver.gone]).toEqual(expect.arrayContaining(removed))
    expect(receiver.gone.size - removed.length).toBeLessThanOrEqual(late)
    expect(hub.getConnectionStats()).toMatchObject({ clients: 50 - removed.length, pending: 0, queuedBytes: 0 })

    // No duplicates, nothing out of order, and what was delivered is there.
    for (const [client, ids] of receiver.done) {
      expect(new Set(ids).size).toBe(ids.length)
      const numbers = ids.map(id => Number(id.slice(1)))
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
      const sure = ended.filter(([, to, code]) => to === client && code === 'delivered').map(([id]) => id!)
      expect(ids).toEqual(expect.arrayContaining(sure))
    }
  })
})

describe('a broadcast to 100 clients that are URLs', () => {
  /** 50 ms on a machine that does nothing else, which is about as long as 100 requests by fetch take there. */
  const MOST_TIMES = 4

  it('takes about as long as 100 plain requests at once', async () => {
    const url = await serve((_request, response) => response.end())
    const { hub, clients } = setUp()
    const ids = Array.from({ length: 100 }, (_, i) => `c${i}`)
    for (const id of ids) clients.register({ id, url: `${url}/${id}` })
    const plain = async (body: string) => {
      const answers = await Promise.all(ids.map(id => fetch(`${url}/${id}`, { method: 'POST', body })))
      await Promise.all(answers.map(answer => answer.text()))
    }
    const times: Record<'broadcast' | 'control', number[]> = { broadcast: [], control: [] }
    for (let round = 0; round < 10; round++) {
      // In turn, so that both have the same machine.
      const begun = performance.now()
      const { sent } = await hub.broadcast(ids, { round })
      const between = performance.now()
      await plain(JSON.stringify({ round }))
      times.broadcast.push(between - begun)
      times.control.push(performance.now() - between)
      expect(sent).toBe(100)
    }
    const median = (all: readonly number[]) => all.toSorted((a, b) => a - b)[all.length >> 1]!
    const [broadcast, control] = [median(times.broadcast), median(times.control)]
    console.log(`100 URLs: a broadcast takes ${broadcast.toFixed(1)} ms, plain requests ${control.toFixed(1)} ms`)
    expect(broadcast).toBeLessThan(MOST_TIMES * control)
  })

  it('is held up for nobody by one that hangs', async () => {
    let release: () => void = () => {}
    const url = await serve((request, response) => {
      if (request.url === '/hangs') release = () => response.end()
      else response.end()
    })
    const { hub, clients } = setUp()
    const ids = Array.from({ length: 100 }, (_, i) => `c${i}`)
    // Among the first, so that most of them come after it.
    ids.splice(3, 0, 'hangs')
    for (const id of ids) clients.register({ id, url: `${url}/${id}` })
    let over = false
    const broadcast = hub.broadcast(ids, 'hello').finally(() => {
      over = true
    })
    // All others, while the request to the one that hangs is under way.
    await expect.poll(() => hub.getMetrics().operations.send.count, { interval: 2 }).toBe(100)
    expect(hub.getMetrics().operations.send.active).toBe(1)
    expect(over).toBe(false)
    release()
    expect(await broadcast).toMatchObject({ sent: 101, failed: 0 })
  })
})
