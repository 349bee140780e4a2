/** How much later than due the sweep may run before the loop counts as blocked, in ms. */
export const LATE_MS = 25
/** Stalls that are remembered one by one. */
const MOST = 32

/** Times in which our own event loop did not turn. A client cannot be blamed for them. */
export class Stalls {
  readonly #stalls: { from: number; readonly to: number }[] = []

  /** The sweep was due at `due` and runs now. */
  note(due: number, now: number): void {
    if (now - due <= LATE_MS) return
    this.#stalls.push({ from: due, to: now })
    if (this.#stalls.length <= MOST) return
    // The oldest is joined with the next, which begins earlier by as much: no blocked time is forgotten.
    const { from, to } = this.#stalls.shift()!
    this.#stalls[0]!.from -= to - from
  }

  /** How much of the time after `time` the loop was blocked, in ms. */
  since(time: number): number {
    let sum = 0
    for (let i = this.#stalls.length - 1; i >= 0 && this.#stalls[i]!.to > time; i--) {
      sum += this.#stalls[i]!.to - Math.max(this.#stalls[i]!.from, time)
    }
    return sum
  }
}
