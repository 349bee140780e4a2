interface Entry<T> {
  readonly of: T
  readonly size: number
}

/**
 * Things by size, the largest first: a binary heap. Nothing is sorted, so that the work can be spread over several
 * turns.
 */
export class Largest<T> {
  readonly #sizeOf: (of: T) => number
  readonly #before: (a: T, b: T) => boolean
  readonly #heap: Entry<T>[] = []

  /** @param before which of two of the same size comes first */
  constructor(sizeOf: (of: T) => number, before: (a: T, b: T) => boolean) {
    this.#sizeOf = sizeOf
    this.#before = before
  }

  /** Not of size 0. */
  add(of: T): void {
    const size = this.#sizeOf(of)
    if (size === 0) return
    const entry = { of, size }
    const heap = this.#heap
    let at = heap.push(entry) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!this.#isFirst(entry, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = entry
  }

  /** The largest, which is not in it any more. What has become smaller meanwhile is put back in its place. */
  take(): T | undefined {
    for (;;) {
      const first = this.#pop()
      // Not `>=`: with a size that is NaN this would never end.
      if (first === undefined || !(this.#sizeOf(first.of) < first.size)) return first?.of
      this.add(first.of)
    }
  }

  #pop(): Entry<T> | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && this.#isFirst(heap[child + 1]!, heap[child]!)) child++
      if (!this.#isFirst(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
    return first
  }

  #isFirst(a: Entry<T>, b: Entry<T>): boolean {
    return a.size === b.size ? this.#before(a.of, b.of) : a.size > b.size
  }
}
