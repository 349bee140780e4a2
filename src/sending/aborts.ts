import { HubError } from '../core/errors.ts'

/** What a caller may give up waiting for. */
export interface Abortable {
  fail(error: HubError): void
}

/**
 * One listener for each signal, however many sends it serves: a broadcast has thousands, and a signal warns of a leak
 * from eleven.
 */
export class Aborts {
  readonly #served = new Map<AbortSignal, { readonly waiting: Set<Abortable>; readonly tell: () => void }>()

  /** Fails at once where it is too late. */
  add(signal: AbortSignal, one: Abortable): void {
    if (signal.aborted) {
      one.fail(aborted())
      return
    }
    let served = this.#served.get(signal)
    if (served === undefined) {
      const waiting = new Set<Abortable>()
      served = { waiting, tell: () => waiting.forEach(each => void each.fail(aborted())) }
      this.#served.set(signal, served)
      signal.addEventListener('abort', served.tell)
    }
    served.waiting.add(one)
  }

  /** Must follow every `add`, whatever ended it: a signal may live for ever. */
  delete(signal: AbortSignal, one: Abortable): void {
    const served = this.#served.get(signal)
    if (served === undefined || !served.waiting.delete(one) || served.waiting.size > 0) return
    this.#served.delete(signal)
    signal.removeEventListener('abort', served.tell)
  }
}

function aborted(): HubError {
  return new HubError('SEND_ABORTED', 'signal: the caller gave up waiting; the message may still arrive')
}
