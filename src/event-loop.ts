import { RunningTime } from './core/running-time.ts'
import type { Scheduler } from './core/scheduler.ts'

const timers = {
  now: () => performance.now(),
  after(ms: number, run: () => void): Disposable {
    const timer = setTimeout(run, ms)
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
