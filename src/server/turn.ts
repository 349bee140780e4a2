import { setImmediate as nextTurn } from 'node:timers/promises'
import { type TurnTime, turnTime } from '../transports/turn-time.ts'

/** Work of one turn of the event loop: so many items, or so many bytes of them. Both take about a millisecond. */
const ITEMS = 50
const MAX_BYTES = 256 * 1024

/**
 * Divides a long list of work among turns of the event loop, so that others do not wait for all of it. Items that take
 * longer than expected end the turn when its time is over.
 */
export class Turn {
  readonly #maxItems: number
  readonly #time: Pick<TurnTime, 'over' | 'wait'>
  #items = 0
  #bytes = 0

  /** @param maxItems items that take about a millisecond */
  constructor(maxItems = ITEMS, time: Pick<TurnTime, 'over' | 'wait'> = turnTime) {
    this.#maxItems = maxItems
    this.#time = time
  }

  /** After an item of so many bytes. Goes on in another turn once this one has done enough. */
  after(bytes: number): Promise<void> | undefined {
    this.#items++
    this.#bytes += bytes
    const isShort = this.#items < this.#maxItems && this.#bytes < MAX_BYTES
    return isShort && !this.#time.over ? undefined : this.#next()
  }

  async #next(): Promise<void> {
    this.#items = 0
    this.#bytes = 0
    await nextTurn()
    await this.#time.wait()
  }
}
