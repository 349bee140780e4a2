import type { Scheduler } from './core/scheduler.ts'

/** Node's event loop as the core's scheduler. */
export const eventLoop: Scheduler = {
  now: () => performance.now(),
  defer: run => void setImmediate(run),
  after(ms, run) {
    const timer = setTimeout(run, ms)
    return { [Symbol.dispose]: () => clearTimeout(timer) }
  },
  every(ms, run) {
    const timer = setInterval(run, ms)
    timer.unref()
    return { [Symbol.dispose]: () => clearInterval(timer) }
  },
}
