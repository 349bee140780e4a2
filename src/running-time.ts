import type { Scheduler } from './core/scheduler.ts'
import { LATE_MS } from './core/stalls.ts'

/** How often the loop is looked at while a deadline is under way, in ms. */
const LOOK_MS = 100
/** A periodic run that is later than this is left out, in ms. */
const LEFT_OUT_MS = 100

/**
 * `after` and `every`, counted in time in which the process ran. The timers below count all time. While the process is
 * stopped, or its event loop is blocked, it can read no answer of a peer, so that time counts against no deadline and
 * no period.
 */
export class RunningTime implements Pick<Scheduler, 'after' | 'every'> {
  readonly #timers: Pick<Scheduler, 'now' | 'after' | 'every'>
  /** Deadlines under way. One timer looks at the loop while there are any. */
  #waiting = 0
  #looking = false
  /** When the next look is due. */
  #due = 0
  /** How long the process did not run, as far as the looks know, in ms. */
  #stoppedMs = 0

  constructor(timers: Pick<Scheduler, 'now' | 'after' | 'every'>) {
    this.#timers = timers
  }

  /** Runs once, when the process has run for `ms` from now, unless disposed of. */
  after(ms: number, run: () => void): Disposable {
    this.#waiting++
    if (!this.#looking) this.#lookLater()
    const until = this.#now() + ms
    let over = false
    let timer: Disposable
    const end = (): void => {
      if (over) return
      over = true
      this.#waiting--
      timer[Symbol.dispose]()
    }
    const wait = (waitMs: number, excused: boolean): void => {
      const due = this.#timers.now() + waitMs
      timer = this.#timers.after(waitMs, () => {
        const late = this.#timers.now() - due > LATE_MS
        // A timer may come a millisecond early.
        const left = until - this.#now() - 1
        // What has come while the process did not run is read first.
        if (left > 0 || (late && !excused)) return wait(late ? Math.max(left, LOOK_MS) : left, late)
        end()
        run()
      })
    }
    wait(ms, false)
    return { [Symbol.dispose]: end }
  }

  /**
   * Leaves out a run that comes late, but never two in a row: where every run is late, every second one still comes.
   */
  every(ms: number, run: () => void): Disposable {
    let due = this.#timers.now() + ms
    let leftOut = false
    return this.#timers.every(ms, () => {
      const now = this.#timers.now()
      leftOut = now - due > LEFT_OUT_MS && !leftOut
      due = now + ms
      if (!leftOut) run()
    })
  }

  /** Stands still from the time at which a look is late. */
  #now(): number {
    return Math.min(this.#timers.now(), this.#due + LATE_MS) - this.#stoppedMs
  }

  #lookLater(): void {
    this.#looking = true
    this.#due = this.#timers.now() + LOOK_MS
    this.#timers.after(LOOK_MS, () => {
      const lateMs = this.#timers.now() - this.#due
      if (lateMs > LATE_MS) this.#stoppedMs += lateMs
      this.#looking = false
      if (this.#waiting > 0) this.#lookLater()
    })
  }
}
