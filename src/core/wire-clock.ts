/**
 * The age of the oldest byte that the peer's host has not confirmed, without remembering a time per write: one mark at
 * a time is set at the end of what is written, and its age runs until it is confirmed. A byte written just after a mark
 * is aged from the next one, so the age is too low by at most the time between two samples, and never too high.
 */
export class WireClock {
  #unacknowledged = 0
  /** Bytes written when the mark was set; confirmed when so many are. */
  #mark = 0
  #markedAt = 0
  /** Bytes that were unconfirmed when the mark was set, its own included. */
  #ahead = 0
  /** Some of those have been confirmed since. */
  #moved = false
  /** The largest write since the mark was set, and up to it. */
  #largest = 0
  #own = 0

  /** The last answer was that the mark is not confirmed yet. */
  unconfirmed = false

  wrote(bytes: number): void {
    if (bytes > this.#largest) this.#largest = bytes
  }

  /** `written`: all bytes given to the connection. `unacknowledged`: how many of them are not confirmed. */
  sample(written: number, unacknowledged: number, now: number): void {
    // After nothing was in flight the mark starts anew, whatever the sum says: a response's head and pings are not in
    // `written`.
    this.unconfirmed = this.#unacknowledged > 0 && written - unacknowledged < this.#mark
    this.#unacknowledged = unacknowledged
    if (this.unconfirmed) {
      this.#moved ||= written - unacknowledged > this.#mark - this.#ahead
      return
    }
    this.#mark = written
    this.#markedAt = now
    this.#ahead = unacknowledged
    this.#own = this.#largest
    this.#largest = 0
    this.#moved = false
  }

  get inFlight(): boolean {
    return this.#unacknowledged > 0
  }

  get since(): number {
    return this.#markedAt
  }

  /**
   * What must be confirmed before the client is in time again: all up to the mark; but of a client that has confirmed
   * nothing at all since, the oldest write, which had nothing ahead of it any more. It was no larger than the largest.
   */
  get ahead(): number {
    return this.#moved ? this.#ahead : Math.min(this.#ahead, this.#own)
  }
}
