import { describe, expect, it } from 'vitest'
import { outcomeOfStatus } from '../../src/transports/callback-outcome.ts'

const NOW = Date.parse('2026-11-21T12:00:00Z')

describe('the outcome of a status', () => {
  it.each([200, 201, 202, 204, 206, 299])('%i is ok', status => {
    expect(outcomeOfStatus(status, undefined, NOW)).toEqual({ kind: 'ok' })
  })

  it.each([300, 301, 302, 303, 304, 307, 308])('%i is refused, as a redirect', status => {
    const why = `status ${status}, a redirect, which is not followed`
    expect(outcomeOfStatus(status, undefined, NOW)).toEqual({ kind: 'refused', why })
  })

  it.each([400, 401, 403, 404, 405, 408, 409, 411, 413, 415, 422, 428, 431, 451, 499])('%i is refused', status => {
    expect(outcomeOfStatus(status, '5', NOW)).toEqual({ kind: 'refused', why: `status ${status}` })
  })

  it('410 is gone', () => {
    expect(outcomeOfStatus(410, undefined, NOW)).toEqual({ kind: 'gone', why: 'status 410' })
  })

  it.each([429, 500, 501, 502, 503, 504, 599, 600])('%i is for later', status => {
    expect(outcomeOfStatus(status, undefined, NOW)).toEqual({ kind: 'retry', why: `status ${status}` })
    expect(outcomeOfStatus(status, '7', NOW)).toEqual({ kind: 'retry', why: `status ${status}`, afterMs: 7000 })
  })

  it.each([
    ['0', 0],
    ['1', 1000],
    ['60', 60_000],
    ['61', 60_000],
    ['9'.repeat(400), 60_000],
    ['Sat, 21 Nov 2026 12:00:05 GMT', 5000],
    ['Sat, 21 Nov 2026 11:59:59 GMT', 0],
    ['Sun, 22 Nov 2026 12:00:00 GMT', 60_000],
    ['', undefined],
    ['soon', undefined],
    ['-1', undefined],
    ['1.5', undefined],
    ['2026-11-21T12:00:05Z', undefined],
    ['Sat, 99 Nov 2026 12:00:05 GMT', undefined],
  ])('Retry-After: %s is %s ms', (text, afterMs) => {
    expect(outcomeOfStatus(503, text, NOW)).toEqual({ kind: 'retry', why: 'status 503', afterMs })
  })
})
