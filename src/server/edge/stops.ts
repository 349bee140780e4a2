import { LATE_MS } from '../../core/stalls.ts'
import { TokenBucket } from '../../core/token-bucket.ts'

/** The longest stop that is made up for, in ms. */
const MOST_MS = 60_000

/** How long the process has not run: it was stopped, or its event loop was blocked. A stop that is shorter than `lookMs` may not be seen. */
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

  /** In ms, since this began. A stop that ended counts at once, and not at the next look: what came meanwhile is read before any timer runs. */
  total(now: number): number {
    return this.#total + Math.min(MOST_MS, Math.max(0, now - this.#looked - this.#lookMs - LATE_MS))
  }
}

/**
 * What is sent while the process is stopped comes at once when it goes on. The bucket then has room for all that it would have let pass
 * meanwhile, and for no more.
 */
export class EdgeBucket extends TokenBucket {
  /** Undefined: nothing has been taken yet. */
  #stopped: number | undefined

  /** @param stopped total of the stops, in ms. Without it the bucket makes no room: give it always or never */
  override take(now: number, amount = 1, stopped = 0): boolean {
    this.fill(now, stopped - (this.#stopped ?? stopped))
    this.#stopped = stopped
    return super.take(now, amount)
  }
}
