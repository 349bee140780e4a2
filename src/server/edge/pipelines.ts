import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** Requests that may wait on one connection for the answer to an earlier one, which may be a stream without an end. */
const MAX_WAITING = 64

/**
 * Node takes requests of one connection as they come, does them, and keeps each answer until those before it are out:
 * without a bound.
 */
export class Pipelines {
  readonly #waiting = new WeakMap<Socket, number>()

  /** false: it was one too many, and the connection is cut. */
  enter(socket: Socket, response: ServerResponse): boolean {
    // The first in line has the socket.
    if (response.socket !== null) return true
    const waiting = (this.#waiting.get(socket) ?? 0) + 1
    if (waiting > MAX_WAITING) {
      socket.destroy()
      return false
    }
    this.#waiting.set(socket, waiting)
    response.once('close', () => this.#waiting.set(socket, (this.#waiting.get(socket) ?? 1) - 1))
    return true
  }
}
