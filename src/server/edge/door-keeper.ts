import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { HubError } from '../../core/errors.ts'
import type { Scheduler } from '../../core/scheduler.ts'
import type { AddressEntry } from './addresses.ts'
import type { EdgeLimits } from './limits.ts'

type ConnectionLimit = 'maxConnections' | 'maxConnectionsPerAddress'

/** Connections over a limit that are told so at their first request, at a time; more are reset without a word. */
const MAX_TOLD = 64
/** How long one of them may take to ask and to read the answer, in ms. */
const ASK_MS = 2000

/**
 * Set on a socket: the entry of its peer, so that the address is read once in its life, and that of whom its proxy
 * opened it for.
 */
const PEER = Symbol('peer')
const FORWARDED = Symbol('forwarded')
type KnownSocket = Socket & { [PEER]?: AddressEntry; [FORWARDED]?: AddressEntry }

/** Counts the connections of the process and of each address. */
export class DoorKeeper {
  readonly #scheduler: Pick<Scheduler, 'after'>
  readonly #refused: (limit: ConnectionLimit) => void
  readonly #told = new Map<Socket, HubError>()
  #connections = 0

  constructor(scheduler: Pick<Scheduler, 'after'>, refused: (limit: ConnectionLimit) => void) {
    this.#scheduler = scheduler
    this.#refused = refused
  }

  /** `peer` is asked once for each connection. */
  watch(server: Server, peer: (socket: Socket) => AddressEntry, limits: () => EdgeLimits): void {
    const keeper = this
    // One function for all of them: a closure per socket would be there as long as the socket.
    function leave(this: KnownSocket): void {
      keeper.#connections--
      this[PEER]!.connections--
      if (this[FORWARDED] !== undefined) this[FORWARDED].connections--
    }
    server.on('connection', (socket: KnownSocket) => {
      const entry = peer(socket)
      const error = this.#over(entry, limits())
      this.#connections++
      entry.connections++
      socket[PEER] = entry
      socket.on('close', leave)
      if (error !== undefined) this.#turnAway(socket, error)
    })
  }

  /** Undefined: it is not watched. */
  peerOf(socket: KnownSocket): AddressEntry | undefined {
    return socket[PEER]
  }

  /** Throws LIMIT_EXCEEDED to who was let in only to be told. */
  checkTurnedAway(socket: Socket): void {
    const error = this.#told.size > 0 ? this.#told.get(socket) : undefined
    if (error !== undefined) throw error
  }

  /**
   * A trusted proxy opens a client for this address: its connection is that address's as long as it lives. Throws
   * LIMIT_EXCEEDED.
   */
  forwarded(socket: KnownSocket, entry: AddressEntry, limits: EdgeLimits): void {
    const before = socket[FORWARDED]
    if (before === entry || entry.proxy || socket[PEER] === undefined) return
    if (!entry.exempt && entry.connections >= limits.maxConnectionsPerAddress) {
      throw this.#tooMany('maxConnectionsPerAddress', limits)
    }
    entry.connections++
    socket[FORWARDED] = entry
    if (before !== undefined) before.connections--
  }

  #over(entry: AddressEntry, limits: EdgeLimits): HubError | undefined {
    if (this.#connections >= limits.maxConnections) return this.#tooMany('maxConnections', limits)
    const free = entry.exempt || entry.proxy || entry.connections < limits.maxConnectionsPerAddress
    return free ? undefined : this.#tooMany('maxConnectionsPerAddress', limits)
  }

  #tooMany(limit: ConnectionLimit, limits: EdgeLimits): HubError {
    this.#refused(limit)
    const whose = limit === 'maxConnections' ? 'this server has' : 'your address has'
    return new HubError(
      'LIMIT_EXCEEDED',
      `limits.${limit}: ${whose} ${limits[limit]} connections already; close some, or raise it`,
    )
  }

  #turnAway(socket: Socket, error: HubError): void {
    if (this.#told.size >= MAX_TOLD) {
      socket.resetAndDestroy()
      return
    }
    this.#told.set(socket, error)
    // The answer to its request says `connection: close`.
    const timer = this.#scheduler.after(ASK_MS, () => socket.destroy())
    socket.once('close', () => {
      timer[Symbol.dispose]()
      this.#told.delete(socket)
    })
  }
}
