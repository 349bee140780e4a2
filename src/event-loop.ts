import { RunningTime } from './core/running-time.ts'
import type { Scheduler } from './core/scheduler.ts'

/** A longer timer of Node's fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1

const timers = {
  now: () => performance.now(),
  after(ms: number, run: () => void): Disposable {
    // RunningTime waits again for what is left.
    const timer = setTimeout(run, Math.min(ms, MAX_TIMER_MS))
    return { [Symbol.dispose]: () => clearTimeout(timer) }
  },
  every(ms: number, run: () => void): Disposable {
    const timer = setInterval(run, ms)
    timer.unref()
    return { [Symbol.dispose]: () => clearInterval(timer) }
  },
}

const running = new RunningTime(timers)

/** Node's event loop as the core's scheduler. Deadlines (`after`) leave out the time in which the process did not run. */
export const eventLoop: Scheduler = {
  ...timers,
  defer: run => void setImmediate(run),
  after: (ms, run) => running.after(ms, run),
}
