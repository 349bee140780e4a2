import type { ConnectionRecord, ConnectionStore } from './connection-store.ts'

/**
 * Records that are tried again at once: a store that is back has others to serve, and one that is not costs a call
 * each.
 */
const RETRIES = 16

interface Wanted {
  /** Undefined: there should be none. */
  record: ConnectionRecord | undefined
  changed: boolean
  failed: boolean
  /** What the store may still have ends by itself, in a while. */
  ending: boolean
  writing: Promise<void> | undefined
}

/**
 * Brings a store's records to what they should be. Of one id there is one write at a time, and of what changes
 * meanwhile only the last is written: the order is that of the changes, and a store that is slow or away is owed no
 * more than one write per id. Nobody waits for it.
 */
export class RecordWriter {
  readonly #store: ConnectionStore
  readonly #onFault: (error: unknown, where: string) => void
  readonly #wanted = new Map<string, Wanted>()
  #retrying = false

  constructor(store: ConnectionStore, onFault: (error: unknown, where: string) => void) {
    this.#store = store
    this.#onFault = onFault
  }

  /** Records of which the store does not have what it should. */
  get owed(): number {
    return this.#wanted.size
  }

  put(record: ConnectionRecord): void {
    this.#want(record.id, record, record.expiresAt !== undefined)
  }

  /**
   * @param ending the record ends by itself: where the store fails, that is enough. Else each client that ever was
   * would be owed.
   */
  delete(id: string, ending = false): void {
    this.#want(id, undefined, ending)
  }

  /** What failed is tried once more: a few at a time, and the rest not at all where one fails again. */
  async retry(): Promise<void> {
    if (this.#retrying) return
    this.#retrying = true
    const owed = [...this.#wanted.entries()].filter(([, { failed }]) => failed).values()
    let away = false
    const work = async (): Promise<void> => {
      for (const [id, wanted] of owed) {
        if (away) return
        // It may have been written since, or have gone and come again.
        if (!wanted.failed || this.#wanted.get(id) !== wanted) continue
        this.#want(id, wanted.record, wanted.ending)
        await wanted.writing
        away ||= wanted.failed
      }
    }
    await Promise.all(Array.from({ length: RETRIES }, work))
    this.#retrying = false
  }

  /** Everything is written, or has failed. */
  async settled(): Promise<void> {
    await Promise.all([...this.#wanted.values()].map(({ writing }) => writing))
  }

  #want(id: string, record: ConnectionRecord | undefined, ending: boolean): void {
    const wanted = this.#wanted.get(id) ?? { record, changed: true, failed: false, ending, writing: undefined }
    this.#wanted.set(id, wanted)
    wanted.record = record
    // What was owed before may be the end of one that does not.
    wanted.ending &&= ending
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
        wanted.failed = record !== undefined || !wanted.ending
        this.#onFault(error, `connection store: ${record ? 'put' : 'delete'}`)
      }
    }
    wanted.writing = undefined
    if (!wanted.failed) this.#wanted.delete(id)
  }
}
