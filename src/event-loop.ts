import { MAX_TIMER_MS } from './core/options.ts'
import type { Scheduler } from './core/scheduler.ts'
import { RunningTime } from './running-time.ts'

const timers = {
  now: () => performance.now(),
  after(ms: number, run: () => void): Disposable {
    // RunningTime waits again for what is left.
    const timer = setTimeout(run, Math.min(ms, MAX_TIMER_MS))
    return { [Symbol.dispose]: () => clearTimeout(timer) }
  },
  every(ms: number, run: () => void): Disposable {
    const timer = setInterval(run, Math.min(ms, MAX_TIMER_MS))
    timer.unref()
    return { [Symbol.dispose]: () => clearInterval(timer) }
  },
}

const running = new RunningTime(timers)

/**
 * Aborts the signal of a piece of work when the process has run for `ms` and the work has not ended. Unlike
 * AbortSignal.timeout it leaves out the time in which the process was stopped or blocked: no answer could be read
 * meanwhile.
 */
export async function within<T>(ms: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const cut = new AbortController()
  const timer = running.after(ms, () => cut.abort(new DOMException(`timeout after ${ms} ms`, 'TimeoutError')))
  try {
    return await work(cut.signal)
  } finally {
    timer[Symbol.dispose]()
  }
}

/**
 * Node's event loop as the core's scheduler. `after` and `every` leave out the time in which the process did not run.
 */
export const eventLoop: Scheduler = {
  now: timers.now,
  defer: run => void setImmediate(run),
  after: (ms, run) => running.after(ms, run),
  every: (ms, run) => running.every(ms, run),
}
