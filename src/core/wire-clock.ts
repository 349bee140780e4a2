/**
 * The age of the oldest byte that the peer's host has not confirmed, without remembering a time per write: one mark at a time is
 * set at the end of what is written, and its age runs until it is confirmed. A byte written just after a mark is aged from
 * the next one, so the age is too low by at most the time between two samples, and never too high.
 */
export class WireClock {
  #unacknowledged = 0
  /** Bytes written when the mark was set; confirmed when so many are. */
  #mark = 0
  #markedAt = 0
  /** Bytes that were unconfirmed when the mark was set, its own included. */
  #ahead = 0

  /** The last answer was that the mark is not confirmed yet. */
  unconfirmed = false

  /** `written`: all bytes given to the connection. `unacknowledged`: how many of them are not confirmed. */
  sample(written: number, unacknowledged: number, now: number): void {
    // After nothing was in flight the mark starts anew, whatever the sum says: a response's head and pings are not in `written`.
    this.unconfirmed = this.#unacknowledged > 0 && written - unacknowledged < this.#mark
    this.#unacknowledged = unacknowledged
    if (this.unconfirmed) return
    this.#mark = written
    this.#markedAt = now
    this.#ahead = unacknowledged
  }

  get inFlight(): boolean {
    return this.#unacknowledged > 0
  }

  get since(): number {
    return this.#markedAt
  }

  /** Bytes that had to be confirmed since, for the mark to be. */
  get ahead(): number {
    return this.#ahead
  }
}
