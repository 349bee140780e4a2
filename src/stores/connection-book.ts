import type { Client } from '../core/connection.ts'
import type { ConnectionManager } from '../core/manager.ts'
import { callable, checkValue, flag, having, type Rules, readOptions, text } from '../core/options.ts'
import type { PolicyDescription } from '../core/policy.ts'
import type { ClientInfo } from '../core/stats.ts'
import type { ConnectionRecord, ConnectionStore, ConnectionTouch } from './connection-store.ts'
import { RecordWriter } from './record-writer.ts'

export interface BookOptions {
  /**
   * This hub's name among those that share the store: a hub of the same name takes its clients over after a restart.
   */
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
/**
 * Of so many writes, the time of a socket's record is extended at one, and the record of a client that can be had again
 * written anew.
 */
const EXTEND_EVERY = 8

const OPTIONS: Rules<BookOptions> = { node: text, sockets: flag, now: callable, onFault: callable }
const hubRule = having('a hub', 'registerClient', 'getClient', 'sinceSend')
const storeRule = having('a connection store', 'put', 'touch', 'delete', 'listByNode')

/** A client whose record is kept. */
interface Kept {
  readonly client: Client
  readonly restore: unknown
  readonly connectedAt: number
  lastSendAt: number | undefined
}

/**
 * Keeps a store's records of this hub's clients as they are: put when one registers or changes its topics, deleted when
 * it ends, and not deleted at a shutdown where it can be had again. Owns one timer. What the store did not take is
 * tried again.
 */
export class ConnectionBook {
  readonly #hub: ConnectionManager
  readonly #store: ConnectionStore
  readonly #options: BookOptions
  readonly #writer: RecordWriter
  /** Clients of an earlier life that were not registered again yet, and since when they are clients. */
  readonly #recovered = new Map<string, number>()
  readonly #kept = new Map<string, Kept>()
  readonly #timer: Disposable
  #touching: Promise<void> | undefined
  #writes = 0

  /** Throws CONFIG_INVALID. */
  constructor(
    hub: ConnectionManager,
    store: ConnectionStore,
    every: (ms: number, run: () => void) => Disposable,
    given: BookOptions,
  ) {
    checkValue(hub, hubRule, 'connectionBook: hub', 'CONFIG_INVALID')
    checkValue(store, storeRule, 'connectionBook: store', 'CONFIG_INVALID')
    checkValue(every, callable, 'connectionBook: every', 'CONFIG_INVALID')
    const needed = ['node', 'sockets', 'now', 'onFault'] as const
    const options = readOptions(given, OPTIONS, 'connectionBook: ', 'CONFIG_INVALID', needed)
    this.#hub = hub
    this.#store = store
    this.#options = options
    this.#writer = new RecordWriter(store, options.onFault)
    const { events } = hub
    events.on('register', ({ id, client, restore }) => {
      if (restore === undefined && !options.sockets) return
      const connectedAt = (restore !== undefined && this.#recovered.get(id)) || options.now()
      this.#recovered.delete(id)
      this.#kept.set(id, { client, restore, connectedAt, lastSendAt: undefined })
      this.#put(id)
    })
    events.on('subscribe', ({ id }) => this.#put(id))
    events.on('wish', ({ id }) => this.#put(id))
    events.on('unsubscribe', ({ id }) => this.#put(id))
    events.on('subscribePattern', ({ id }) => this.#put(id))
    events.on('unsubscribePattern', ({ id }) => this.#put(id))
    events.on('unregister', ({ id, reason }) => this.#ended(id, reason === 'shutdown'))
    this.#timer = every(WRITE_MS, () => {
      void this.#writer.retry()
      this.#touchAll()
    })
  }

  /**
   * What this node left there and does not have already: clients that can be had again. Records of its sockets, which
   * nobody holds any more, are deleted. Rejects where the store does.
   */
  async recover(): Promise<Restorable[]> {
    const records = await this.#store.listByNode(this.#options.node)
    const left = records.filter(({ id }) => !this.#kept.has(id))
    for (const { id, restore, expiresAt } of left) {
      if (restore === undefined) this.#writer.delete(id, expiresAt !== undefined)
    }
    return left.flatMap(record => {
      const stored = record.restore as Partial<Pick<Restorable, 'options' | 'topics'>> | null | undefined
      if (typeof stored?.options?.transport !== 'string' || !Array.isArray(stored.topics)) return []
      const { id, user, connectedAt } = record
      this.#recovered.set(id, connectedAt)
      return [{ id, user, connectedAt, options: stored.options, topics: stored.topics }]
    })
  }

  /** Everything that was to be written is, or has failed. The store is the caller's to close. */
  async close(): Promise<void> {
    this.#timer[Symbol.dispose]()
    await Promise.all([this.#writer.settled(), this.#touching])
  }

  #put(id: string): void {
    const kept = this.#kept.get(id)
    // Its end is still to be told, and the id may be another client's.
    if (kept === undefined || kept.client.closed) return
    this.#writer.put(this.#record(this.#hub.getClient(id), kept))
  }

  #record(client: ClientInfo, { restore, connectedAt, lastSendAt }: Kept): ConnectionRecord {
    const { id, user, protocol } = client
    const { node, now } = this.#options
    const named = client.subscriptions.filter(({ pattern }) => pattern === undefined)
    const topics: { name: string; policy?: PolicyDescription }[] = named.map(({ topic, wish }) => ({
      name: topic,
      ...(wish && { policy: wish }),
    }))
    for (const { pattern, wish } of client.patterns) topics.push({ name: pattern, ...(wish && { policy: wish }) })
    return {
      ...{ id, node, protocol, user, connectedAt, lastSendAt },
      ...(restore === undefined ? { expiresAt: now() + SOCKET_TTL_MS } : { restore: { options: restore, topics } }),
    }
  }

  #ended(id: string, shutdown: boolean): void {
    const kept = this.#kept.get(id)
    if (kept === undefined) return
    // At once: whoever takes over the id is none of this one's business.
    this.#kept.delete(id)
    if (!(shutdown && kept.restore !== undefined)) this.#writer.delete(id, kept.restore === undefined)
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
      if (extend && kept.restore !== undefined) {
        // Whole: a store that came back empty has it again.
        this.#put(id)
        continue
      }
      const expiresAt = extend ? this.#options.now() + SOCKET_TTL_MS : undefined
      if (news || expiresAt !== undefined) touches.push({ id, lastSendAt: kept.lastSendAt, expiresAt })
    }
    if (touches.length > 0) this.#touching = this.#touch(touches)
  }

  async #touch(touches: readonly ConnectionTouch[]): Promise<void> {
    for (let from = 0; from < touches.length; from += TOUCHES) {
      try {
        await this.#store.touch(touches.slice(from, from + TOUCHES))
      } catch (error) {
        this.#options.onFault(error, 'connection store: touch')
      }
    }
  }
}
