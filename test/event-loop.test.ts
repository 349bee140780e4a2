import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { eventLoop } from '../src/event-loop.ts'

const MAX_TIMER_MS = 2 ** 31 - 1

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] })
})

afterEach(() => {
  vi.useRealTimers()
})

it('waits for a deadline beyond the longest timer of Node, and does not wake up before it', () => {
  const setTimer = vi.spyOn(globalThis, 'setTimeout')
  const run = vi.fn()
  using _deadline = eventLoop.after(MAX_TIMER_MS + 1000, run)
  vi.advanceTimersByTime(10_000)
  expect(run).not.toHaveBeenCalled()
  // The looks at the loop come every 100 ms.
  expect(new Set(setTimer.mock.calls.map(([, ms]) => ms))).toEqual(new Set([100, MAX_TIMER_MS]))
})
