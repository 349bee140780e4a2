import { expect, it } from 'vitest'
import { RequestRate } from '../../src/server/request-rate.ts'

const taken = (rate: RequestRate, now: number, tries: number): number =>
  Array.from({ length: tries }, () => rate.take(now)).filter(Boolean).length

it('lets a second’s worth through at once, and then as many as the time since brings', () => {
  const rate = new RequestRate(10, 5000)
  expect(taken(rate, 5000, 100)).toBe(10)
  expect(taken(rate, 5099, 100)).toBe(0)
  expect(taken(rate, 5100, 100)).toBe(1)
  expect(taken(rate, 5350, 100)).toBe(2)
  expect(taken(rate, 5400, 100)).toBe(1)
})

it('saves no more than a second’s worth', () => {
  const rate = new RequestRate(10, 0)
  expect(taken(rate, 3_600_000, 100)).toBe(10)
})
