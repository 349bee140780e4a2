import { checkValue, having, MAX_TIMER_MS, number, type Rules, readOptions } from '../core/options.ts'
import type { Scheduler } from '../core/scheduler.ts'
import { eventLoop } from '../event-loop.ts'

/** How long a peer may take to answer a ping, in ms, if nothing else is said. */
const PONG_MS = 10_000
/** The pings of all clients are spread over so many turns of the event loop, or fewer where the interval is short. */
const MOST_BUCKETS = 256
/** Between two of these turns, in ms. */
const SHORTEST_TICK_MS = 10

/** With a shorter one a pong over a long path comes late, and pings are most of what is sent. */
export const pingPeriod = number(100, MAX_TIMER_MS)

export interface HeartbeatOptions {
  /** How long a peer may take to answer a ping, in ms. Default 10,000; never longer than until the next ping. */
  readonly pongMs?: number | undefined
  /** How long a client that takes part in nothing may stay, in ms; seen at its next ping. Default: for ever. */
  readonly idleMs?: number | undefined
  /** For the ticks. Default: the event loop. */
  readonly scheduler?: Pick<Scheduler, 'every' | 'defer'> | undefined
}

const OPTIONS: Rules<HeartbeatOptions> = {
  pongMs: pingPeriod,
  idleMs: number(0, MAX_TIMER_MS),
  scheduler: having('a scheduler', 'every', 'defer'),
}

/**
 * What one client does at the heartbeat. An object of a class, where there is one for each connection: closures cost
 * four times as much.
 */
export interface Beat {
  ping(): void
  /** `pongMs` after each ping, and before the next. */
  check?(): void
}

/**
 * The pings of all clients, and the deadlines of their answers: one timer while there is anybody, and none while there
 * is nobody. Each client is in one of the buckets, and each tick pings one bucket, so that no turn of the event loop is
 * long.
 *
 * Deadlines are counted in ticks of the scheduler, and not read from a clock: time in which the process did not run
 * does not count.
 */
export class Heartbeat implements Disposable {
  readonly everyMs: number
  readonly pongMs: number
  /** A client that takes part in nothing is closed at this ping since it last did. */
  readonly idleBeats: number
  readonly #scheduler: Pick<Scheduler, 'every' | 'defer'>
  readonly #tickMs: number
  /** Ticks between a ping and the deadline of its answer. */
  readonly #pongTicks: number
  readonly #buckets: Set<Beat>[]
  #size = 0
  #timer: Disposable | undefined
  /** The bucket that was pinged last. */
  #at = 0
  /** The bucket that got a client last. */
  #filled = 0

  /** @param everyMs the time between two pings of a client, in ms: at least 100. Throws CONFIG_INVALID. */
  constructor(everyMs: number, options: HeartbeatOptions = {}) {
    checkValue(everyMs, pingPeriod, 'Heartbeat: everyMs', 'CONFIG_INVALID')
    const read = readOptions(options, OPTIONS, 'Heartbeat: ', 'CONFIG_INVALID')
    const { pongMs = PONG_MS, idleMs = 0, scheduler = eventLoop } = read
    this.everyMs = everyMs
    this.pongMs = Math.min(pongMs, everyMs)
    this.idleBeats = idleMs > 0 ? Math.ceil(idleMs / everyMs) : Number.POSITIVE_INFINITY
    this.#scheduler = scheduler
    const count = Math.max(1, Math.min(MOST_BUCKETS, Math.floor(everyMs / SHORTEST_TICK_MS)))
    this.#tickMs = everyMs / count
    this.#pongTicks = Math.min(count, Math.ceil(this.pongMs / this.#tickMs))
    this.#buckets = Array.from({ length: count }, () => new Set())
  }

  get seconds(): number {
    return Math.ceil(this.everyMs / 1000)
  }

  /** Its first ping comes within `everyMs`. @returns ends it */
  add(beat: Beat): () => void {
    const bucket = this.#nextBucket()
    bucket.add(beat)
    this.#size++
    this.#timer ??= this.#scheduler.every(this.#tickMs, () => this.#tick())
    return () => {
      if (!bucket.delete(beat)) return
      this.#size--
      if (this.#size === 0) this[Symbol.dispose]()
    }
  }

  /**
   * Takes the buckets in turn, and skips those that have more than their share. For the first client: the bucket that
   * is pinged last.
   */
  #nextBucket(): Set<Beat> {
    const count = this.#buckets.length
    if (this.#size === 0) this.#filled = this.#at + 1
    do this.#filled = (this.#filled + count - 1) % count
    while (this.#buckets[this.#filled]!.size > this.#size / count)
    return this.#buckets[this.#filled]!
  }

  #tick(): void {
    const count = this.#buckets.length
    this.#at = (this.#at + 1) % count
    const pinged = this.#buckets[this.#at]!
    const checked = this.#buckets[(this.#at - this.#pongTicks + count) % count]!
    if (pinged.size + checked.size === 0) return
    // Behind the loop's next look at the network: answers that have come are read before anybody is judged.
    this.#scheduler.defer(() => {
      for (const beat of checked) beat.check?.()
      for (const beat of pinged) beat.ping()
    })
  }

  [Symbol.dispose](): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }
}
