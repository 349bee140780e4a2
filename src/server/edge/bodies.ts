import type { IncomingMessage } from 'node:http'
import { HubError } from '../../core/errors.ts'

/**
 * Bodies that have not come yet. Node's own limit is for the whole of any request, and a live source is one request for
 * days. Whoever trickles a body would keep what it has sent so far in memory for ever.
 */
export class Bodies {
  readonly #ms: number
  readonly #late: () => void
  /** Sweeps that a body may take: the first of them may come at once. */
  readonly #limit: number
  #sweeps = 0
  /** In the order in which they began; after how many sweeps. */
  readonly #since = new Map<IncomingMessage, number>()

  /** @param late is told of each that took too long */
  constructor(ms: number, sweepMs: number, late: () => void) {
    this.#ms = ms
    this.#limit = Math.ceil(ms / sweepMs) + 1
    this.#late = late
  }

  expect(request: IncomingMessage): void {
    this.#since.set(request, this.#sweeps)
  }

  forget(request: IncomingMessage): void {
    this.#since.delete(request)
  }

  /** To be called every `sweepMs` in which the process ran: no body can be read while it does not. */
  sweep(): void {
    this.#sweeps++
    for (const [request, since] of this.#since) {
      const over = request.complete || request.destroyed
      if (!over && this.#sweeps - since < this.#limit) return
      this.#since.delete(request)
      if (over) continue
      this.#late()
      // Whoever reads it hears that it has failed, as of a peer that goes away, and answers. An error that nobody hears
      // would end the process.
      if (request.listenerCount('error') > 0) request.emit('error', tooSlow(this.#ms))
      else request.destroy()
    }
  }
}

function tooSlow(ms: number): HubError {
  return new HubError(
    'REQUEST_TIMEOUT',
    `body: it took more than ${ms} ms (timeouts.bodyMs); send it faster, or in parts`,
  )
}
