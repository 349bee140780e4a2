import type { Client } from '../core/connection.ts'
import type { NodeSocket } from './node-socket.ts'
import type { Heartbeat } from './transport.ts'

/**
 * Finds a peer whose host has vanished without a word, where the protocol has no answer to a ping: what TCP itself is not told has arrived
 * shows it. Closed as `lost` at a heartbeat and its deadline after the first byte that nobody confirmed. A peer that is there and does not
 * read is its policy's business. Without the TCP probe the system's own limit is what is left, a quarter of an hour.
 *
 * @param ping writes something, if there is anything that may be written; only where the connection takes it
 * @returns ends it
 */
export function watchHost(connection: NodeSocket, client: Client, heartbeat: Heartbeat, ping?: () => void): () => void {
  let asked = false
  return heartbeat.add(
    () => {
      const pings = ping !== undefined && connection.writable
      if (pings) ping()
      // What was written a moment ago proves nothing yet.
      asked = pings || silentFor(connection) > 0
    },
    () => {
      if (asked && silentFor(connection) >= heartbeat.pongMs) client.close('lost')
    },
  )
}

export function silentFor(connection: NodeSocket): number {
  return connection.silence() ?? 0
}
