/** What is remembered one by one; what is older is added up. */
const MOST = 64

/**
 * How many bytes a client that is behind has taken, and when. Made when it falls behind, forgotten when it has caught
 * up.
 */
export class Progress {
  readonly #times: number[] = []
  readonly #bytes: number[] = []

  /** Times never go back. */
  add(bytes: number, now: number): void {
    this.#times.push(now)
    this.#bytes.push(bytes)
    if (this.#times.length > MOST) {
      this.#times.shift()
      const oldest = this.#bytes.shift()!
      this.#bytes[0]! += oldest
    }
  }

  /** Bytes taken after `time`: what was ahead of a message that came at that time and is still waiting. */
  since(time: number): number {
    let sum = 0
    for (let i = this.#times.length - 1; i >= 0 && this.#times[i]! > time; i--) sum += this.#bytes[i]!
    return sum
  }
}
