import type { FastifyBaseLogger } from 'fastify'
import type { ConnectionRecord, ConnectionStore, ConnectionTouch } from '../stores/connection-store.ts'

/**
 * A store that says in the log when it begins to fail and when it is back: it is asked at every change of a client, and
 * a line for each failure would be a flood. Its callers still get the errors.
 */
export class WatchedStore implements ConnectionStore {
  readonly name: string
  readonly #store: ConnectionStore
  readonly #log: FastifyBaseLogger
  #available = true

  constructor(store: ConnectionStore, log: FastifyBaseLogger) {
    this.name = store.name
    this.#store = store
    this.#log = log
  }

  /** Did it do what it was last asked? */
  get available(): boolean {
    return this.#available
  }

  put(record: ConnectionRecord): Promise<void> {
    return this.#watch(this.#store.put(record))
  }

  get(id: string): Promise<ConnectionRecord | undefined> {
    return this.#watch(this.#store.get(id))
  }

  touch(touches: readonly ConnectionTouch[]): Promise<void> {
    return this.#watch(this.#store.touch(touches))
  }

  delete(id: string): Promise<boolean> {
    return this.#watch(this.#store.delete(id))
  }

  listByUser(user: string): Promise<ConnectionRecord[]> {
    return this.#watch(this.#store.listByUser(user))
  }

  listByNode(node: string): Promise<ConnectionRecord[]> {
    return this.#watch(this.#store.listByNode(node))
  }

  close(): Promise<void> {
    return this.#store.close()
  }

  async #watch<T>(answer: Promise<T>): Promise<T> {
    try {
      const value = await answer
      if (!this.#available) this.#log.info({ store: this.name }, 'connection store is back')
      this.#available = true
      return value
    } catch (error) {
      // Its message alone: what else a driver puts into its errors is not known, and a record may hold a secret.
      const why = (error as Error).message
      if (this.#available) this.#log.error({ store: this.name, why }, 'connection store is out of reach')
      this.#available = false
      throw error
    }
  }
}
