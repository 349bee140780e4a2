import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RunningTime } from '../../src/core/running-time.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { runs } from '../property-runs.ts'

describe('deadlines in running time', () => {
  it('come when the process has run for so long, whenever it is stopped', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 20_000 }),
        fc.array(
          fc.record({ runsMs: fc.integer({ min: 150, max: 5000 }), stopsMs: fc.integer({ min: 500, max: 60_000 }) }),
          {
            maxLength: 8,
          },
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
