import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { Client } from '../core/connection.ts'
import { HubError } from '../core/errors.ts'
import type { ClientId, TopicName } from '../core/ids.ts'
import type { ConnectionManager } from '../core/manager.ts'
import type { Action, Session, SessionManager } from '../core/sessions.ts'
import { Heartbeat } from '../transports/transport.ts'
import type { SubscriberRequest } from './subscriber.ts'

declare module 'fastify' {
  interface FastifyRequest {
    session: Session | undefined
    subscriber: SubscriberRequest | undefined
  }
}

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
  readonly #logs = new Map<ClientId, FastifyBaseLogger>()

  constructor({ hub, sessions, pingMs, maxMessageBytes }: ContextOptions) {
    this.hub = hub
    this.sessions = sessions
    this.heartbeat = new Heartbeat(pingMs)
    this.maxMessageBytes = maxMessageBytes
    hub.events.on('unregister', ({ id, protocol, reason }) => {
      this.#logs.get(id)?.info({ client: id, protocol, reason }, 'client disconnected')
      this.#logs.delete(id)
    })
  }

  /** Aborted once the server drains. */
  get closing(): AbortSignal {
    return this.#closing.signal
  }

  close(): void {
    this.#closing.abort()
    this.heartbeat[Symbol.dispose]()
  }

  /** Throws PERMISSION_DENIED, and SHUTTING_DOWN while draining. */
  async authorize(request: FastifyRequest, action: Action, topics: readonly TopicName[]): Promise<void> {
    if (this.closing.aborted) throw new HubError('SHUTTING_DOWN', 'the hub is shutting down: try again in a moment')
    const { headers, ip } = request
    request.session ??= await this.sessions.authenticate({
      protocol: request.ws ? 'websocket' : 'http',
      address: ip,
      headers,
    })
    for (const topic of topics) {
      if (!(await this.sessions.authorize(request.session, action, topic))) {
        throw new HubError('PERMISSION_DENIED', `topic: this session may not ${action} to ${topic}`)
      }
    }
  }

  /** Every line about this client from now on carries the id of the request that opened it. */
  opened(request: FastifyRequest, client: Client, protocol: string): void {
    const topics = [...this.hub.getClient(client.id).subscriptions].map(({ topic }) => topic)
    request.log.info({ client: client.id, protocol, topics }, 'client connected')
    this.#logs.set(client.id, request.log)
  }
}
