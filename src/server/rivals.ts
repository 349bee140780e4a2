import { HubError } from '../core/errors.ts'
import type { Events } from '../core/events.ts'

/** So many replacements in a row are free: a device on a bad network comes back before the hub misses it. */
const FREE_REPLACEMENTS = 5
/**
 * How long the connection that has the id keeps it after the next replacement, in ms. Doubles with each further one.
 */
const FIRST_HOLD_MS = 10_000
const LONGEST_HOLD_MS = 3_600_000
/** The count begins anew after a connection that lasts twice its hold and so much longer, in ms. */
const QUIET_MS = 60_000

/** The connections that led to the present one of an id, each replaced by the next. */
interface Rivalry {
  readonly replacements: number
  /** Time of the last replacement, in ms. */
  readonly at: number
}

/**
 * Decides which of two programs with one id stays connected. The newest connection replaces the older one, and both
 * programs come back, so they would replace each other without end. After five replacements in a row the present
 * connection keeps the id: for 10 s, then 20 s, up to an hour.
 *
 * An entry lives as long as the connection that has replaced another, so there are never more of them than clients.
 */
export class Rivals {
  readonly #now: () => number
  readonly #rivalries = new Map<string, Rivalry>()

  /** @param now the time in ms */
  constructor(events: Events, now: () => number) {
    this.#now = now
    events.on('unregister', ({ id, reason }) => {
      if (reason === 'replaced') this.#count(id)
      else this.#rivalries.delete(id)
    })
  }

  /** Throws RATE_LIMITED where the connection that has the id keeps it for now. */
  check(id: string): void {
    const rivalry = this.#rivalries.get(id)
    if (rivalry === undefined) return
    const retryMs = rivalry.at + holdOf(rivalry) - this.#now()
    if (retryMs <= 0) return
    const seconds = Math.ceil(retryMs / 1000)
    throw new HubError(
      'RATE_LIMITED',
      `client: ${id} was replaced ${rivalry.replacements} times in a row, so its connection stays for ${seconds} s; give each program its own id`,
      { retryMs },
    )
  }

  #count(id: string): void {
    const at = this.#now()
    const before = this.#rivalries.get(id)
    const goesOn = before !== undefined && at - before.at < holdOf(before) * 2 + QUIET_MS
    this.#rivalries.set(id, { replacements: goesOn ? before.replacements + 1 : 1, at })
  }
}

function holdOf({ replacements }: Rivalry): number {
  if (replacements < FREE_REPLACEMENTS) return 0
  return Math.min(LONGEST_HOLD_MS, FIRST_HOLD_MS * 2 ** (replacements - FREE_REPLACEMENTS))
}
