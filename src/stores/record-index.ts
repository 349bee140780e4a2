import type { ConnectionRecord } from './connection-store.ts'

/** Which records belong to whom: one set per owner, and none for an owner without records. */
export class RecordIndex<R extends ConnectionRecord> {
  readonly #sets = new Map<string, Set<R>>()

  /** How many owners there are. */
  get size(): number {
    return this.#sets.size
  }

  add(owner: string, record: R): void {
    const set = this.#sets.get(owner)
    if (set) set.add(record)
    else this.#sets.set(owner, new Set([record]))
  }

  remove(owner: string, record: R): void {
    const set = this.#sets.get(owner)
    if (set?.delete(record) && set.size === 0) this.#sets.delete(owner)
  }

  /** A copy, so that what is listed may be freed meanwhile. */
  of(owner: string): R[] {
    return [...(this.#sets.get(owner) ?? [])]
  }
}
