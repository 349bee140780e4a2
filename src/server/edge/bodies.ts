import type { IncomingMessage } from 'node:http'
import { HubError } from '../../core/errors.ts'
import { Stalls } from '../../core/stalls.ts'

/**
 * Bodies that have not come yet. Node's own limit is for the whole of any request, and a live source is one request for days. Whoever
 * trickles a body would keep what it has sent so far in memory for ever.
 */
export class Bodies {
  readonly #ms: number
  readonly #late: () => void
  /** In the order in which they began; when, in ms. */
  readonly #since = new Map<IncomingMessage, number>()
  readonly #stalls = new Stalls()

  /** @param late is told of each that took too long */
  constructor(ms: number, late: () => void) {
    this.#ms = ms
    this.#late = late
  }

  expect(request: IncomingMessage, now: number): void {
    this.#since.set(request, now)
  }

  forget(request: IncomingMessage): void {
    this.#since.delete(request)
  }

  /** To be called once a second or so. `due`: when it should have been; what is later is time in which no body could be read. */
  sweep(now: number, due = now): void {
    this.#stalls.note(due, now)
    for (const [request, since] of this.#since) {
      const over = request.complete || request.destroyed
      if (!over && now - since - this.#stalls.since(since) < this.#ms) return
      this.#since.delete(request)
      if (over) continue
      this.#late()
      // Whoever reads it hears that it has failed, as of a peer that goes away, and answers. An error that nobody hears would end the process.
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
