import { eventLoop } from '../event-loop.ts'

/**
 * Ends a piece of work when its time is over or when its owner cancels it, even where the work itself does not listen:
 * a request that still waits for a name or for a socket does not. Whoever makes one clears it.
 *
 * Not AbortSignal.any: in Node 20 every use leaves something behind in a signal that lives on, as that of a client
 * does.
 */
export class TimeLimit {
  readonly #cut = new AbortController()
  readonly #owner: AbortSignal
  readonly #timer: Disposable
  readonly #over: Promise<never>
  readonly #cancel = (): void => this.#end('AbortError', 'cancelled')

  constructor(ms: number, owner: AbortSignal) {
    this.#owner = owner
    const { signal } = this.#cut
    this.#over = new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    // It may come when nothing is waited for.
    this.#over.catch(() => {})
    this.#timer = eventLoop.after(ms, () => this.#end('TimeoutError', `timeout after ${ms} ms`))
    owner.addEventListener('abort', this.#cancel)
    if (owner.aborted) this.#cancel()
  }

  /** For work that listens. Its reason is a TimeoutError or an AbortError, whose `code` says why in words. */
  get signal(): AbortSignal {
    return this.#cut.signal
  }

  /** What the work comes to, unless the time is over first: then it rejects with the signal's reason. */
  wait<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#over])
  }

  clear(): void {
    this.#timer[Symbol.dispose]()
    this.#owner.removeEventListener('abort', this.#cancel)
  }

  /** @param name as the platform calls it; the DOMException that it would make has a number for a code */
  #end(name: 'AbortError' | 'TimeoutError', why: string): void {
    this.#cut.abort(Object.assign(new Error(why), { name, code: why }))
  }
}
