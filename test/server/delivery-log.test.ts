import { pino } from 'pino'
import { beforeEach, expect, it } from 'vitest'
import type { Client, CloseReason } from '../../src/core/connection.ts'
import { Events } from '../../src/core/events.ts'
import type { ClientId } from '../../src/core/ids.ts'
import { logDeliveries } from '../../src/server/delivery-log.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'

let scheduler: ManualScheduler
let events: Events
let lines: Record<string, unknown>[]
let end: () => void
beforeEach(() => {
  scheduler = new ManualScheduler()
  events = new Events()
  lines = []
  const log = pino({ base: null, timestamp: false }, { write: line => void lines.push(JSON.parse(line)) })
  end = logDeliveries(events, scheduler, log)
})

const client = {} as Client
const failure = (client: string, n = 1) => ({
  id: client as ClientId,
  messageId: `epoch-${n}`,
  topic: 'orders',
  correlationId: 'order-7',
  attempts: 2,
  why: 'status 503',
})

it('tells of each attempt, each loss and each breaker with what joins them', () => {
  events.emit('retry', { ...failure('shop'), waitMs: 81.7 })
  events.emit('undelivered', { ...failure('shop'), attempts: 4 })
  events.emit('circuit', { id: 'shop' as ClientId, client, circuit: 'open', why: 'status 503' })
  events.emit('circuit', { id: 'shop' as ClientId, client, circuit: 'half-open', why: undefined })
  const about = { client: 'shop', messageId: 'epoch-1', topic: 'orders', correlationId: 'order-7', why: 'status 503' }
  expect(lines).toEqual([
    { level: 30, ...about, attempts: 2, waitMs: 82, msg: 'delivery failed, tried again' },
    { level: 40, ...about, attempts: 4, msg: 'delivery given up' },
    { level: 40, client: 'shop', circuit: 'open', why: 'status 503', msg: 'circuit open' },
    { level: 30, client: 'shop', circuit: 'half-open', msg: 'circuit half-open' },
  ])
})

it('writes five lines of a kind about a client in ten seconds, and how many it left out', () => {
  for (let n = 1; n <= 1000; n++) events.emit('undelivered', failure('refuses', n))
  events.emit('undelivered', failure('other'))
  events.emit('retry', { ...failure('refuses'), waitMs: 1 })
  expect(lines.map(({ client, msg }) => [client, msg])).toEqual([
    ...Array.from({ length: 5 }, () => ['refuses', 'delivery given up']),
    ['other', 'delivery given up'],
    ['refuses', 'delivery failed, tried again'],
  ])
  lines.length = 0
  scheduler.advance(9999)
  expect(lines).toEqual([])
  scheduler.advance(1)
  expect(lines).toEqual([{ level: 40, undelivered: 995, ms: 10_000, msg: 'lines about deliveries left out' }])
  events.emit('undelivered', failure('refuses'))
  expect(lines).toHaveLength(2)
})

it('writes 200 lines of a kind about all clients in ten seconds', () => {
  for (let n = 0; n < 1000; n++) events.emit('circuit', { id: `c${n}` as ClientId, client, circuit: 'open', why: 'x' })
  expect(lines).toHaveLength(200)
  scheduler.advance(10_000)
  expect(lines.at(-1)).toMatchObject({ circuit: 800 })
})

it('says nothing where nothing was left out, and has no timer while there is nothing to count', () => {
  expect(scheduler.timers).toBe(0)
  events.emit('undelivered', failure('shop'))
  expect(scheduler.timers).toBe(1)
  scheduler.advance(10_000)
  expect([lines.length, scheduler.timers]).toEqual([1, 0])
})

it('tells at its end what it has not told', () => {
  for (let n = 0; n < 7; n++) events.emit('undelivered', failure('shop'))
  end()
  expect(lines.at(-1)).toMatchObject({ undelivered: 2 })
  expect(scheduler.timers).toBe(0)
})

it('tells of a client that is a URL and was removed, and of no other end', () => {
  const ended = (protocol: string, reason: CloseReason): void => {
    events.emit('unregister', { id: 'shop' as ClientId, client, protocol, reason })
  }
  ended('callback', 'peer')
  ended('api-gateway', 'slow')
  for (const reason of ['ended', 'shutdown', 'replaced'] as const) ended('callback', reason)
  ended('websocket', 'slow')
  expect(lines.map(({ level, protocol, reason, msg }) => [level, protocol, reason, msg])).toEqual([
    [40, 'callback', 'peer', 'client removed'],
    [40, 'api-gateway', 'slow', 'client removed'],
  ])
})
