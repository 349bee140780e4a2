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

  /** As if nothing had ever been taken: it need not be kept. */
  full(now: number): boolean {
    return this.waitMs(now, Number.POSITIVE_INFINITY) === 0
  }

  /** @param moreMs it may hold what comes in so much time, beyond what it holds else. It keeps that until it is taken */
  protected fill(now: number, moreMs = 0): void {
    const most = this.#most + (moreMs * this.#perSecond) / 1000
    const filled = Math.min(most, this.#left + ((now - this.#at) * this.#perSecond) / 1000)
    this.#left = Math.max(this.#left, filled)
    this.#at = now
  }
}
