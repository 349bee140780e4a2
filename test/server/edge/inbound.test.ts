import fc from 'fast-check'
import type { FastifyRequest } from 'fastify'
import { expect, it } from 'vitest'
import { Edge } from '../../../src/server/edge/edge.ts'
import type { EdgeLimits } from '../../../src/server/edge/limits.ts'
import { EdgeBucket } from '../../../src/server/edge/stops.ts'
import { ManualScheduler } from '../../../src/testing/manual-scheduler.ts'
import { runs } from '../../property-runs.ts'

const STRANGER = { raw: { socket: { remoteAddress: '203.0.113.9' } } } as FastifyRequest

/** One client, and how many of so many messages at once are within its limits. */
function setUp(limits: Partial<EdgeLimits>) {
  const time = new ManualScheduler()
  const edge = new Edge({ limits }, time)
  const inbound = edge.inbound(STRANGER)
  const send = (messages: number) => Array.from({ length: messages }, () => inbound.take(10)).filter(Boolean).length
  return { time, edge, inbound, send }
}

it.each([
  ['messagesPerSecondPerClient', 100],
  ['bytesPerSecondPerClient', 1000],
  ['messagesPerSecondPerAddress', 100],
  ['bytesPerSecondPerAddress', 1000],
] as const)('%s: what a client sent while the process was stopped is within the rate', (limit, rate) => {
  const { time, edge, send } = setUp({ [limit]: rate })
  // At any time between two looks of the edge.
  for (let ms = 0; ms < 1000; ms += 50) {
    expect(send(80)).toBe(80)
    time.advance(1000)
    time.elapse(4000)
    // The backlog is read before any timer runs.
    expect(send(320), `stopped after ${ms} ms`).toBe(320)
    time.block(0)
    time.advance(3050)
  }
  expect(edge.refused[limit]).toBe(0)
})

it('a client that sends more than its rate is judged after a stop as well', () => {
  const { time, send } = setUp({ messagesPerSecondPerClient: 100 })
  expect(send(300)).toBe(200)
  time.advance(10_000)
  time.elapse(4000)
  expect(send(1000)).toBeLessThanOrEqual(600)
  time.block(0)
  // What of the stop the next look sees makes room once, and no more than the rate and a second.
  time.advance(10_000)
  expect(send(1000)).toBeLessThanOrEqual(300)
  time.advance(10_000)
  expect(send(1000)).toBe(200)
})

it('makes room for a stop of a minute at most', () => {
  const { time, send } = setUp({ messagesPerSecondPerClient: 100 })
  send(1)
  time.advance(1000)
  time.elapse(3_600_000)
  expect(send(100_000)).toBeLessThanOrEqual(6200)
})

it('no client gets more than its rate and its burst through, whenever the process is stopped', () => {
  const ms = fc.integer({ min: 0, max: 5000 })
  const steps = fc.array(fc.tuple(fc.boolean(), ms, fc.integer({ min: 0, max: 900 })), { maxLength: 30 })
  fc.assert(
    fc.property(steps, all => {
      const { time, send } = setUp({ messagesPerSecondPerClient: 100 })
      let sent = 0
      for (const [stops, ms, messages] of all) {
        if (stops) time.elapse(ms)
        else time.advance(ms)
        sent += send(messages)
        expect(sent).toBeLessThanOrEqual(200 + (time.now() * 100) / 1000)
      }
    }),
    runs(100),
  )
})

it('a live source and the clients of its address share one account of stops', () => {
  const { time, edge, inbound, send } = setUp({ messagesPerSecondPerAddress: 100 })
  const source = edge.pace(STRANGER)
  time.advance(1000)
  time.elapse(10_000)
  expect(send(1)).toBe(1)
  time.block(0)
  for (let second = 0; second < 20; second++) {
    time.advance(1000)
    expect(source.waitMs(50, 0), `second ${second}`).toBe(0)
    expect(inbound.take(10)).toBe(true)
  }
  time.advance(20_000)
  source.waitMs(0, 0)
  expect(send(1000)).toBe(200)
})

it('a bucket that was asked whether it is full still makes room for a stop', () => {
  const bucket = new EdgeBucket(100, 0, 2)
  expect(bucket.take(0, 200, 0)).toBe(true)
  expect([bucket.full(1990), bucket.full(10_000)]).toEqual([false, true])
  const taken = Array.from({ length: 1000 }, () => bucket.take(10_000, 1, 4000)).filter(Boolean).length
  expect(taken).toBe(600)
})
