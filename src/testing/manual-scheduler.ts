import type { Scheduler } from '../core/scheduler.ts'

interface Timer {
  readonly ms: number
  readonly run: () => void
  due: number
}

/** A clock that stands still until a test moves it: deferred work and timers run when told, in order, never by themselves. */
export class ManualScheduler implements Scheduler {
  #now = 0
  #deferred: (() => void)[] = []
  readonly #timers = new Set<Timer>()

  now(): number {
    return this.#now
  }

  defer(run: () => void): void {
    this.#deferred.push(run)
  }

  every(ms: number, run: () => void): Disposable {
    const timer: Timer = { ms, run, due: this.#now + ms }
    this.#timers.add(timer)
    return { [Symbol.dispose]: () => void this.#timers.delete(timer) }
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
      next.due = this.#now + next.ms
      next.run()
      this.settle()
    }
    this.#now = end
    this.settle()
  }

  /** Timers fire for so long and nothing that is deferred runs: a loop that does not get to poll. */
  sweepOnly(ms: number): void {
    for (const end = this.#now + ms; this.#now < end; this.#now++) {
      for (const timer of [...this.#timers]) {
        if (timer.due > this.#now) continue
        timer.due = this.#now + timer.ms
        timer.run()
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
      timer.due = this.#now + timer.ms
      timer.run()
      this.settle()
    }
    this.settle()
  }
}
