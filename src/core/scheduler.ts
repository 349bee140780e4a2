/**
 * Time, as the core sees it. The core owns no clock and no timer: tests own time, and the event loop's own
 * scheduler lives outside (src/event-loop.ts).
 */
export interface Scheduler {
  /** Milliseconds on a monotonic clock. Never wall time: a clock that jumps must not evict anybody. */
  now(): number
  /** Runs once, after the work that is already queued (setImmediate, not a microtask: it must gather). */
  defer(run: () => void): void
  /**
   * Runs once, when the process has run for `ms` from now, unless disposed of. Time in which it was stopped or blocked
   * may be left out: a peer's answer could not be read meanwhile. Somebody waits for it: it may keep the process alive.
   */
  after(ms: number, run: () => void): Disposable
  /**
   * Runs every `ms` until disposed. Leaves out a run that comes late because the process was stopped or its event loop
   * was blocked, but never two in a row. The next run comes `ms` later, after the process has read what came meanwhile.
   * Must not keep the process alive.
   */
  every(ms: number, run: () => void): Disposable
}
