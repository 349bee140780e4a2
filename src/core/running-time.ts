import type { Scheduler } from './scheduler.ts'
import { LATE_MS, Stalls } from './stalls.ts'

/** How often the loop is looked at while somebody waits, in ms. */
const LOOK_MS = 100

/**
 * Deadlines in time in which the process ran. While it is stopped, or its event loop is blocked, nobody's answer can be read, so that time is
 * added to every deadline that is under way. One timer while there are deadlines, and none while there are none.
 */
export class RunningTime {
  readonly #scheduler: Pick<Scheduler, 'now' | 'after' | 'every'>
  readonly #stalls = new Stalls()
  #waiting = 0
  #due = 0
  #look: Disposable | undefined

  constructor(scheduler: Pick<Scheduler, 'now' | 'after' | 'every'>) {
    this.#scheduler = scheduler
  }

  /** Runs once, when the process has run for `ms` from now, unless disposed of. */
  after(ms: number, run: () => void): Disposable {
    const startedAt = this.#scheduler.now()
    this.#begin(startedAt)
    let over = false
    let timer: Disposable
    const end = (): void => {
      if (over) return
      over = true
      this.#waiting--
      timer[Symbol.dispose]()
    }
    const wait = (waitMs: number, excused: boolean): void => {
      const due = this.#scheduler.now() + waitMs
      timer = this.#scheduler.after(waitMs, () => {
        const late = this.#scheduler.now() - due > LATE_MS
        const left = ms - this.#ranSince(startedAt)
        if (left > 0 || (late && !excused)) {
          // What has come while the process did not run is read first.
          wait(late ? Math.max(left, LOOK_MS) : left, late)
          return
        }
        end()
        run()
      })
    }
    wait(ms, false)
    return { [Symbol.dispose]: end }
  }

  #begin(now: number): void {
    this.#waiting++
    if (this.#look !== undefined) return
    this.#due = now + LOOK_MS
    this.#look = this.#scheduler.every(LOOK_MS, () => this.#tick())
  }

  #tick(): void {
    this.#note(this.#scheduler.now())
    if (this.#waiting > 0) return
    this.#look?.[Symbol.dispose]()
    this.#look = undefined
  }

  #note(now: number): void {
    this.#stalls.note(this.#due, now)
    if (now >= this.#due) this.#due = now + LOOK_MS
  }

  /** How long the process ran since `time`, in ms; a timer may come a millisecond early. */
  #ranSince(time: number): number {
    const now = this.#scheduler.now()
    this.#note(now)
    return now - time - this.#stalls.since(time) + 1
  }
}
