import { LATE_MS } from '../../core/stalls.ts'
import { TokenBucket } from '../../core/token-bucket.ts'

/** A longer stop counts as one of so many ms. */
const MOST_MS = 60_000

/**
 * Measures how long the process has not run, because it was stopped or its event loop was blocked. It may miss a stop
 * that is shorter than `lookMs`.
 */
export class Stops {
  readonly #lookMs: number
  #looked: number
  #total = 0

  constructor(lookMs: number, now: number) {
    this.#lookMs = lookMs
    this.#looked = now
  }

  /** To be called every `lookMs`. */
  look(now: number): void {
    this.#total = this.total(now)
    this.#looked = now
  }

  /**
   * All stops until now, in ms. A stop counts before the next look: what clients sent meanwhile may be read before any
   * timer runs.
   */
  total(now: number): number {
    return this.#total + Math.min(MOST_MS, Math.max(0, now - this.#looked - this.#lookMs - LATE_MS))
  }
}

/**
 * What clients send while the process is stopped arrives at once when it goes on. The bucket then has room for what it
 * would have let pass in that time.
 */
export class EdgeBucket extends TokenBucket {
  /** Total of the stops at the last call, in ms. Undefined: there was none. */
  #stopped: number | undefined

  /** @param stopped total of the stops, in ms. Without it the bucket makes no room: give it always or never */
  override take(now: number, amount = 1, stopped = 0): boolean {
    this.fill(now, stopped - (this.#stopped ?? stopped))
    this.#stopped = stopped
    return super.take(now, amount)
  }
}
