import type { Delivery } from './delivery.ts'
import type { Link } from './link.ts'
import type { Outbox } from './outbox.ts'
import type { Scheduler } from './scheduler.ts'

/** How often waiting clients are looked at, in ms: how late a time limit may be noticed. */
export const SWEEP_MS = 25

/**
 * One timer for all clients that wait for something, none when nobody does. It makes time-based decisions happen without
 * traffic: a client that stalls on a quiet topic is found as well.
 */
export class Sweeper {
  readonly #scheduler: Scheduler
  readonly #delivery: Delivery
  readonly #waiting = new Set<Outbox>()
  #timer: Disposable | undefined

  constructor(scheduler: Scheduler, delivery: Delivery) {
    this.#scheduler = scheduler
    this.#delivery = delivery
  }

  watch(outbox: Outbox): void {
    this.#waiting.add(outbox)
    this.#timer ??= this.#scheduler.every(SWEEP_MS, () => this.#sweep())
  }

  forget(outbox: Outbox): void {
    this.#waiting.delete(outbox)
    if (this.#waiting.size === 0) this.stop()
  }

  stop(): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  #sweep(): void {
    const now = this.#scheduler.now()
    for (const outbox of this.#waiting) {
      for (const link of outbox.links.values()) this.#look(link, now)
      if (outbox.writable && outbox.untold > 0) this.#delivery.wake(outbox)
      if (outbox.condemned || (outbox.writable && outbox.behind === 0 && outbox.untold === 0)) {
        this.#waiting.delete(outbox)
      }
    }
    if (this.#waiting.size === 0) this.stop()
  }

  #look(link: Link, now: number): void {
    if (link.behind) this.#delivery.bound(link)
    if (link.policy.wake === undefined || link.wakeAt > now) return
    const verdict = this.#wake(link, now)
    if (verdict === 'close') this.#delivery.condemn(link.outbox, 'slow')
    else if (verdict === 'pull') this.#delivery.wake(link.outbox)
  }

  /** A policy that throws is a fault of its author; it must not end the timer, and with it the process. */
  #wake(link: Link, now: number): 'wait' | 'pull' | 'close' | undefined {
    try {
      return link.policy.wake?.(link, now)
    } catch (error) {
      this.#delivery.fault(link, error)
      return 'wait'
    }
  }
}
