/**
 * Entries by the second in which they are due, on a clock that may be set. The cost of a call of `due` grows with the
 * entries that are due, and not with those that wait. Each entry has one second, its earliest.
 */
export class Deadlines<T> {
  readonly #buckets = new Map<number, Set<T>>()
  readonly #seconds = new Map<T, number>()
  /** All seconds up to it have been looked at. */
  #looked: number

  /** @param now in ms since 1970 */
  constructor(now: number) {
    this.#looked = Math.floor(now / 1000)
  }

  get size(): number {
    return this.#seconds.size
  }

  /** Due at `at` (ms since 1970), rounded up to a second, or with the next look. Leaves an earlier time as it is. */
  add(entry: T, at: number): void {
    const second = Math.max(Math.ceil(at / 1000), this.#looked + 1)
    const known = this.#seconds.get(entry)
    if (known !== undefined && known <= second) return
    this.remove(entry)
    this.#seconds.set(entry, second)
    const bucket = this.#buckets.get(second)
    if (bucket) bucket.add(entry)
    else this.#buckets.set(second, new Set([entry]))
  }

  remove(entry: T): void {
    const second = this.#seconds.get(entry)
    if (second === undefined) return
    this.#seconds.delete(entry)
    const bucket = this.#buckets.get(second)!
    bucket.delete(entry)
    if (bucket.size === 0) this.#buckets.delete(second)
  }

  /**
   * Removes and returns at most `most` of the entries that are due. Where it returns `most`, more may be due: call it
   * again.
   */
  due(now: number, most = Number.POSITIVE_INFINITY): T[] {
    const second = Math.floor(now / 1000)
    const entries: T[] = []
    for (const each of this.#secondsUpTo(second)) {
      for (const entry of this.#buckets.get(each) ?? []) {
        if (entries.length === most) return entries
        entries.push(entry)
        this.remove(entry)
      }
    }
    // Also back, when the clock is set back: those seconds come again.
    this.#looked = second
    return entries
  }

  /** After a jump of the clock there are more seconds than buckets. */
  #secondsUpTo(second: number): number[] {
    const span = second - this.#looked
    if (span > this.#buckets.size) return [...this.#buckets.keys()].filter(each => each <= second)
    return Array.from({ length: Math.max(0, span) }, (_, at) => this.#looked + 1 + at)
  }
}
