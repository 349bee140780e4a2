import type { Client } from '../core/connection.ts'
import type { Beat, Heartbeat } from './heartbeat.ts'
import type { NodeSocket } from './node-socket.ts'

/**
 * Finds a peer whose host has vanished without a word, where the protocol has no answer to a ping: what TCP itself is
 * not told has arrived shows it. Closed as `lost` at a heartbeat and its deadline after the first byte that nobody
 * confirmed. A peer that is there and does not read is its policy's business. Without the TCP probe the system's own
 * limit is what is left, a quarter of an hour.
 *
 * @param ping a frame, where there is one that means nothing; sent only where the connection takes it
 * @returns ends it
 */
export function watchHost(connection: NodeSocket, client: Client, heartbeat: Heartbeat, ping?: Uint8Array): () => void {
  return heartbeat.add(new HostWatch(connection, client, heartbeat.pongMs, ping))
}

class HostWatch implements Beat {
  readonly #connection: NodeSocket
  readonly #client: Client
  readonly #pongMs: number
  readonly #ping: Uint8Array | undefined
  #asked = false

  constructor(connection: NodeSocket, client: Client, pongMs: number, ping: Uint8Array | undefined) {
    this.#connection = connection
    this.#client = client
    this.#pongMs = pongMs
    this.#ping = ping
  }

  ping(): void {
    const frame = this.#connection.writable ? this.#ping : undefined
    if (frame) this.#client.send(frame)
    // What was written a moment ago proves nothing yet.
    this.#asked = frame !== undefined || silentFor(this.#connection) > 0
  }

  check(): void {
    if (this.#asked && silentFor(this.#connection) >= this.#pongMs) this.#client.close('lost')
  }
}

export function silentFor(connection: NodeSocket): number {
  return connection.silence() ?? 0
}
