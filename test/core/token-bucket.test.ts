import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TokenBucket } from '../../src/core/token-bucket.ts'
import { runs } from '../property-runs.ts'

describe('a token bucket', () => {
  it('gives a second at once, and then so much a second', () => {
    const bucket = new TokenBucket(2, 1000)
    expect([bucket.take(1000), bucket.take(1000), bucket.take(1000)]).toEqual([true, true, false])
    expect(bucket.waitMs(1000)).toBe(500)
    expect(bucket.take(1499)).toBe(false)
    expect(bucket.take(1500)).toBe(true)
    expect(bucket.full(1500)).toBe(false)
    expect(bucket.full(2500)).toBe(true)
  })

  it('holds as many seconds as its burst says, and one token at least', () => {
    const burst = new TokenBucket(2, 0, 5)
    expect(Array.from({ length: 11 }, () => burst.take(0)).filter(Boolean)).toHaveLength(10)
    const slow = new TokenBucket(0.1, 0)
    expect([slow.take(0), slow.take(0), slow.take(9_000), slow.take(10_000)]).toEqual([true, false, false, true])
  })

  it('lets what is larger than it go when it is full, and then takes the time that it cost', () => {
    const bucket = new TokenBucket(100, 0)
    expect(bucket.take(0, 1000)).toBe(true)
    expect(bucket.waitMs(0)).toBe(9010)
    expect(bucket.waitMs(0, 1000)).toBe(10_000)
    expect(bucket.take(9_000, 1000)).toBe(false)
    expect(bucket.take(10_000, 1000)).toBe(true)
  })

  it('what is refused takes nothing', () => {
    const bucket = new TokenBucket(10, 0)
    bucket.take(0, 8)
    for (let i = 0; i < 5; i++) expect(bucket.take(0, 3)).toBe(false)
    expect(bucket.take(0, 2)).toBe(true)
  })

  it('never gives more than its rate and its burst, and all of that to whoever waits as told', () => {
    const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 1, max: 30 })), {
      maxLength: 40,
    })
    fc.assert(
      fc.property(steps, fc.constantFrom(1, 7, 20), (all, rate) => {
        let now = 0
        let given = 0
        const bucket = new TokenBucket(rate, 0)
        for (const [ms, amount] of all) {
          now += ms
          const small = Math.min(amount, rate)
          if (!bucket.take(now, small)) {
            now += bucket.waitMs(now, small)
            // What is a thousandth short after rounding may take one more.
            if (!bucket.take(now, small)) expect(bucket.take(++now, small)).toBe(true)
          }
          given += small
          expect(given).toBeLessThanOrEqual(rate + (now * rate) / 1000 + 1e-6)
        }
      }),
      runs(100),
    )
  })
})
