import { setMaxListeners } from 'node:events'
import type { ServerResponse } from 'node:http'
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { WebSocket } from 'ws'
import type { Client } from '../core/connection.ts'
import { HubError } from '../core/errors.ts'
import { Gate } from '../core/gate.ts'
import type { ClientId, TopicName } from '../core/ids.ts'
import type { TopicPattern } from '../core/patterns.ts'
import { type Action, openSessions, type Session, type SessionManager } from '../core/sessions.ts'
import type { Hub } from '../hub.ts'
import type { ShutdownOptions, ShutdownReport } from '../sending/shutdown.ts'
import { ApiKeys } from '../sessions/api-keys.ts'
import { Revocations } from '../sessions/revocations.ts'
import type { SessionWatch } from '../sessions/session-watch.ts'
import { Tickets } from '../sessions/tickets.ts'
import type { TopicRules } from '../topics/registry.ts'
import { VERBS } from '../transports/client-gate.ts'
import { Heartbeat } from '../transports/heartbeat.ts'
import { AdminGuard, type KeyRing } from './api/guard.ts'
import { Idempotency } from './api/idempotency.ts'
import { handshakeOf } from './credentials.ts'
import type { Edge } from './edge/edge.ts'
import type { Receivers } from './receivers.ts'
import type { Rejections } from './rejections.ts'
import { releaseUpgrade } from './release.ts'
import { Rivals } from './rivals.ts'
import type { SubscriberRequest } from './subscriber.ts'
import { UserAgents } from './user-agents.ts'

declare module 'fastify' {
  interface FastifyRequest {
    hubSession: Session | undefined
    subscriber: SubscriberRequest | undefined
    /** Of a socket of the client protocol. */
    hubClientId: { readonly clientId: ClientId; readonly named: boolean } | undefined
    /** Of an upgrade: to be let go once the socket is open. */
    hubResponse: ServerResponse | undefined
  }
}

/**
 * Default of the option `shutdown.drainMs`: how long a shutdown waits for clients that are behind, in ms. A stalled one
 * must not cost more.
 */
const FLUSH_MS = 3000

export interface ContextOptions {
  readonly hub: Hub
  /** How the hub ends when the app closes. */
  readonly ending: ShutdownOptions
  readonly sessions: SessionManager
  /** Of the chain that `sessions` is. Default: ones that nobody looks at. */
  readonly apiKeys?: KeyRing | undefined
  readonly tickets?: Tickets | undefined
  readonly revocations?: Revocations | undefined
  /**
   * The operators' surface is on an app of its own, which needs no sessions: without keys it answers loopback peers.
   */
  readonly operatorsApart: boolean
  /** Without keys the operators' surface answers everybody, and not only peers on loopback. */
  readonly open: boolean
  /** /metrics tells of the process, and not only of the hub. */
  readonly processMetrics: boolean
  readonly pingMs: number
  readonly pongMs: number | undefined
  readonly idleMs: number | undefined
  readonly maxMessageBytes: number
  readonly receivers: Receivers
  /** Those of the hub, where they may be shown and changed. */
  readonly topicRules: TopicRules | undefined
  readonly edge: Edge
  /** What /@connections lets through. */
  readonly requestsPerSecond: number
  readonly rejections: Rejections
  /** What does not work, though the hub does: for /health/ready. */
  readonly degraded: () => string | undefined
  /** @fastify/websocket is ours and not the app's: no `errorHandler` but ours waits for the errors of our sockets. */
  readonly ownSockets: boolean
}

/** What the routes share: the hub, who is allowed what, and the log lines of each connection. */
export class HubContext {
  readonly hub: Hub
  readonly gate: Gate
  /** Ends clients whose sessions are over. */
  readonly watch: SessionWatch
  readonly apiKeys: KeyRing
  readonly tickets: Tickets
  readonly revocations: Revocations
  readonly heartbeat: Heartbeat
  readonly maxMessageBytes: number
  readonly receivers: Receivers
  readonly topicRules: TopicRules | undefined
  readonly edge: Edge
  readonly requestsPerSecond: number
  readonly rejections: Rejections
  readonly degraded: () => string | undefined
  readonly userAgents: UserAgents
  readonly rivals: Rivals
  readonly guard: AdminGuard
  readonly idempotency: Idempotency
  readonly processMetrics: boolean
  readonly #ownSockets: boolean
  readonly #ending: ShutdownOptions
  #report: ShutdownReport | undefined
  readonly #closing = new AbortController()
  /** Of the requests that open a client of this id, the oldest first. */
  readonly #logs = new Map<string, readonly FastifyBaseLogger[]>()
  readonly #logOf = new WeakMap<Client, FastifyBaseLogger>()

  constructor(options: ContextOptions) {
    const { hub } = options
    this.hub = hub
    this.#ending = options.ending
    const { sessions, apiKeys, tickets, revocations } = options
    this.apiKeys = apiKeys ?? new ApiKeys()
    this.tickets = tickets ?? new Tickets()
    this.revocations = revocations ?? new Revocations()
    this.gate = new Gate(sessions, { resolve: name => hub.resolveTopic(name) })
    this.watch = hub.sessionWatch
    this.watch.ask(sessions)
    this.heartbeat = new Heartbeat(options.pingMs, {
      pongMs: options.pongMs,
      idleMs: options.idleMs,
      scheduler: hub.scheduler,
    })
    this.maxMessageBytes = options.maxMessageBytes
    this.receivers = options.receivers
    this.topicRules = options.topicRules
    this.edge = options.edge
    this.requestsPerSecond = options.requestsPerSecond
    this.rejections = options.rejections
    this.degraded = options.degraded
    this.processMetrics = options.processMetrics
    const keyless = this.apiKeys.size === 0 && (options.operatorsApart || sessions === openSessions)
    const without = options.open ? 'everybody' : 'loopback'
    this.guard = new AdminGuard(keyless ? without : this.apiKeys, sessions, options.edge)
    this.idempotency = new Idempotency(hub.scheduler)
    this.userAgents = new UserAgents(hub.events)
    this.rivals = new Rivals(hub.events, () => hub.scheduler.now())
    this.#ownSockets = options.ownSockets
    // Each live source listens to it while it runs.
    setMaxListeners(0, this.#closing.signal)
    hub.events.on('register', ({ id, client, protocol }) => {
      const log = this.#logs.get(id)?.at(-1)
      if (log === undefined) return
      this.#logOf.set(client, log)
      log.info({ client: id, protocol }, 'client connected')
    })
    hub.events.on('unregister', ({ id, client, protocol, reason }) => {
      const log = this.#logOf.get(client)
      if (log === undefined) return
      log.info({ client: id, protocol, reason }, 'client disconnected')
      this.forget(id, log)
    })
  }

  /** Aborted once the server drains. */
  get closing(): AbortSignal {
    return this.#closing.signal
  }

  /**
   * Takes no more work, gives clients that are behind a moment to read on, and closes the hub. Who calls it again waits
   * for the same end.
   */
  async close(): Promise<void> {
    this.#closing.abort()
    this.heartbeat[Symbol.dispose]()
    this.edge[Symbol.dispose]()
    this.rejections.end()
    this.#report = await this.hub.shutdown({ drainMs: FLUSH_MS, ...this.#ending })
    // Not before: a session that ends in the drain gets nothing more.
    this.watch[Symbol.dispose]()
  }

  /** Of the shutdown; undefined until it is over. */
  get report(): ShutdownReport | undefined {
    return this.#report
  }

  /**
   * Throws or rejects with UNAUTHENTICATED, PERMISSION_DENIED, AUTH_UNAVAILABLE, TOPIC_UNKNOWN, and SHUTTING_DOWN while
   * draining. A promise only where the session manager has one: it would cost every connection several turns.
   */
  authorize(
    request: FastifyRequest,
    actions: readonly Action[],
    topics: readonly (TopicName | TopicPattern)[],
  ): Promise<void> | undefined {
    if (this.closing.aborted) throw new HubError('SHUTTING_DOWN', 'the hub is shutting down: try again in a moment')
    const session = request.hubSession ?? this.authenticate(request)
    if (isPromise(session)) return this.#enterLater(request, session, actions, topics)
    request.hubSession = session
    return this.#permit(session, actions, topics)
  }

  /** Throws or rejects with UNAUTHENTICATED, PERMISSION_DENIED, AUTH_UNAVAILABLE. */
  authenticate(request: FastifyRequest): Session | Promise<Session> {
    const { sessions } = this.gate
    // Nobody asks, so neither do we: the address alone is a system call.
    return sessions === openSessions ? ANONYMOUS : sessions.authenticate(handshakeOf(request))
  }

  async #enterLater(
    request: FastifyRequest,
    entering: Promise<Session>,
    actions: readonly Action[],
    topics: readonly (TopicName | TopicPattern)[],
  ): Promise<void> {
    request.hubSession = await entering
    await this.#permit(request.hubSession, actions, topics)
  }

  /** One after the other: the first refusal is the answer. */
  #permit(
    session: Session,
    actions: readonly Action[],
    topics: readonly (TopicName | TopicPattern)[],
  ): Promise<void> | undefined {
    let earlier: Promise<void> | undefined
    for (const action of actions) {
      for (const topic of topics) {
        earlier = earlier
          ? earlier.then(() => this.#check(session, action, topic))
          : this.#check(session, action, topic)
      }
    }
    return earlier
  }

  #check(session: Session, action: Action, topic: TopicName | TopicPattern): Promise<void> | undefined {
    const allowed = this.gate.permits(session, action, topic)
    if (isPromise(allowed)) return Promise.resolve(allowed).then(answer => mustBeAllowed(answer, action, topic))
    mustBeAllowed(allowed, action, topic)
    return undefined
  }

  /**
   * Opens a client so that every line about it carries the id of the request that opened it. Two of one id may overlap,
   * when the newer replaces the older.
   */
  opening<T>({ log, headers }: FastifyRequest, id: string, open: () => T): T {
    this.userAgents.expect(id, headers['user-agent'])
    if (BELOW_INFO.has(log.level)) return open()
    this.#logs.set(id, [...(this.#logs.get(id) ?? []), log])
    try {
      return open()
    } catch (error) {
      this.forget(id, log)
      throw error
    }
  }

  /** The first thing that is done with a WebSocket. */
  release(webSocket: WebSocket, request: FastifyRequest): void {
    if (this.#ownSockets && request.hubResponse) {
      releaseUpgrade(webSocket, request.hubResponse, request.log, this.rejections)
    }
  }

  /** Of a WebSocket that may close before it is a client. */
  forgetOnClose(webSocket: WebSocket, id: ClientId, log: FastifyBaseLogger): void {
    if (!BELOW_INFO.has(log.level)) webSocket.on('close', () => this.forget(id, log))
  }

  /** The request's channel is over, whether it ever became a client or not. */
  forget(id: string, log: FastifyBaseLogger): void {
    const rest = (this.#logs.get(id) ?? []).filter(each => each !== log)
    if (rest.length > 0) this.#logs.set(id, rest)
    else this.#logs.delete(id)
  }
}

/** Levels at which no line about a client is written, so that no log has to be kept for it. */
const BELOW_INFO: ReadonlySet<string> = new Set(['silent', 'fatal', 'error', 'warn'])

const ANONYMOUS: Session = Object.freeze({})

function mustBeAllowed(allowed: boolean, action: Action, topic: TopicName | TopicPattern): void {
  if (!allowed) throw new HubError('PERMISSION_DENIED', `topic: this session may not ${VERBS[action]} ${topic}`)
}

/** Whatever can be waited for: taken for an answer, it would be a yes. */
function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof (value as Promise<T> | undefined)?.then === 'function'
}
