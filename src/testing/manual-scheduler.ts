import type { Scheduler } from '../core/scheduler.ts'
import { RunningTime } from '../running-time.ts'

interface Timer {
  readonly ms: number
  readonly run: () => void
  readonly once: boolean
  due: number
}

/**
 * A clock that stands still until a test moves it: deferred work and timers run when told, in order, never by
 * themselves.
 */
export class ManualScheduler implements Scheduler {
  #now = 0
  #deferred: (() => void)[] = []
  readonly #timers = new Set<Timer>()
  readonly #running = new RunningTime({
    now: () => this.#now,
    after: (ms, run) => this.after(ms, run),
    every: (ms, run) => this.#add({ ms, run, once: false, due: this.#now + ms }),
  })

  now(): number {
    return this.#now
  }

  defer(run: () => void): void {
    this.#deferred.push(run)
  }

  every(ms: number, run: () => void): Disposable {
    return this.#running.every(ms, run)
  }

  after(ms: number, run: () => void): Disposable {
    return this.#add({ ms, run, once: true, due: this.#now + ms })
  }

  #add(timer: Timer): Disposable {
    this.#timers.add(timer)
    return { [Symbol.dispose]: () => void this.#timers.delete(timer) }
  }

  #fire(timer: Timer): void {
    if (timer.once) this.#timers.delete(timer)
    else timer.due = this.#now + timer.ms
    timer.run()
  }

  /** Timers that are armed: a hub at rest has no more than its housekeeping. */
  get timers(): number {
    return this.#timers.size
  }

  /** One turn of the event loop: what is deferred now, not what that defers. */
  turn(): void {
    const deferred = this.#deferred
    this.#deferred = []
    for (const run of deferred) run()
  }

  /** Turns until nothing is deferred. Throws where that never ends. */
  settle(): void {
    for (let turns = 0; this.#deferred.length > 0; turns++) {
      if (turns === 1000) throw new Error('1000 turns and still something is deferred: it re-arms itself for ever')
      this.turn()
    }
  }

  /** Moves the clock, runs the timers that fall due in order of time, and settles after each. */
  advance(ms: number): void {
    const end = this.#now + ms
    this.settle()
    for (;;) {
      let next: Timer | undefined
      for (const timer of this.#timers) if (timer.due <= end && (!next || timer.due < next.due)) next = timer
      if (next === undefined) break
      this.#now = Math.max(this.#now, next.due)
      this.#fire(next)
      this.settle()
    }
    this.#now = end
    this.settle()
  }

  /** Timers fire for so long and nothing that is deferred runs: a loop that does not get to poll. */
  sweepOnly(ms: number): void {
    for (const end = this.#now + ms; this.#now < end; this.#now++) {
      for (const timer of [...this.#timers]) {
        if (timer.due <= this.#now) this.#fire(timer)
      }
    }
  }

  /** Time passes inside of what runs now; nothing else runs. */
  elapse(ms: number): void {
    this.#now += ms
  }

  /** The loop is blocked for so long: time passes, nothing runs, and each timer that fell due fires once afterwards. */
  block(ms: number): void {
    this.elapse(ms)
    for (const timer of [...this.#timers]) {
      if (timer.due > this.#now) continue
      this.#fire(timer)
      this.settle()
    }
    this.settle()
  }
}
