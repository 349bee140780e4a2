import fc from 'fast-check'
import { expect, it } from 'vitest'
import { LATE_MS, Stalls } from '../../src/core/stalls.ts'
import { runs } from '../property-runs.ts'

it('a long stall is remembered however many short ones follow', () => {
  const stalls = new Stalls()
  stalls.note(1000, 61_000)
  for (let short = 1; short <= 100; short++) stalls.note(61_000 + short * 100, 61_050 + short * 100)
  expect(stalls.since(0)).toBe(60_000 + 100 * 50)
})

it('no blocked time is forgotten, none is counted twice, and the youngest 31 stalls are exact', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          runsMs: fc.integer({ min: 0, max: 2000 }),
          stallsMs: fc.integer({ min: LATE_MS + 1, max: 60_000 }),
        }),
        { maxLength: 100, size: 'max' },
      ),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (turns, share) => {
        const stalls = new Stalls()
        const all: { from: number; to: number }[] = []
        let now = 0
        for (const { runsMs, stallsMs } of turns) {
          const from = now + runsMs
          now = from + stallsMs
          stalls.note(from, now)
          all.push({ from, to: now })
        }
        const time = Math.floor(share * now)
        const blocked = all.reduce((sum, { from, to }) => sum + Math.max(0, to - Math.max(from, time)), 0)
        expect(stalls.since(time)).toBeGreaterThanOrEqual(blocked)
        expect(stalls.since(time)).toBeLessThanOrEqual(now - time)
        // What is joined is moved to a later time, not made longer.
        expect(stalls.since(-1)).toBe(all.reduce((sum, { from, to }) => sum + to - from, 0))
        const exactFrom = all.at(-31)?.from ?? 0
        if (time >= exactFrom) expect(stalls.since(time)).toBe(blocked)
      },
    ),
    runs(1000),
  )
})
