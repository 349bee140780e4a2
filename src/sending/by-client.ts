import type { Client } from '../core/connection.ts'

/**
 * What is under way, by client and not by id: an id may pass on to another client. A client for which nothing is under
 * way has no entry.
 */
export class ByClient<T> {
  readonly #all = new Map<Client, Set<T>>()

  add(client: Client, one: T): void {
    const ones = this.#all.get(client)
    if (ones) ones.add(one)
    else this.#all.set(client, new Set([one]))
  }

  delete(client: Client, one: T): void {
    const ones = this.#all.get(client)
    ones?.delete(one)
    if (ones?.size === 0) this.#all.delete(client)
  }

  has(client: Client): boolean {
    return this.#all.has(client)
  }

  /** Entries may be deleted while the caller iterates. */
  of(client: Client): Iterable<T> {
    return this.#all.get(client) ?? []
  }

  get all(): T[] {
    return [...this.#all.values()].flatMap(ones => [...ones])
  }
}
