import type { MessagePort } from 'node:worker_threads'
import { codecRule } from '../core/arguments.ts'
import type { RouteResult } from '../core/broker.ts'
import type { Client, CloseReason } from '../core/connection.ts'
import { HubError } from '../core/errors.ts'
import type { HubEvents } from '../core/events.ts'
import type { Codec } from '../core/message.ts'
import {
  anything,
  callable,
  checkValue,
  flag,
  having,
  integer,
  number,
  oneOf,
  type Rules,
  readOptions,
  text,
} from '../core/options.ts'
import type { DeliveryPolicy } from '../core/policy.ts'
import type { Scheduler } from '../core/scheduler.ts'
import type { ClientInfo, DropCount } from '../core/stats.ts'
import { eventLoop } from '../event-loop.ts'
import { createHub, type Hub } from '../hub.ts'
import { openTopics } from '../open-topics.ts'
import { DROP_SLOW_OPTIONS, dropSlow } from '../policies/drop-slow.ts'
import { rawCodec } from '../transports/codecs.ts'
import { join } from '../transports/transport.ts'
import { type Listener, listenerOf, type TowerSocket } from './listener.ts'
import { Retries, SendConnection } from './send-connection.ts'
import { clientTimeoutMs } from './timeout.ts'
import { servePort } from './worker-port.ts'

export interface TowerOptions {
  /**
   * How long a listener may leave a byte waiting, in ms. Default: TOWER_CLIENT_TIMEOUT_MS of the environment, else 250.
   */
  readonly timeoutMs?: number
  /** Default: process.env. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /**
   * Bytes a second at which a listener may take longer (see drop-slow). Default Infinity, the contract's strict rule. A
   * tower with a burst for listeners on slow links wants about twice its bit rate here.
   */
  readonly floorRate?: number
  /** What waits: queue (default), what is in this process; wire, also what the listener's host has not confirmed. */
  readonly measure?: 'queue' | 'wire'
  /** Payload bytes that may wait for one listener, whatever the time; they are shared by all. Default 8 MiB. */
  readonly bytes?: number
  /**
   * Bytes that the kernel may take of a listener's beyond what is in flight (Linux, koffi). Default 16 KiB; 0: 128 KiB,
   * as under drop-slow.
   */
  readonly notSentLowatBytes?: number
  /**
   * What a new listener gets first: whole broadcasts, the last so many bytes. Default 0. On a given hub: all that the
   * topic keeps, if not 0.
   */
  readonly burstBytes?: number
  /** Of HTTP responses whose head is not written yet. Default application/octet-stream. */
  readonly contentType?: string
  /** An id that is taken. replace (default): the older listener is closed as `replaced`. refuse: CLIENT_EXISTS. */
  readonly ifExists?: 'replace' | 'refuse'
  /** Default: a hub of its own. One that is given is shared, and not closed with the tower. */
  readonly hub?: Hub
  /** Default: a topic of its own. */
  readonly topic?: string
  /** A listener has left or was removed. */
  readonly onRemove?: (clientId: string, reason: CloseReason) => void
  /** Of the tower's own hub. Default: the event loop. */
  readonly scheduler?: Scheduler
}

const MIB = 1024 * 1024
const OPTIONS: Rules<TowerOptions> = {
  timeoutMs: DROP_SLOW_OPTIONS.timeoutMs,
  env: anything,
  floorRate: number(1, Number.POSITIVE_INFINITY),
  measure: oneOf('queue', 'wire'),
  bytes: DROP_SLOW_OPTIONS.bytes,
  notSentLowatBytes: integer(0, 64 * MIB),
  burstBytes: integer(0, 256 * MIB),
  contentType: text,
  ifExists: oneOf('replace', 'refuse'),
  hub: having('a hub', 'registerClient', 'subscribe'),
  topic: anything,
  onRemove: callable,
  scheduler: having('a scheduler', 'now', 'defer', 'after', 'every'),
}

export interface AddOptions {
  /**
   * Frames the broadcasts in another way than as they are. One object for all listeners of a kind: it is the key of the
   * shared frame.
   */
  readonly codec?: Codec
  /** false: bare bytes also over HTTP/1.1. Default true. */
  readonly chunked?: boolean
  /** false: no burst for this one. */
  readonly burst?: boolean
}

const ADD_OPTIONS: Rules<AddOptions> = { codec: codecRule, chunked: flag, burst: flag }
const portRule = having('a MessagePort', 'on', 'postMessage', 'close')

export interface TowerStats {
  readonly clients: number
  readonly broadcasts: number
  readonly bytes: number
  /** Broadcasts times listeners that took them; on a shared hub since the topic last had nobody. */
  readonly delivered: number
  readonly drops: readonly DropCount[]
  /** Listeners that left or were removed, by reason. */
  readonly removed: Readonly<Partial<Record<CloseReason, number>>>
}

/** Largest broadcast of a tower with a hub of its own. */
const MAX_BROADCAST_BYTES = 16 * MIB
let towers = 0

/**
 * The Tower contract on a hub: one topic, one policy, and an adapter for its sockets. There is no list of clients here
 * and no loop over them: each listener is a client of the hub, so what is promised of the hub's clients holds for them.
 * All methods are synchronous; a turn of the event loop makes each of them atomic [H1][H5][H10]. Other threads:
 * `fromWorker`.
 */
export class HTTPConnectionManager implements AsyncDisposable {
  readonly hub: Hub
  readonly topic: string
  readonly timeoutMs: number
  readonly #options: TowerOptions
  readonly #policy: DeliveryPolicy
  readonly #retries: Retries
  /** The socket of each listener, by client and not by id, and back; the hub knows all else. */
  readonly #sockets = new Map<Client, object>()
  readonly #ids = new WeakMap<object, string>()
  readonly #ports = new Set<MessagePort>()
  readonly #sent = { broadcasts: 0, bytes: 0 }
  #closed = false
  readonly #removed: Partial<Record<CloseReason, number>> = {}
  readonly #onUnregister = ({ client, reason }: HubEvents['unregister'][0]): void => this.#forget(client, reason)

  /** Throws CONFIG_INVALID for an option that is unknown or wrong, TOPIC_INVALID. */
  constructor(given: TowerOptions = {}) {
    const options = readOptions(given, OPTIONS, 'tower: ', 'CONFIG_INVALID')
    this.#options = options
    this.timeoutMs = clientTimeoutMs(options.timeoutMs, options.env ?? process.env)
    const { scheduler = eventLoop, measure = 'queue', bytes = 8 * MIB, floorRate = Number.POSITIVE_INFINITY } = options
    this.topic = options.topic ?? `tower/${++towers}`
    this.#policy = dropSlow({ timeoutMs: this.timeoutMs, floorRate, measure, bytes })
    this.#retries = new Retries(scheduler)
    this.hub = options.hub ?? ownHub(options, scheduler)
    this.hub.events.on('unregister', this.#onUnregister)
  }

  /**
   * Adds a listener [H4]. False: its peer has gone already, and nothing was added. The same socket under the same id
   * again changes nothing. Throws CLIENT_EXISTS, CLIENT_ID_INVALID, REQUEST_INVALID, LIMIT_EXCEEDED, SHUTTING_DOWN;
   * then it is not touched.
   */
  addClient(socket: TowerSocket, clientId: string, options: AddOptions = {}): boolean {
    this.#checkOpen()
    const known = typeof socket === 'object' && socket !== null ? this.#ids.get(socket) : undefined
    if (known !== undefined && known === clientId) return true
    if (known !== undefined) {
      throw new HubError(
        'CLIENT_EXISTS',
        `socket: it is the client ${known} already, and cannot be ${clientId} as well`,
      )
    }
    const { contentType = 'application/octet-stream', notSentLowatBytes = 16 * 1024 } = this.#options
    const { codec = rawCodec, chunked = true, burst = true } = readOptions(options, ADD_OPTIONS, 'addClient')
    const listener = listenerOf(socket, { contentType, codec, chunked, notSentLowatBytes, retries: this.#retries })
    return listener !== undefined && this.#add(listener, socket, clientId, burst)
  }

  /**
   * Takes a listener off and closes its socket, after what was broadcast before as far as it takes it. False: there is
   * none [H4].
   */
  removeClient(clientId: string): boolean {
    const client = this.hub.handleOf(clientId)
    return client !== undefined && this.#sockets.has(client) && this.hub.unregisterClient(clientId, 'denied')
  }

  /**
   * Sends the same bytes to every listener, and waits for none of them [H2][H6][H7]. The bytes are the tower's from now
   * on and must not change. Empty: nothing happens. Throws INVALID_MESSAGE, MESSAGE_TOO_LARGE, SHUTTING_DOWN, never for
   * a listener's sake.
   */
  broadcast(data: Uint8Array): RouteResult | undefined {
    this.#checkOpen()
    if (data instanceof Uint8Array && data.byteLength === 0) return undefined
    const result = this.hub.routeData(this.topic, data)
    this.#sent.broadcasts++
    this.#sent.bytes += data.byteLength
    return result
  }

  get count(): number {
    return this.hub.getTopic(this.topic)?.subscribers ?? 0
  }

  /** Each with its queued bytes, oldest wait in ms, unacknowledged bytes, drops. */
  clients(): Iterable<ClientInfo> {
    return this.hub.getClientsForTopic(this.topic)
  }

  stats(): TowerStats {
    const topic = this.hub.getTopic(this.topic)
    // A topic that nobody uses is forgotten, and its counters with it; those of a hub are not.
    const counted = this.#options.hub ? topic : this.hub.getConnectionStats()
    const { delivered = 0, drops = [] } = counted ?? {}
    return { ...this.#sent, clients: topic?.subscribers ?? 0, delivered, drops, removed: { ...this.#removed } }
  }

  /**
   * Lets a worker thread call through a port: the other end is for `fromWorker`. Its listeners end with the port, and
   * it with the tower.
   */
  accept(port: MessagePort): void {
    this.#checkOpen()
    checkValue(port, portRule, 'port')
    this.#ports.add(port)
    port.on('close', () => this.#ports.delete(port))
    servePort(port, {
      broadcast: data => this.broadcast(data),
      removeClient: id => this.removeClient(id),
      count: () => this.count,
      addOutlet: (outlet, id) => {
        const connection = new SendConnection(outlet, rawCodec, this.#retries)
        this.#add({ connection, address: undefined, begin() {} }, outlet, id, true)
        return connection
      },
    })
  }

  /** Refuses new work, ends all listeners and ports, and the hub if it is the tower's own. Idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    for (const client of [...this.#sockets.keys()]) client.close('shutdown')
    for (const port of this.#ports) port.close()
    this.hub.events.off('unregister', this.#onUnregister)
    if (this.#options.hub === undefined) await this.hub.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #add(listener: Listener, socket: object, clientId: string, burst: boolean): boolean {
    const { ifExists } = this.#options
    const after = burst && (this.#options.burstBytes ?? 0) > 0 ? 'oldest' : undefined
    const topic = { name: this.topic, options: { policy: this.#policy, after } } as const
    const { hub } = this
    // Before anybody is told of it: a handler may ask for the same socket again.
    this.#ids.set(socket, clientId)
    let client: Client
    try {
      client = join(listener.connection, { hub, clientId, topics: [topic], address: listener.address, ifExists })
    } catch (error) {
      this.#ids.delete(socket)
      // A handler of the hub's events has ended it already.
      if ((error as HubError).code === 'CONNECTION_NOT_FOUND') return true
      throw error
    }
    this.#sockets.set(client, socket)
    listener.begin(() => client.close('peer'))
    return true
  }

  #checkOpen(): void {
    if (this.#closed) throw new HubError('SHUTTING_DOWN', 'the tower is closed')
  }

  #forget(client: Client, reason: CloseReason): void {
    const socket = this.#sockets.get(client)
    if (socket === undefined) return
    this.#sockets.delete(client)
    this.#ids.delete(socket)
    this.#removed[reason] = (this.#removed[reason] ?? 0) + 1
    this.#options.onRemove?.(client.id, reason)
  }
}

function ownHub({ burstBytes = 0 }: TowerOptions, scheduler: Scheduler): Hub {
  const history = { messages: burstBytes > 0 ? 100_000 : 0, bytes: burstBytes, ageMs: 3_600_000 }
  return createHub({ scheduler, topics: openTopics({ history, maxMessageBytes: MAX_BROADCAST_BYTES }) })
}
