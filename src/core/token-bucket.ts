/**
 * Lets pass `perSecond` each second, and `burst` seconds' worth at once after a pause. It has no clock: the caller
 * gives the time, in ms.
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

  /** false: there is too little, and nothing is taken. An amount larger than the bucket needs a full bucket. */
  take(now: number, amount = 1): boolean {
    this.fill(now)
    if (this.#left < Math.min(amount, this.#most)) return false
    this.#left -= amount
    return true
  }

  /** How long until `amount` could be taken, in ms. */
  waitMs(now: number, amount = 1): number {
    this.fill(now)
    return Math.max(0, Math.ceil(((Math.min(amount, this.#most) - this.#left) * 1000) / this.#perSecond))
  }

  /** true: it equals a new bucket, so it need not be kept. */
  full(now: number): boolean {
    return this.#left + ((now - this.#at) * this.#perSecond) / 1000 >= this.#most
  }

  /** @param moreMs how much longer than usual the bucket may fill, in ms. What that adds stays until it is taken */
  protected fill(now: number, moreMs = 0): void {
    const most = this.#most + (moreMs * this.#perSecond) / 1000
    const filled = Math.min(most, this.#left + ((now - this.#at) * this.#perSecond) / 1000)
    this.#left = Math.max(this.#left, filled)
    this.#at = now
  }
}
