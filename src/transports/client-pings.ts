import type { Client } from '../core/connection.ts'
import type { ConnectionManager } from '../core/manager.ts'
import { PING_FRAME } from './client-codec.ts'
import type { Beat, Heartbeat } from './heartbeat.ts'
import { silentFor } from './liveness.ts'
import type { NodeSocket } from './node-socket.ts'

/** Whose pings they are. */
interface Pinged {
  readonly hub: ConnectionManager
  readonly connection: NodeSocket
  readonly client: Client
  /** It has taken part in nothing for too long. */
  endIdle(): void
}

/** The pings of one client of the client protocol, and whether it answers. */
export class ClientPings implements Beat {
  readonly #pinged: Pinged
  readonly #heartbeat: Heartbeat
  readonly #end: () => void
  #ponged = true
  /** At the last ping its host had confirmed nothing for a while. */
  #silent = false
  /** Pings since its last command. */
  #quiet = 0

  constructor(heartbeat: Heartbeat, pinged: Pinged) {
    this.#pinged = pinged
    this.#heartbeat = heartbeat
    this.#end = heartbeat.add(this)
  }

  /** A command came. Only the empty one is a pong. */
  heard(pong: boolean): void {
    if (pong) this.#ponged = true
    else this.#quiet = 0
  }

  end(): void {
    this.#end()
  }

  /** Whether a full connection may stay so is its policy's business, as long as its host is there. */
  ping(): void {
    const { connection, client } = this.#pinged
    this.#ponged = true
    this.#silent = false
    if (++this.#quiet > this.#heartbeat.idleBeats && this.#isIdle()) this.#pinged.endIdle()
    else if (!connection.writable) this.#silent = silentFor(connection) > 0
    else if (client.send(PING_FRAME)) this.#ponged = false
  }

  /** It has no subscription, and has sent nothing but pongs. */
  #isIdle(): boolean {
    const { hub, client } = this.#pinged
    const { subscriptions, patterns } = hub.getClient(client.id)
    return subscriptions.length + patterns.length === 0
  }

  /** The deadline. */
  check(): void {
    const { connection, client } = this.#pinged
    if (!this.#ponged) client.close('idle')
    else if (this.#silent && silentFor(connection) >= this.#heartbeat.pongMs) client.close('lost')
  }
}
