/**
 * The first items of many in an order. This is cheaper than a sort of all of them: there may be 50,000, and a page has
 * a few. Items are added one by one, so that the work can be spread over several turns.
 */
export class First<T> {
  readonly #count: number
  readonly #order: (a: T, b: T) => number
  readonly #kept: T[] = []

  /** @param order negative: `a` comes before `b` */
  constructor(count: number, order: (a: T, b: T) => number) {
    this.#count = count
    this.#order = order
  }

  /** Sorted. */
  get all(): readonly T[] {
    return this.#kept
  }

  add(one: T): void {
    const kept = this.#kept
    if (kept.length === this.#count && this.#order(one, kept.at(-1)!) >= 0) return
    let low = 0
    for (let high = kept.length; low < high; ) {
      const middle = (low + high) >> 1
      if (this.#order(one, kept[middle]!) < 0) high = middle
      else low = middle + 1
    }
    kept.splice(low, 0, one)
    if (kept.length > this.#count) kept.pop()
  }
}

export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
