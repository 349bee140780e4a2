import { randomUUID } from 'node:crypto'
import type { Client, Connection } from '../core/connection.ts'
import type { SubscribeOptions } from '../core/contract.ts'
import type { ConnectionManager } from '../core/manager.ts'
import { isPattern } from '../core/patterns.ts'
import type { Session } from '../core/sessions.ts'

/** Who opens a channel, and what for. */
export interface Opening {
  readonly hub: ConnectionManager
  readonly clientId: string
  readonly topics: readonly { readonly name: string; readonly options?: SubscribeOptions }[]
  readonly session?: Session | undefined
  /** The peer's address, for people to read. Default: what the connection says. */
  readonly address?: string | undefined
  /** The id is taken. Default replace: the older client is closed. refuse: CLIENT_EXISTS. */
  readonly ifExists?: 'replace' | 'seize' | 'refuse' | undefined
  readonly heartbeat?: Heartbeat | undefined
  /** What another process needs to have the client again. */
  readonly restore?: unknown
}

/**
 * Makes a registered, subscribed client of an accepted channel (a response not begun, a WebSocket just opened).
 * Throws the HubErrors of registerClient and subscribe, and then has written nothing and registered nobody.
 * From then on the core owns the writing: nothing else writes messages to the channel.
 */
export interface Transport<Channel> {
  readonly name: string
  open(channel: Channel, opening: Opening): Client
}

export function newClientId(): string {
  return randomUUID()
}

export interface Bound extends Connection {
  bind(client: Client): void
  detach(): void
}

/** Registers and subscribes, or neither. `first` is queued before any message. */
export function join(connection: Bound, opening: Opening, first?: Uint8Array): Client {
  const { hub, clientId, topics } = opening
  const client = hub.registerClient(clientId, connection, opening)
  connection.bind(client)
  try {
    if (first && first.byteLength > 0) client.send(first)
    for (const { name, options } of topics) subscribeTo(hub, clientId, name, options)
  } catch (error) {
    connection.detach()
    client.close('denied')
    throw error
  }
  return client
}

/** By name or by pattern. Throws as subscribe and subscribePattern do. */
export function subscribeTo(hub: ConnectionManager, id: string, name: string, options?: SubscribeOptions): void {
  if (isPattern(name)) hub.subscribePattern(id, name, options)
  else hub.subscribe(id, name, options)
}

/** One timer for the pings of all clients; none while there is nobody. */
export class Heartbeat implements Disposable {
  readonly #everyMs: number
  readonly #beats = new Set<() => void>()
  #timer: NodeJS.Timeout | undefined

  /** @param everyMs the time between two pings of a client, in ms */
  constructor(everyMs: number) {
    this.#everyMs = everyMs
  }

  get seconds(): number {
    return Math.ceil(this.#everyMs / 1000)
  }

  add(beat: () => void): () => void {
    this.#beats.add(beat)
    this.#timer ??= setInterval(() => {
      for (const each of this.#beats) each()
    }, this.#everyMs).unref()
    return () => {
      this.#beats.delete(beat)
      if (this.#beats.size === 0) this[Symbol.dispose]()
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
