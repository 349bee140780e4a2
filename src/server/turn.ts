import { setImmediate as nextTurn } from 'node:timers/promises'

/** Work of one turn of the event loop: so many items, or so many bytes of them. Both take about a millisecond. */
const ITEMS = 50
const MAX_BYTES = 256 * 1024
/** Items that take longer than expected end the turn after so much time, in ms. */
const MAX_MS = 5

/** Divides a long list of work among turns of the event loop, so that nobody else waits for all of it. */
export class Turn {
  readonly #maxItems: number
  #items = 0
  #bytes = 0
  readonly #maxMs: number
  readonly #now: () => number
  #began: number

  /**
   * @param maxItems items that take about a millisecond
   * @param maxMs Infinity: for work that pauses between its items
   * @param now the time in ms
   */
  constructor(maxItems = ITEMS, maxMs = MAX_MS, now = () => performance.now()) {
    this.#maxItems = maxItems
    this.#maxMs = maxMs
    this.#now = now
    this.#began = now()
  }

  /** After an item of so many bytes. Goes on in the next turn once this one has done enough. */
  after(bytes: number): Promise<void> | undefined {
    this.#items++
    this.#bytes += bytes
    const isShort = this.#items < this.#maxItems && this.#bytes < MAX_BYTES
    return isShort && this.#now() - this.#began < this.#maxMs ? undefined : this.#next()
  }

  async #next(): Promise<void> {
    this.#items = 0
    this.#bytes = 0
    await nextTurn()
    this.#began = this.#now()
  }
}
