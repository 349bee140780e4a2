/** What came in during the last `windowMs`: how often, and how much. */
export class Meter {
  readonly #windowMs: number
  readonly #started: number
  #entries: { readonly at: number; readonly amount: number }[] = []

  constructor(windowMs: number, now: number) {
    this.#windowMs = windowMs
    this.#started = now
  }

  add(now: number, amount = 1): void {
    this.#forget(now)
    this.#entries.push({ at: now, amount })
  }

  /** Entries a second. */
  rate(now: number): number {
    this.#forget(now)
    return this.#entries.length / this.#seconds(now)
  }

  /** Sum of the amounts, a second. */
  amountRate(now: number): number {
    this.#forget(now)
    return this.#sum() / this.#seconds(now)
  }

  /** Amount of one entry on average; 0 without any. */
  mean(now: number): number {
    this.#forget(now)
    return this.#entries.length === 0 ? 0 : this.#sum() / this.#entries.length
  }

  #sum(): number {
    let sum = 0
    for (const { amount } of this.#entries) sum += amount
    return sum
  }

  /** A meter that is younger than its window has seen only so much; below half a second a rate would be a guess. */
  #seconds(now: number): number {
    return Math.max(500, Math.min(this.#windowMs, now - this.#started)) / 1000
  }

  #forget(now: number): void {
    const kept = this.#entries.findIndex(({ at }) => at > now - this.#windowMs)
    this.#entries = kept === -1 ? [] : kept === 0 ? this.#entries : this.#entries.slice(kept)
  }
}
