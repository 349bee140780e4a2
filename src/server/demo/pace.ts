import type { Scheduler } from '../../core/scheduler.ts'

/** What a source does with what it makes. Never throws. */
export type Publish = (topic: string, data: Uint8Array, contentType: string) => void

export interface PaceOptions {
  readonly periodMs: number
  /** Periods that may be made up for at once after the loop was held up; what is older is skipped. Default 1. */
  readonly catchUp?: number
}

/** Looks per period: a period is served at most a fourth of itself late. */
const LOOKS = 4

/**
 * Calls `run` with 0, 1, 2 ... once per period, counted on the monotonic clock: a late timer is late once and never
 * adds up. A number that was skipped is never passed.
 */
export function pace(scheduler: Scheduler, options: PaceOptions, run: (n: number) => void): Disposable {
  const { periodMs, catchUp = 1 } = options
  const start = scheduler.now()
  let next = 0
  return scheduler.every(periodMs / LOOKS, () => {
    const due = Math.floor((scheduler.now() - start) / periodMs)
    next = Math.max(next, due - catchUp + 1)
    while (next <= due) run(next++)
  })
}
