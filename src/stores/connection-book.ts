import type { ConnectionManager } from '../core/manager.ts'
import type { PolicyDescription } from '../core/policy.ts'
import type { ClientInfo } from '../core/stats.ts'
import type { ConnectionRecord, ConnectionStore, ConnectionTouch } from './connection-store.ts'

export interface BookOptions {
  /** This hub's name among those that share the store: a hub of the same name takes its clients over after a restart. */
  readonly node: string
  /** false: only clients that can be restored (URLs) are kept. */
  readonly sockets: boolean
  /** Wall time, in ms since 1970. */
  readonly now: () => number
  /** A store that fails is told here; it never fails the hub. */
  readonly onFault: (error: unknown, where: string) => void
}

/** What a store has of a client that can be had again, beside what its transport gave it. */
export interface Restorable {
  readonly id: string
  readonly user: string | undefined
  readonly connectedAt: number
  /** As the transport gave it: `transport` says whose it is. */
  readonly options: { readonly transport: string } & Readonly<Record<string, unknown>>
  readonly topics: readonly { readonly name: string; readonly policy?: PolicyDescription | undefined }[]
}

/** A store does them in one go, and somebody else waits meanwhile. */
const TOUCHES = 1000
/** How long the record of a socket outlives the last sign of life of its hub, in ms. */
export const SOCKET_TTL_MS = 120_000
/** How often what has changed since is written, in ms. */
const WRITE_MS = 5000
/** Of so many writes the record's time is extended at one. */
const EXTEND_EVERY = 8

/**
 * Keeps a store's records of this hub's clients as they are: put when one registers or changes its topics, deleted when it ends, and not
 * deleted at a shutdown where it can be had again. Owns one timer. Writes of one client follow each other in order; nobody waits for them.
 */
export class ConnectionBook {
  readonly #hub: ConnectionManager
  readonly #store: ConnectionStore
  readonly #options: BookOptions
  readonly #kept = new Map<
    string,
    { restore: unknown; connectedAt: number; lastSendAt: number | undefined; writing: Promise<void> }
  >()
  readonly #timer: Disposable
  #writes = 0

  constructor(
    hub: ConnectionManager,
    store: ConnectionStore,
    every: (ms: number, run: () => void) => Disposable,
    options: BookOptions,
  ) {
    this.#hub = hub
    this.#store = store
    this.#options = options
    const { events } = hub
    events.on('register', ({ id, restore }) => {
      if (restore === undefined && !options.sockets) return
      // What is still being written of the one that it replaces comes first.
      const writing = this.#kept.get(id)?.writing ?? Promise.resolve()
      this.#kept.set(id, { restore, connectedAt: options.now(), lastSendAt: undefined, writing })
      this.#put(id)
    })
    events.on('subscribe', ({ id }) => this.#put(id))
    events.on('unsubscribe', ({ id }) => this.#put(id))
    events.on('unregister', ({ id, reason }) => this.#ended(id, reason === 'shutdown'))
    this.#timer = every(WRITE_MS, () => this.#touchAll())
  }

  /** What this node left there: clients that can be had again. Records of its sockets, which nobody holds any more, are deleted. */
  async recover(): Promise<Restorable[]> {
    const records = await this.#store.listByNode(this.#options.node)
    const dead = records.filter(({ id, restore }) => restore === undefined && !this.#kept.has(id))
    await Promise.all(dead.map(({ id }) => this.#store.delete(id)))
    return records.flatMap(record => {
      const stored = record.restore as Pick<Restorable, 'options' | 'topics'> | undefined
      if (typeof stored?.options?.transport !== 'string' || !Array.isArray(stored.topics)) return []
      const { id, user, connectedAt } = record
      return [{ id, user, connectedAt, options: stored.options, topics: stored.topics }]
    })
  }

  /** Everything that was to be written is, or has failed. The store is the caller's to close. */
  async close(): Promise<void> {
    this.#timer[Symbol.dispose]()
    await Promise.all([...this.#kept.values()].map(({ writing }) => writing))
  }

  #put(id: string): void {
    const kept = this.#kept.get(id)
    const client = kept && this.#find(id)
    if (client === undefined) return
    const record = this.#record(client, kept!)
    this.#write(id, () => this.#store.put(record), 'put')
  }

  #record(
    client: ClientInfo,
    kept: { restore: unknown; connectedAt: number; lastSendAt: number | undefined },
  ): ConnectionRecord {
    const { id, user, protocol } = client
    const { node, now } = this.#options
    const topics = client.subscriptions.map(({ topic, wish }) => ({ name: topic, ...(wish && { policy: wish }) }))
    return {
      ...{ id, node, protocol, user, connectedAt: kept.connectedAt, lastSendAt: kept.lastSendAt },
      ...(kept.restore === undefined
        ? { expiresAt: now() + SOCKET_TTL_MS }
        : { restore: { options: kept.restore, topics } }),
    }
  }

  #ended(id: string, shutdown: boolean): void {
    const kept = this.#kept.get(id)
    if (kept === undefined) return
    if (!(shutdown && kept.restore !== undefined))
      this.#write(id, async () => void (await this.#store.delete(id)), 'delete')
    void kept.writing.then(() => {
      if (this.#kept.get(id) === kept) this.#kept.delete(id)
    })
  }

  #write(id: string, write: () => Promise<void>, what: string): void {
    const kept = this.#kept.get(id)!
    kept.writing = kept.writing.then(write).catch(error => this.#options.onFault(error, `connection store: ${what}`))
  }

  /** Sends are many and a store is far away: what was last is written now and then, in one go. */
  #touchAll(): void {
    const extend = ++this.#writes % EXTEND_EVERY === 0
    const touches: ConnectionTouch[] = []
    for (const [id, kept] of this.#kept) {
      const ms = this.#hub.sinceSend(id)
      const lastSendAt = ms === undefined ? undefined : this.#options.now() - ms
      // Between two looks the same send may differ by the rounding of two clocks.
      const news = lastSendAt !== undefined && lastSendAt - (kept.lastSendAt ?? 0) > 1
      if (news) kept.lastSendAt = lastSendAt
      const expiresAt = extend && kept.restore === undefined ? this.#options.now() + SOCKET_TTL_MS : undefined
      if (news || expiresAt !== undefined) touches.push({ id, lastSendAt: kept.lastSendAt, expiresAt })
    }
    for (let from = 0; from < touches.length; from += TOUCHES) {
      const some = touches.slice(from, from + TOUCHES)
      this.#store.touch(some).catch(error => this.#options.onFault(error, 'connection store: touch'))
    }
  }

  #find(id: string): ClientInfo | undefined {
    try {
      return this.#hub.getClient(id)
    } catch {
      return undefined
    }
  }
}
