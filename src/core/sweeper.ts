import { atOnce } from './attempt.ts'
import type { Delivery } from './delivery.ts'
import type { Link } from './link.ts'
import { shown } from './options.ts'
import type { Outbox } from './outbox.ts'
import type { Scheduler } from './scheduler.ts'

/** How often waiting clients are looked at, in ms: how late a time limit may be noticed. */
export const SWEEP_MS = 25

/**
 * Of clients with nothing waiting and something in flight, the kernel is asked at each of so many sweeps: it is a
 * system call each.
 */
const FLIGHT_SWEEPS = 8

/**
 * One timer for all clients that wait for something, and none when no client does. It makes time-based decisions happen
 * without traffic: a client that stalls on a quiet topic is found as well.
 */
export class Sweeper {
  readonly #scheduler: Scheduler
  readonly #delivery: Delivery
  /** Bytes that may wait for one client. */
  readonly #cap: () => number
  readonly #waiting = new Set<Outbox>()
  /** Measured on the wire, with something in flight. Nearly all of them are healthy, so this must be cheap. */
  readonly #inFlight = new Set<Outbox>()
  #sweeps = 0
  #timer: Disposable | undefined
  #due = 0
  /** The loop has not polled since the last sweep: what came from the network meanwhile is not known yet. */
  #unpolled = false

  constructor(scheduler: Scheduler, delivery: Delivery, cap: () => number) {
    this.#scheduler = scheduler
    this.#delivery = delivery
    this.#cap = cap
  }

  watch(outbox: Outbox): void {
    this.#start(this.#waiting, outbox)
  }

  watchFlight(outbox: Outbox): void {
    this.#start(this.#inFlight, outbox)
  }

  #start(set: Set<Outbox>, outbox: Outbox): void {
    set.add(outbox)
    if (this.#timer !== undefined) return
    this.#due = this.#scheduler.now() + SWEEP_MS
    this.#timer = this.#scheduler.every(SWEEP_MS, () => this.#sweep())
  }

  forget(outbox: Outbox): void {
    this.#waiting.delete(outbox)
    this.#inFlight.delete(outbox)
    this.#rest()
  }

  #rest(): void {
    if (this.#waiting.size + this.#inFlight.size === 0) this.stop()
  }

  stop(): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  /** Two sweeps see two states of the network: between them the loop has polled, or the second does not happen. */
  #sweep(): void {
    const now = this.#scheduler.now()
    this.#delivery.stalls.note(this.#due, now)
    this.#due = now + SWEEP_MS
    if (this.#unpolled) return
    this.#unpolled = true
    this.#scheduler.defer(() => {
      this.#unpolled = false
    })
    for (const outbox of this.#waiting) {
      const idle = outbox.writable && outbox.behind + outbox.untold + outbox.unconfirmed === 0
      this.#look(outbox, now)
      if (outbox.condemned || (idle && !outbox.wire?.unconfirmed)) this.#waiting.delete(outbox)
    }
    if (++this.#sweeps % FLIGHT_SWEEPS === 0) this.#sweepFlights(now)
    this.#rest()
  }

  #sweepFlights(now: number): void {
    for (const outbox of this.#inFlight) {
      outbox.sample(now)
      if (!outbox.wire?.inFlight) this.#inFlight.delete(outbox)
      // Policies are asked only about clients that are late on the wire.
      else if (outbox.wire.unconfirmed) this.#waiting.add(outbox)
    }
  }

  #look(outbox: Outbox, now: number): void {
    outbox.sample(now)
    let measured = false
    let tells = false
    for (const link of outbox.links.values()) {
      if (link.behind) this.#delivery.bound(link)
      this.#wake(link, now)
      measured ||= link.terms.measure === 'wire'
      tells ||= link.tells(now)
    }
    // The last link that asked for it has left, or has another policy.
    if (!measured) outbox.wire = undefined
    if (outbox.behind > 0 && outbox.links.size > 1) this.#shed(outbox)
    if (outbox.writable && tells) this.#delivery.wake(outbox)
  }

  /** A policy that throws is a fault of its author; it must not end the timer, and with it the process. */
  #wake(link: Link, now: number): void {
    try {
      if (!isDue(link, now)) return
      const verdict = atOnce(link.policy.wake?.(link, now), 'wake')
      if (verdict === 'close') this.#delivery.condemn(link.outbox, 'slow')
      else if (verdict === 'redeliver' || verdict === 'skip') this.#redeliver(link, verdict === 'skip')
      else if (verdict === 'pull') this.#delivery.wake(link.outbox)
    } catch (error) {
      this.#delivery.fault(`policy '${link.terms.name}'`, error)
    }
  }

  /** Not while newer messages of the link are about to be written: the older ones would come after them. */
  #redeliver(link: Link, skip: boolean): void {
    if (link.acks === undefined || link.queued > 0) return
    if (skip) link.giveUp()
    link.redeliver()
    this.#delivery.wake(link.outbox)
  }

  /**
   * Each link keeps its own bounds; this is the one over all links of a client. The largest backlog gives way first.
   */
  #shed(outbox: Outbox): void {
    const links = [...outbox.links.values()]
    const own = links.map(({ terms: { backlog } }) => (backlog.kind === 'log' ? backlog.bytes : 0))
    const beside = links.reduce((sum, { againBytes, allowedBytes }) => sum + againBytes + allowedBytes, 0)
    let excess = outbox.backlogBytes - beside - Math.max(this.#cap(), ...own)
    if (excess <= 0) return
    for (const link of links.sort((a, b) => b.backlogBytes - a.backlogBytes)) {
      if (excess <= 0) return
      const { backlogBytes } = link
      if (link.shed(Math.max(0, backlogBytes - excess))) excess -= backlogBytes - link.backlogBytes
    }
    if (excess > 0) this.#delivery.condemn(outbox, 'slow')
  }
}

/** Throws where the policy has set a value that is no time. It is then asked at the next sweep. */
function isDue(link: Link, now: number): boolean {
  const wakeAt: unknown = link.wakeAt
  if (typeof wakeAt === 'number' && !Number.isNaN(wakeAt)) return wakeAt <= now
  link.wakeAt = 0
  throw new TypeError(`wakeAt must be a time in ms, got ${shown(wakeAt)}`)
}
