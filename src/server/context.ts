import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { HubError } from '../core/errors.ts'
import type { ClientId, TopicName } from '../core/ids.ts'
import type { ConnectionManager } from '../core/manager.ts'
import type { Action, Session, SessionManager } from '../core/sessions.ts'
import { Heartbeat } from '../transports/transport.ts'
import type { SubscriberRequest } from './subscriber.ts'

declare module 'fastify' {
  interface FastifyRequest {
    hubSession: Session | undefined
    subscriber: SubscriberRequest | undefined
    hubClientId: ClientId | undefined
  }
}

/** How long a shutdown waits for clients that are behind, in ms, and how often it looks. A stalled one must not cost more. */
const FLUSH_MS = 3000
const FLUSH_LOOK_MS = 20

export interface ContextOptions {
  readonly hub: ConnectionManager
  readonly sessions: SessionManager
  readonly pingMs: number
  readonly maxMessageBytes: number
}

/** What the routes share: the hub, who is allowed what, and the log lines of each connection. */
export class HubContext {
  readonly hub: ConnectionManager
  readonly sessions: SessionManager
  readonly heartbeat: Heartbeat
  readonly maxMessageBytes: number
  readonly #closing = new AbortController()
  readonly #logs = new Map<ClientId, readonly FastifyBaseLogger[]>()

  constructor({ hub, sessions, pingMs, maxMessageBytes }: ContextOptions) {
    this.hub = hub
    this.sessions = sessions
    this.heartbeat = new Heartbeat(pingMs)
    this.maxMessageBytes = maxMessageBytes
    // Each live source listens to it while it runs.
    setMaxListeners(0, this.#closing.signal)
    hub.events.on('register', ({ id, protocol }) => {
      this.#logs.get(id)?.at(-1)?.info({ client: id, protocol }, 'client connected')
    })
    hub.events.on('unregister', ({ id, protocol, reason }) => {
      const [log] = this.#logs.get(id) ?? []
      if (log === undefined) return
      log.info({ client: id, protocol, reason }, 'client disconnected')
      this.forget(id, log)
    })
  }

  /** Aborted once the server drains. */
  get closing(): AbortSignal {
    return this.#closing.signal
  }

  /** Takes no more work, gives clients that are behind a moment to read on, and closes the hub. */
  async close(): Promise<void> {
    this.#closing.abort()
    this.heartbeat[Symbol.dispose]()
    const deadline = performance.now() + FLUSH_MS
    while (this.hub.getConnectionStats().pending > 0 && performance.now() < deadline) await sleep(FLUSH_LOOK_MS)
    await this.hub.close()
  }

  /** Throws PERMISSION_DENIED, and SHUTTING_DOWN while draining. */
  async authorize(request: FastifyRequest, action: Action, topics: readonly TopicName[]): Promise<void> {
    if (this.closing.aborted) throw new HubError('SHUTTING_DOWN', 'the hub is shutting down: try again in a moment')
    const { headers, ip } = request
    request.hubSession ??= await this.sessions.authenticate({
      protocol: request.ws ? 'websocket' : 'http',
      address: ip,
      headers,
    })
    for (const topic of topics) {
      if (!(await this.sessions.authorize(request.hubSession, action, topic))) {
        throw new HubError('PERMISSION_DENIED', `topic: this session may not ${action} to ${topic}`)
      }
    }
  }

  /**
   * Opens a client so that every line about it carries the id of the request that opened it. Two of one id may overlap, when the newer
   * replaces the older: the lines then go to the older first.
   */
  opening<T>(request: FastifyRequest, id: ClientId, open: () => T): T {
    const logs = this.#logs.get(id) ?? []
    this.#logs.set(id, [...logs, request.log])
    try {
      return open()
    } catch (error) {
      this.forget(id, request.log)
      throw error
    }
  }

  /** The request's channel is over, whether it ever became a client or not. */
  forget(id: ClientId, log: FastifyBaseLogger): void {
    const rest = (this.#logs.get(id) ?? []).filter(each => each !== log)
    if (rest.length > 0) this.#logs.set(id, rest)
    else this.#logs.delete(id)
  }
}
