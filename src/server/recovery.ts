import type { FastifyBaseLogger } from 'fastify'
import { HubError } from '../core/errors.ts'
import type { Scheduler } from '../core/scheduler.ts'
import { parsePolicy } from '../policies/catalog.ts'
import type { ConnectionBook, Restorable } from '../stores/connection-book.ts'
import type { RequestOpening } from '../transports/request-clients.ts'

/** Registers what a store kept of one client. Throws HubErrors. */
export type Restore = (options: Restorable['options'], opening: RequestOpening) => void

/** How long after a store could not be read it is tried again, in ms. */
const RETRY_MS = 5000

/**
 * Has the clients again that an earlier life of this node left in its store. Where the store is out of reach, the
 * server runs without them until it can be read. Owns one timer.
 */
export class Recovery implements Disposable {
  readonly #book: ConnectionBook
  readonly #restore: Restore
  readonly #scheduler: Pick<Scheduler, 'after'>
  readonly #log: FastifyBaseLogger
  #timer: Disposable | undefined
  #pending = true
  #ended = false

  constructor(book: ConnectionBook, restore: Restore, scheduler: Pick<Scheduler, 'after'>, log: FastifyBaseLogger) {
    this.#book = book
    this.#restore = restore
    this.#scheduler = scheduler
    this.#log = log
  }

  /** The store has not been read yet. */
  get pending(): boolean {
    return this.#pending
  }

  /** Resolves after the first try, whatever came of it. */
  async run(): Promise<void> {
    let found: Restorable[]
    try {
      found = await this.#book.recover()
    } catch {
      // The store has said why.
      if (!this.#ended) this.#timer = this.#scheduler.after(RETRY_MS, () => void this.run())
      return
    }
    if (this.#ended) return
    this.#pending = false
    const restored = found.filter(client => this.#open(client)).length
    if (found.length > 0) this.#log.info({ restored, skipped: found.length - restored }, 'clients restored')
  }

  /** Whoever registered the id meanwhile keeps it. */
  #open({ id, user, options, topics }: Restorable): boolean {
    try {
      const subscriptions = topics.map(({ name, policy }) => ({
        name,
        policy: policy === undefined ? undefined : parsePolicy(policy),
      }))
      const session = user === undefined ? undefined : { user }
      this.#restore(options, { id, topics: subscriptions, session, ifExists: 'refuse' })
      return true
    } catch (error) {
      // Our own sentences have no secret in them; of others nobody knows.
      const why = error instanceof HubError ? error.message : 'a fault'
      this.#log.warn({ client: id, why }, 'client not restored')
      return false
    }
  }

  [Symbol.dispose](): void {
    this.#ended = true
    this.#timer?.[Symbol.dispose]()
  }
}
