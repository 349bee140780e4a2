/**
 * One listener for each signal, however many sends or streams it serves: a broadcast has thousands, and Node warns of a
 * leak from eleven.
 */
export class Aborts<One> {
  readonly #end: (one: One) => void
  readonly #served = new Map<AbortSignal, { readonly waiting: Set<One>; readonly tell: () => void }>()

  /** @param end ends one of them, when its signal aborts */
  constructor(end: (one: One) => void) {
    this.#end = end
  }

  /** Ends it at once where the signal has aborted already. */
  add(signal: AbortSignal, one: One): void {
    if (signal.aborted) {
      this.#end(one)
      return
    }
    let served = this.#served.get(signal)
    if (served === undefined) {
      const waiting = new Set<One>()
      served = { waiting, tell: () => waiting.forEach(this.#end) }
      this.#served.set(signal, served)
      signal.addEventListener('abort', served.tell)
    }
    served.waiting.add(one)
  }

  /** Must follow every `add`, whatever ended it: a signal may live as long as the process. */
  delete(signal: AbortSignal, one: One): void {
    const served = this.#served.get(signal)
    if (served === undefined || !served.waiting.delete(one) || served.waiting.size > 0) return
    this.#served.delete(signal)
    signal.removeEventListener('abort', served.tell)
  }
}
