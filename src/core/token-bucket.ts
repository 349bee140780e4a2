/**
 * At most so much a second, and `burst` seconds' worth at once after a pause. Has no clock: whoever asks says when it
 * is, in ms.
 */
export class TokenBucket {
  readonly #perSecond: number
  readonly #most: number
  #left: number
  #at: number

  constructor(perSecond: number, now: number, burst = 1) {
    this.#perSecond = perSecond
    this.#most = Math.max(1, perSecond * burst)
    this.#left = this.#most
    this.#at = now
  }

  /** false: it is too much, and nothing is taken. What is more than the whole bucket may go when it is full. */
  take(now: number, amount = 1): boolean {
    this.#fill(now)
    if (this.#left < Math.min(amount, this.#most)) return false
    this.#left -= amount
    return true
  }

  /** How long until `amount` could be taken, in ms. */
  waitMs(now: number, amount = 1): number {
    this.#fill(now)
    const missing = Math.min(amount, this.#most) - this.#left
    return missing > 0 ? Math.ceil((missing * 1000) / this.#perSecond) : 0
  }

  /** As if nothing had ever been taken: it need not be kept. */
  full(now: number): boolean {
    this.#fill(now)
    return this.#left >= this.#most
  }

  #fill(now: number): void {
    this.#left = Math.min(this.#most, this.#left + ((now - this.#at) * this.#perSecond) / 1000)
    this.#at = now
  }
}
