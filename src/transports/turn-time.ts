import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Scheduler } from '../core/scheduler.ts'
import { eventLoop } from '../event-loop.ts'

/**
 * Time that frames, commands and requests of all clients together can take in one turn of the event loop, in ms. A
 * shorter time divides a burst of messages into more batches, and each batch is one more write for every subscriber.
 */
const MAX_MS = 8

/** The time that frames, commands and requests have taken of the present turn of the event loop. */
export class TurnTime {
  readonly #scheduler: Pick<Scheduler, 'now' | 'defer'>
  #began: number | undefined

  constructor(scheduler: Pick<Scheduler, 'now' | 'defer'> = eventLoop) {
    this.#scheduler = scheduler
  }

  /** Is there no time left? To be asked before each piece of work: the first question of a turn begins to count. */
  get over(): boolean {
    const now = this.#scheduler.now()
    if (this.#began === undefined) {
      this.#began = now
      this.#scheduler.defer(() => {
        this.#began = undefined
      })
    }
    return now - this.#began >= MAX_MS
  }

  /** Resolves in a turn that has time left. Those that wait go on in their order. */
  async wait(): Promise<void> {
    while (this.over) await nextTurn()
  }
}

/** Of all clients of the process. */
export const turnTime = new TurnTime()
