/** What is under way, by client; nothing is kept of a client for whom nothing is. */
export class ByClient<T> {
  readonly #all = new Map<string, Set<T>>()

  add(clientId: string, one: T): void {
    const ones = this.#all.get(clientId)
    if (ones) ones.add(one)
    else this.#all.set(clientId, new Set([one]))
  }

  delete(clientId: string, one: T): void {
    const ones = this.#all.get(clientId)
    ones?.delete(one)
    if (ones?.size === 0) this.#all.delete(clientId)
  }

  has(clientId: string): boolean {
    return this.#all.has(clientId)
  }

  /** Whoever is told may end, and so leave. */
  of(clientId: string): Iterable<T> {
    return this.#all.get(clientId) ?? []
  }

  get all(): T[] {
    return [...this.#all.values()].flatMap(ones => [...ones])
  }
}
