import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { type Beat, Heartbeat } from '../../src/transports/heartbeat.ts'
import { runs } from '../property-runs.ts'

/** Pings that happened since the last look. */
function counted(): { beat: Beat; taken: () => number } {
  let pings = 0
  return {
    beat: { ping: () => void pings++ },
    taken() {
      const taken = pings
      pings = 0
      return taken
    },
  }
}

describe('pings', () => {
  it('come at the interval, and the deadline of each before the next', () => {
    for (const [pongMs, checkedAt] of [
      [300, 1300],
      [1000, 2000],
      [5000, 2000],
    ] as const) {
      const scheduler = new ManualScheduler()
      const heartbeat = new Heartbeat(1000, { pongMs, scheduler })
      const events: string[] = []
      const stop = heartbeat.add({
        ping: () => events.push(`ping ${scheduler.now()}`),
        check: () => events.push(`check ${scheduler.now()}`),
      })
      scheduler.advance(2500)
      // A client that was just added has a check in between which belongs to no ping of its own.
      expect(events.filter(event => event.startsWith('ping'))).toEqual(['ping 1000', 'ping 2000'])
      expect(events.slice(events.indexOf('ping 1000'))[1]).toBe(`check ${checkedAt}`)
      stop()
      expect(scheduler.timers).toBe(0)
    }
  })

  it.each([1, 255, 256, 4000, 10_000])('of %s clients are spread over the interval, one for each', clients => {
    const scheduler = new ManualScheduler()
    const heartbeat = new Heartbeat(25_600, { scheduler })
    const { beat, taken } = counted()
    const ends = Array.from({ length: clients }, () => heartbeat.add({ ...beat }))
    let most = 0
    let all = 0
    for (let ticks = 0; ticks < 256; ticks++) {
      scheduler.advance(100)
      const pings = taken()
      most = Math.max(most, pings)
      all += pings
    }
    expect(all).toBe(clients)
    expect(most).toBe(Math.ceil(clients / 256))
    for (const end of ends) end()
    expect(scheduler.timers).toBe(0)
  })

  it('stay spread whatever clients come and go', () => {
    const scheduler = new ManualScheduler()
    const heartbeat = new Heartbeat(25_600, { scheduler })
    const { beat, taken } = counted()
    // A peer that keeps one of 256 connections, again and again, to have its connections pinged in one turn.
    for (let round = 0; round < 40; round++) {
      const ends = Array.from({ length: 256 }, () => heartbeat.add({ ...beat }))
      for (const end of ends.slice(1)) end()
      scheduler.advance(100 * (round % 7))
    }
    taken()
    const pings = Array.from({ length: 256 }, () => {
      scheduler.advance(100)
      return taken()
    })
    expect(pings.reduce((sum, count) => sum + count, 0)).toBe(40)
    expect(Math.max(...pings)).toBe(1)
  })
})

describe('a process that was stopped', () => {
  it('judges nobody by that time: between a ping and its deadline it has run for pongMs', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(100, 1000, 25_000),
        fc.constantFrom(100, 500, 10_000),
        fc.array(
          fc.record({ runsMs: fc.integer({ min: 1, max: 30_000 }), stopsMs: fc.integer({ min: 1000, max: 60_000 }) }),
          {
            maxLength: 12,
          },
        ),
        (everyMs, pongMs, halts) => {
          const scheduler = new ManualScheduler()
          const heartbeat = new Heartbeat(everyMs, { pongMs, scheduler })
          const tickMs = everyMs / Math.min(256, everyMs / 10)
          let stopped = 0
          let pingedAt: number | undefined
          heartbeat.add({
            ping: () => {
              pingedAt = scheduler.now() - stopped
            },
            check: () => {
              if (pingedAt === undefined) return
              const ran = scheduler.now() - stopped - pingedAt
              expect(ran).toBeGreaterThanOrEqual(Math.min(pongMs, everyMs) - 0.001)
              pingedAt = undefined
            },
          })
          for (const { runsMs, stopsMs } of halts) {
            scheduler.advance(Math.max(runsMs, 3 * tickMs))
            stopped += stopsMs
            scheduler.block(stopsMs)
          }
          scheduler.advance(2 * everyMs)
        },
      ),
      runs(100),
    )
  })

  it('reads what has come before it judges: the first turn after it judges nobody', () => {
    const scheduler = new ManualScheduler()
    const heartbeat = new Heartbeat(1000, { pongMs: 500, scheduler })
    const events: string[] = []
    heartbeat.add({ ping: () => events.push('ping'), check: () => events.push('check') })
    scheduler.advance(1000)
    events.length = 0
    scheduler.advance(495)
    scheduler.block(4000)
    expect(events).toEqual([])
    scheduler.advance(10)
    expect(events).toEqual(['check'])
  })

  it('has a heartbeat all the same where its loop is always late', () => {
    const scheduler = new ManualScheduler()
    const heartbeat = new Heartbeat(1000, { scheduler })
    const { beat, taken } = counted()
    heartbeat.add(beat)
    for (let turns = 0; turns < 400; turns++) scheduler.block(200)
    expect(taken()).toBe(2)
  })
})

it.each([
  [['25s'], /^Heartbeat: everyMs must be a number from 100 to 2147483647, got "25s"$/],
  [[1], /everyMs must be a number from 100/],
  [[undefined], /everyMs must be .*, got undefined/],
  [[25_000, { pongMs: 'x' }], /^Heartbeat: pongMs must be a number from 100 to 2147483647, got "x"$/],
  [[25_000, { pongms: 1000 }], /^Heartbeat: unknown option "pongms": did you mean "pongMs"\?$/],
  [
    [25_000, { scheduler: {} }],
    /^Heartbeat: scheduler must be a scheduler with the methods every, defer, got an object$/,
  ],
])('new Heartbeat(...%j) is refused', (options, message) => {
  const make = () => new Heartbeat(...(options as [number]))
  expect(make).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringMatching(message) }))
})
