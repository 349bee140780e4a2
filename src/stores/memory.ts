import { callable, readOptions } from '../core/options.ts'
import type { ConnectionRecord, ConnectionStore, ConnectionTouch } from './connection-store.ts'
import { RecordIndex } from './record-index.ts'
import { checkTimes } from './times.ts'

export interface MemoryStoreOptions {
  /** Wall time, in ms since 1970. Default: Date.now. */
  readonly now?: () => number
}

export interface MemoryStore extends ConnectionStore {
  /** Records held, with those whose time has come and that nobody has met yet. */
  readonly size: number
}

/** Remembers connections for as long as this process lives: for one node, and for tests. Throws CONFIG_INVALID. */
export function memoryStore(options: MemoryStoreOptions = {}): MemoryStore {
  const { now = Date.now } = readOptions(options, { now: callable }, 'memoryStore: ', 'CONFIG_INVALID')
  return new RecordMap(now)
}

/** More than a put adds, so that records that nobody asks for cannot pile up. */
const SWEPT_PER_PUT = 8

type Held = { -readonly [Name in keyof ConnectionRecord]: ConnectionRecord[Name] }

class RecordMap implements MemoryStore {
  readonly name = 'memory'
  readonly #now: () => number
  /** Own copies: nobody else changes them, and nobody else is given them. */
  readonly #records = new Map<string, Held>()
  readonly #users = new RecordIndex<Held>()
  readonly #nodes = new RecordIndex<Held>()
  /** Goes round all records, a few at a time. */
  #sweep: Iterator<Held>

  constructor(now: () => number) {
    this.#now = now
    this.#sweep = this.#records.values()
  }

  get size(): number {
    return this.#records.size
  }

  async put(record: ConnectionRecord): Promise<void> {
    checkTimes(record)
    const held: Held = structuredClone(record)
    const old = this.#records.get(held.id)
    if (old) this.#free(old)
    this.#records.set(held.id, held)
    this.#nodes.add(held.node, held)
    if (held.user !== undefined) this.#users.add(held.user, held)
    this.#sweepSome()
  }

  async get(id: string): Promise<ConnectionRecord | undefined> {
    return structuredClone(this.#living(this.#records.get(id)))
  }

  async touch(touches: readonly ConnectionTouch[]): Promise<void> {
    for (const touch of touches) checkTimes(touch)
    for (const { id, lastSendAt, expiresAt } of touches) {
      const held = this.#living(this.#records.get(id))
      if (held === undefined) continue
      if (lastSendAt !== undefined) held.lastSendAt = lastSendAt
      if (expiresAt !== undefined) held.expiresAt = expiresAt
    }
  }

  async delete(id: string): Promise<boolean> {
    const held = this.#living(this.#records.get(id))
    if (held) this.#free(held)
    return held !== undefined
  }

  async listByUser(user: string): Promise<ConnectionRecord[]> {
    return this.#list(this.#users.of(user))
  }

  async listByNode(node: string): Promise<ConnectionRecord[]> {
    return this.#list(this.#nodes.of(node))
  }

  async close(): Promise<void> {
    for (const held of [...this.#records.values()]) this.#free(held)
  }

  #list(records: readonly Held[]): ConnectionRecord[] {
    return structuredClone(records.filter(held => this.#living(held) !== undefined))
  }

  /** Itself, unless its time has come: then it is freed. */
  #living(held: Held | undefined): Held | undefined {
    if (held?.expiresAt === undefined || held.expiresAt > this.#now()) return held
    this.#free(held)
    return undefined
  }

  /** The one way out, so that a record and its places in the indexes go together. */
  #free(held: Held): void {
    this.#records.delete(held.id)
    this.#nodes.remove(held.node, held)
    if (held.user !== undefined) this.#users.remove(held.user, held)
  }

  /** An iterator of a Map sees what is added and deleted while it is under way. */
  #sweepSome(): void {
    for (let i = 0; i < SWEPT_PER_PUT; i++) {
      const { value, done } = this.#sweep.next()
      if (done) {
        this.#sweep = this.#records.values()
        return
      }
      this.#living(value)
    }
  }
}
