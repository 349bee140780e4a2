import type { Server } from 'node:http'
import type { FastifyContextConfig, FastifyReply, FastifyRequest } from 'fastify'
import { HubError } from '../../core/errors.ts'
import type { Scheduler } from '../../core/scheduler.ts'
import { TokenBucket } from '../../core/token-bucket.ts'
import { Networks } from '../../transports/networks.ts'
import type { InboundLimit } from '../../transports/transport.ts'
import { type AddressEntry, AddressTable } from './addresses.ts'
import { Bodies } from './bodies.ts'
import { DoorKeeper } from './door-keeper.ts'
import { normalizeForwarded, takeAuthority, takeScheme } from './forwarded.ts'
import { OWN_PAGES, sharedWith } from './headers.ts'
import { ClientInbound, SourcePace } from './inbound.ts'
import {
  BURST_SECONDS,
  DEFAULT_EDGE_LIMITS,
  type EdgeLimits,
  LOOPBACK,
  type RateOfAddress,
  REFUSALS,
  type Refusal,
} from './limits.ts'
import { OriginRules } from './origins.ts'
import { Pipelines } from './pipelines.ts'
import { Stops } from './stops.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A GET or an upgrade here opens a client of the hub. */
    opensClient?: true
    /** A GET here is, or may be, a stream of events for operators. */
    streamsEvents?: true
  }
}

export interface EdgeOptions {
  /**
   * Names that requests may call the server by, beyond loopback's. Default: any, for the app knows what it listens on.
   */
  readonly hosts?: readonly string[]
  /** Origins of pages beyond the server's own that may use the hub, such as `https://example.org`. */
  readonly origins?: readonly string[]
  /** What the server listens on, which it may be called by as well. */
  readonly boundTo?: string | undefined
  readonly limits?: Partial<EdgeLimits>
  /** Addresses and networks that are not counted by address. Default: loopback. Throws CONFIG_INVALID. */
  readonly exempt?: readonly string[]
  /** As in Fastify's `trustProxy`: what they forward counts for the address that they name. */
  readonly trustedProxies?: readonly string[]
  /** How long the body of a request may take that is no live source, in ms. Default 30,000. */
  readonly bodyMs?: number
  /** How long a live source may send nothing, in ms. Default 600,000. */
  readonly sourceIdleMs?: number
}

const SWEEP_MS = 1000
const UNSAFE: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])

/**
 * What stands between the network and the routes: which Host and Origin are let in, and how much of the process one
 * address and one client may take. Everything it keeps is bounded.
 */
export class Edge implements Disposable {
  readonly origins: OriginRules
  readonly sourceIdleMs: number
  readonly burst: number
  /** What clients sent while the process was stopped comes at once. */
  readonly stops: Stops
  /** How often each limit has refused something. */
  readonly refused: Readonly<Record<Refusal, number>>
  readonly #refused: Record<Refusal, number>
  readonly #clock: Scheduler
  readonly #addresses: AddressTable
  readonly #door: DoorKeeper
  readonly #bodies: Bodies
  readonly #pipelines = new Pipelines()
  readonly #sweep: Disposable
  readonly #behindProxy: boolean
  #limits: EdgeLimits
  #warned = false
  #handshakes: TokenBucket | undefined

  /** @param burst messages that any client may send at once, whatever its rate */
  constructor(options: EdgeOptions, clock: Scheduler, burst = 0) {
    this.burst = burst
    const { hosts = ['*'], origins = [], boundTo, exempt = LOOPBACK, trustedProxies = [] } = options
    this.origins = new OriginRules({ hosts, origins, boundTo })
    this.sourceIdleMs = options.sourceIdleMs ?? 600_000
    this.#refused = Object.fromEntries(REFUSALS.map(name => [name, 0])) as Record<Refusal, number>
    this.refused = this.#refused
    this.#clock = clock
    this.stops = new Stops(SWEEP_MS, clock.now())
    const proxies = new Networks(trustedProxies, 'hubline: edge.trustedProxies')
    this.#addresses = new AddressTable(new Networks(exempt, 'hubline: edge.exempt'), proxies)
    this.#behindProxy = trustedProxies.length > 0
    this.#door = new DoorKeeper(clock, limit => this.count(limit))
    this.#bodies = new Bodies(options.bodyMs ?? 30_000, SWEEP_MS, () => this.count('bodyMs'))
    this.#limits = { ...DEFAULT_EDGE_LIMITS, ...options.limits }
    this.#handshakes = this.#processBucket()
    this.#sweep = clock.every(SWEEP_MS, () => {
      this.stops.look(clock.now())
      this.#addresses.sweep(clock.now())
      this.#bodies.sweep()
    })
  }

  get limits(): EdgeLimits {
    return this.#limits
  }

  /** Addresses that something is remembered of. */
  get addresses(): number {
    return this.#addresses.size
  }

  /** In force at once, also for connected clients. No connected client is ended for it. */
  set(limits: Partial<EdgeLimits>): void {
    this.#limits = { ...this.#limits, ...limits }
    this.#handshakes = this.#processBucket()
  }

  /** Counts connections from here on. */
  guard(server: Server): void {
    this.#door.watch(
      server,
      socket => this.#addresses.of(socket.remoteAddress),
      () => this.#limits,
    )
  }

  /** Before any route: who asks? Throws HOST_DENIED, ORIGIN_DENIED, REQUEST_INVALID. */
  admit(request: FastifyRequest): void {
    // Fastify has `ips` where the app trusts a proxy.
    if ('ips' in request) {
      if (normalizeForwarded(request.raw.headers)) this.#warnOfProxy(request)
      takeScheme(request)
    }
    let limit: Refusal = 'hosts'
    try {
      takeAuthority(request.raw)
      this.origins.checkHost(request)
      limit = 'origins'
      this.origins.checkOrigin(request)
    } catch (error) {
      this.count(limit)
      throw error
    }
  }

  /** Of a connection over the limits of the process, which was let in only to be told. Throws LIMIT_EXCEEDED. */
  checkConnection(request: FastifyRequest): void {
    this.#door.checkTurnedAway(request.raw.socket)
  }

  /** Before any route: how much? Throws RATE_LIMITED and LIMIT_EXCEEDED, which pages of listed origins may read. */
  limit(request: FastifyRequest, reply: FastifyReply, { opensClient }: FastifyContextConfig): void {
    this.checkConnection(request)
    if (!this.#pipelines.enter(request.raw.socket, reply.raw)) {
      this.count('pipelining')
      throw new HubError('LIMIT_EXCEEDED', 'request: too many wait on its connection for the answer to an earlier one')
    }
    if (opensClient && request.raw.method === 'GET') this.#handshake(request)
    else if (UNSAFE.has(request.raw.method!)) this.#change(request)
  }

  /** The body is there, or its route takes it as it comes: a live source. */
  bodyRead(request: FastifyRequest): void {
    this.#bodies.forget(request.raw)
  }

  /** What one client may send. */
  inbound(request: FastifyRequest): InboundLimit {
    return new ClientInbound(this, this.#entryOf(request), this.#clock)
  }

  /** Of the head of a stream: Fastify's hooks do not see it. */
  streamHeaders({ raw: { headers } }: FastifyRequest): Readonly<Record<string, string>> {
    return this.origins.lists(headers.origin) ? sharedWith(headers.origin) : OWN_PAGES
  }

  /** How fast a live source may be read: all sources of an address share what it may send. */
  pace(request: FastifyRequest): SourcePace {
    return new SourcePace(this, this.#entryOf(request), this.#clock)
  }

  /**
   * Throws RATE_LIMITED where too many logins of the address have failed. `address`: as the session manager is told.
   */
  checkLogins(address: string | undefined): void {
    const now = this.#clock.now()
    const bucket = this.#addresses.of(address).bucket('failedLoginsPerSecondPerAddress', this.#limits, now)
    const waitMs = bucket?.waitMs(now) ?? 0
    if (waitMs > 0) throw this.#tooMuch('failedLoginsPerSecondPerAddress', waitMs, 'logins that failed')
  }

  loginFailed(address: string | undefined): void {
    const now = this.#clock.now()
    this.#addresses.of(address).bucket('failedLoginsPerSecondPerAddress', this.#limits, now)?.take(now)
  }

  count(limit: Refusal): void {
    this.#refused[limit]++
  }

  [Symbol.dispose](): void {
    this.#sweep[Symbol.dispose]()
  }

  /** Once in the life of the process, and only of a trusted proxy: the headers of other peers prove nothing. */
  #warnOfProxy({ raw: { socket }, log }: FastifyRequest): void {
    if (this.#warned || !this.#addresses.of(socket.remoteAddress).proxy) return
    this.#warned = true
    log.warn(
      { proxy: socket.remoteAddress },
      'x-forwarded-for: a trusted proxy writes what is not an IP address; its requests count as its own',
    )
  }

  #handshake(request: FastifyRequest): void {
    const now = this.#clock.now()
    const entry = this.#entryOf(request)
    this.#take(entry, 'handshakesPerSecondPerAddress', 'connections')
    if (this.#handshakes?.take(now) === false) {
      throw this.#tooMuch('handshakesPerSecond', this.#handshakes.waitMs(now), 'connections of all clients')
    }
    if (this.#behindProxy) this.#door.forwarded(request.raw.socket, entry, this.#limits)
  }

  #change(request: FastifyRequest): void {
    this.#take(this.#entryOf(request), 'requestsPerSecondPerAddress', 'requests')
    this.#bodies.expect(request.raw)
  }

  #take(entry: AddressEntry, rate: RateOfAddress, what: string): void {
    if (entry.exempt) return
    const now = this.#clock.now()
    const bucket = entry.bucket(rate, this.#limits, now)
    if (bucket !== undefined && !bucket.take(now)) throw this.#tooMuch(rate, bucket.waitMs(now), what)
  }

  #tooMuch(limit: RateOfAddress | 'handshakesPerSecond', retryMs: number, what: string): HubError {
    this.count(limit)
    const most = this.#limits[limit]
    const whose = limit.endsWith('PerAddress') ? ' of one address' : ''
    return new HubError(
      'RATE_LIMITED',
      `limits.${limit}: there are more than ${most} ${what}${whose} a second; wait ${retryMs} ms, or raise it`,
      { retryMs },
    )
  }

  /**
   * Behind a trusted proxy the address that it forwards for; else the socket's, which was looked up when it connected.
   */
  #entryOf(request: FastifyRequest): AddressEntry {
    if (this.#behindProxy) return this.#addresses.of(request.ip)
    const { socket } = request.raw
    return this.#door.peerOf(socket) ?? this.#addresses.of(socket.remoteAddress)
  }

  #processBucket(): TokenBucket | undefined {
    const { handshakesPerSecond } = this.#limits
    if (handshakesPerSecond === 0) return undefined
    return new TokenBucket(handshakesPerSecond, this.#clock.now(), BURST_SECONDS.others)
  }
}
