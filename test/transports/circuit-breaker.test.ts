import { describe, expect, it } from 'vitest'
import type { Circuit } from '../../src/core/connection.ts'
import { type BreakerRules, CircuitBreaker, DEFAULT_BREAKER } from '../../src/transports/circuit-breaker.ts'

function setUp(rules: BreakerRules = DEFAULT_BREAKER) {
  const changes: Circuit[] = []
  const breaker = new CircuitBreaker(rules, circuit => changes.push(circuit))
  const fail = (times: number, now = 0): void => {
    for (let i = 0; i < times; i++) breaker.failed(now)
  }
  return { breaker, changes, fail }
}

describe('circuit breaker', () => {
  it('stays closed up to the fourth failure in a row and opens with the fifth', () => {
    const { breaker, changes, fail } = setUp()
    fail(4)
    expect([breaker.circuit, breaker.waitMs(0)]).toEqual(['closed', 0])
    fail(1)
    expect([breaker.circuit, breaker.waitMs(0)]).toEqual(['open', 10_000])
    expect(changes).toEqual(['open'])
  })

  it('a success between failures begins the count anew', () => {
    const { breaker, changes, fail } = setUp()
    fail(4)
    breaker.succeeded()
    fail(4)
    expect([breaker.circuit, changes]).toEqual(['closed', []])
    fail(1)
    expect(breaker.circuit).toBe('open')
  })

  it('says how long it still cools down, and is half-open to the first who asks when that is over', () => {
    const { breaker, changes, fail } = setUp()
    fail(5, 1000)
    expect([1000, 1001, 10_999].map(now => breaker.waitMs(now))).toEqual([10_000, 9999, 1])
    expect(breaker.circuit).toBe('open')
    expect([breaker.waitMs(11_000), breaker.circuit]).toEqual([0, 'half-open'])
    expect(changes).toEqual(['open', 'half-open'])
  })

  it('half-open and a success: closed, with the count at its beginning', () => {
    const { breaker, changes, fail } = setUp()
    fail(5)
    breaker.waitMs(10_000)
    breaker.succeeded()
    expect(changes).toEqual(['open', 'half-open', 'closed'])
    fail(4, 10_000)
    expect(breaker.circuit).toBe('closed')
  })

  it('half-open and one failure: open again, for the whole time from then', () => {
    const { breaker, changes, fail } = setUp()
    fail(5)
    breaker.waitMs(12_000)
    fail(1, 13_000)
    expect(breaker.waitMs(13_000)).toBe(10_000)
    expect(changes).toEqual(['open', 'half-open', 'open'])
  })

  it('stays open longer where the receiver asked for more, and never shorter', () => {
    const { breaker, fail } = setUp()
    fail(4)
    breaker.failed(0, 60_000)
    expect(breaker.waitMs(0)).toBe(60_000)
    breaker.waitMs(60_000)
    breaker.failed(60_000, 5)
    expect(breaker.waitMs(60_000)).toBe(10_000)
  })

  it('takes other rules', () => {
    const { breaker, fail } = setUp({ failures: 1, coolDownMs: 5 })
    fail(1)
    expect(breaker.waitMs(0)).toBe(5)
  })
})
