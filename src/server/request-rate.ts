/** At most so many requests a second, and as many at once after a pause. Has no clock: whoever asks says when it is. */
export class RequestRate {
  readonly #perSecond: number
  #left: number
  #at: number

  /** @param now in ms, on a monotonic clock, as in `take` */
  constructor(perSecond: number, now: number) {
    this.#perSecond = perSecond
    this.#left = perSecond
    this.#at = now
  }

  /** false: it is one too many. */
  take(now: number): boolean {
    this.#left = Math.min(this.#perSecond, this.#left + ((now - this.#at) * this.#perSecond) / 1000)
    this.#at = now
    if (this.#left < 1) return false
    this.#left--
    return true
  }
}
