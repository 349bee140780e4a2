import type { Client } from '../core/connection.ts'
import { silentFor } from './liveness.ts'
import type { NodeSocket } from './node-socket.ts'
import type { Heartbeat } from './transport.ts'

/** Whose pings they are. */
interface Pinged {
  readonly connection: NodeSocket
  readonly client: Client
  /** Sends one. False: the client has gone. */
  ping(): boolean
  /** Has it any subscription? Asked only where the heartbeat limits idleness. */
  takesPart(): boolean
  /** It has taken part in nothing for too long. */
  endIdle(): void
}

/** The pings of one client of the client protocol, and whether it answers. */
export class ClientPings {
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
    this.#end = heartbeat.add(
      () => this.#ping(),
      () => this.#check(),
    )
  }

  /** The empty command. Nothing else is a pong. */
  ponged(): void {
    this.#ponged = true
  }

  /** A command came. */
  heard(): void {
    this.#quiet = 0
  }

  end(): void {
    this.#end()
  }

  /** Whether a full connection may stay so is its policy's business, as long as its host is there. */
  #ping(): void {
    const { connection } = this.#pinged
    this.#ponged = true
    this.#silent = false
    if (++this.#quiet > this.#heartbeat.idleBeats && !this.#pinged.takesPart()) this.#pinged.endIdle()
    else if (!connection.writable) this.#silent = silentFor(connection) > 0
    else if (this.#pinged.ping()) this.#ponged = false
  }

  /** The deadline. */
  #check(): void {
    const { connection, client } = this.#pinged
    if (!this.#ponged) client.close('idle')
    else if (this.#silent && silentFor(connection) >= this.#heartbeat.pongMs) client.close('lost')
  }
}
