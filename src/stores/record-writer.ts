import type { ConnectionRecord, ConnectionStore } from './connection-store.ts'

interface Wanted {
  /** Undefined: there should be none. */
  record: ConnectionRecord | undefined
  changed: boolean
  failed: boolean
  writing: Promise<void> | undefined
}

/**
 * Brings a store's records to what they should be. Of one id there is one write at a time, and of what changes meanwhile only the last is
 * written: the order is that of the changes, and a store that is slow or away is owed no more than one write per id. Nobody waits for it.
 */
export class RecordWriter {
  readonly #store: ConnectionStore
  readonly #onFault: (error: unknown, where: string) => void
  readonly #wanted = new Map<string, Wanted>()

  constructor(store: ConnectionStore, onFault: (error: unknown, where: string) => void) {
    this.#store = store
    this.#onFault = onFault
  }

  /** Records of which the store does not have what it should. */
  get owed(): number {
    return this.#wanted.size
  }

  put(record: ConnectionRecord): void {
    this.#want(record.id, record)
  }

  delete(id: string): void {
    this.#want(id, undefined)
  }

  /** What failed is tried once more. */
  retry(): void {
    for (const [id, wanted] of this.#wanted) if (wanted.failed) this.#want(id, wanted.record)
  }

  /** Everything is written, or has failed. */
  async settled(): Promise<void> {
    await Promise.all([...this.#wanted.values()].map(({ writing }) => writing))
  }

  #want(id: string, record: ConnectionRecord | undefined): void {
    const wanted = this.#wanted.get(id) ?? { record, changed: true, failed: false, writing: undefined }
    this.#wanted.set(id, wanted)
    wanted.record = record
    wanted.changed = true
    wanted.writing ??= this.#write(id, wanted)
  }

  async #write(id: string, wanted: Wanted): Promise<void> {
    // What happens at once, such as a client and all its subscriptions, is one write.
    await undefined
    while (wanted.changed) {
      wanted.changed = false
      wanted.failed = false
      const { record } = wanted
      try {
        await (record ? this.#store.put(record) : this.#store.delete(id))
      } catch (error) {
        wanted.failed = true
        this.#onFault(error, `connection store: ${record ? 'put' : 'delete'}`)
      }
    }
    wanted.writing = undefined
    if (!wanted.failed) this.#wanted.delete(id)
  }
}
