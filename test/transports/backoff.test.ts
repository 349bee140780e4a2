import { describe, expect, it } from 'vitest'
import { backoffMs, DEFAULT_RETRY } from '../../src/transports/backoff.ts'

const whole = (retry: number): number => backoffMs(DEFAULT_RETRY, retry, () => 1)

describe('backoff', () => {
  it('doubles from 100 ms and is never longer than 5 s, however often it was tried', () => {
    expect([1, 2, 3, 4, 5, 6, 7, 8, 100, 5000].map(whole)).toEqual([
      100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000,
    ])
  })

  it('is anything from nothing to all of that (full jitter)', () => {
    const at = (random: number): number => backoffMs(DEFAULT_RETRY, 3, () => random)
    expect([0, 0.25, 0.5, 0.999].map(at)).toEqual([0, 100, 200, 399.6])
  })

  it('takes other rules', () => {
    expect([1, 2, 3].map(retry => backoffMs({ retries: 9, baseMs: 30, capMs: 100 }, retry, () => 1))).toEqual([
      30, 60, 100,
    ])
  })

  it('asks for a new random number each time', () => {
    const random = [0.1, 0.9]
    expect([1, 1].map(retry => backoffMs(DEFAULT_RETRY, retry, () => random.shift()!))).toEqual([10, 90])
  })

  it('retries three times unless told otherwise', () => expect(DEFAULT_RETRY.retries).toBe(3))
})
