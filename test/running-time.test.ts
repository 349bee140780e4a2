import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RunningTime } from '../src/running-time.ts'
import { ManualScheduler } from '../src/testing/manual-scheduler.ts'
import { runs } from './property-runs.ts'

describe('deadlines in running time', () => {
  it('come when the process has run for so long, whenever it is stopped', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20_000 }),
        fc.array(
          fc.record({ runsMs: fc.integer({ min: 150, max: 5000 }), stopsMs: fc.integer({ min: 130, max: 60_000 }) }),
          { maxLength: 80 },
        ),
        (ms, halts) => {
          const scheduler = new ManualScheduler()
          let stopped = 0
          let ran: number | undefined
          new RunningTime(scheduler).after(ms, () => {
            ran = scheduler.now() - stopped
          })
          for (const { runsMs, stopsMs } of halts) {
            scheduler.advance(runsMs)
            stopped += stopsMs
            scheduler.block(stopsMs)
          }
          scheduler.advance(ms + 1000)
          // A stop is noticed at the look that was due in it: what is before that look counts as running.
          expect(ran).toBeGreaterThanOrEqual(ms - 100 * halts.length - 1)
          expect(ran).toBeLessThanOrEqual(ms + 101)
        },
      ),
      runs(100),
    )
  })

  it('leave out a stop however often the loop is blocked for a moment since', () => {
    const scheduler = new ManualScheduler()
    let ran = 0
    let firedAt: number | undefined
    new RunningTime(scheduler).after(20_000, () => {
      firedAt = ran
    })
    scheduler.advance(1000)
    scheduler.block(15_000)
    for (ran = 1000; ran < 30_000; ran += 150) {
      scheduler.advance(150)
      scheduler.block(130)
    }
    // Of each block up to 100 ms count, until the look that is due in it.
    expect(firedAt).toBeGreaterThanOrEqual((20_000 * 150) / 250)
  })

  it('leave the network a look after a stop', () => {
    const scheduler = new ManualScheduler()
    const fired: number[] = []
    new RunningTime(scheduler).after(1000, () => fired.push(scheduler.now()))
    scheduler.advance(990)
    scheduler.block(4000)
    expect(fired).toEqual([])
    scheduler.advance(100)
    expect(fired).toHaveLength(1)
  })

  it('can be disposed of, and leave no timer behind', () => {
    const scheduler = new ManualScheduler()
    const time = new RunningTime(scheduler)
    let fired = 0
    const one = time.after(500, () => fired++)
    time.after(200, () => fired++)
    one[Symbol.dispose]()
    one[Symbol.dispose]()
    scheduler.advance(1000)
    expect({ fired, timers: scheduler.timers }).toEqual({ fired: 1, timers: 0 })
  })
})

describe('what runs again and again', () => {
  it('leaves out the run that is due in a stop, and comes once a period otherwise', () => {
    const scheduler = new ManualScheduler()
    const runs: number[] = []
    using _period = scheduler.every(1000, () => runs.push(scheduler.now()))
    scheduler.advance(2500)
    scheduler.block(4000)
    scheduler.advance(2500)
    expect(runs).toEqual([1000, 2000, 7500, 8500])
  })

  it('comes at every other turn of a loop that is always late', () => {
    const scheduler = new ManualScheduler()
    let count = 0
    using _period = scheduler.every(50, () => count++)
    for (let turns = 0; turns < 40; turns++) scheduler.block(500)
    expect(count).toBe(20)
  })
})
