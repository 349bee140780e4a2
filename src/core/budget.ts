import type { Registration } from './client.ts'
import type { Topic } from './topic.ts'

/** Relief goes on until so much of the limit is free again, or the next message would start it anew. */
const RELIEVED = 7 / 8

/**
 * Bytes that the hub keeps for anybody: what topics retain, and what waits for single clients. Whoever keeps bytes
 * adds them here and takes them off again; nobody asks before, so `used` may pass the limit by one tick's worth.
 */
export class Budget {
  readonly #limit: () => number
  used = 0

  /** @param limit in bytes; it may change at any time */
  constructor(limit: () => number) {
    this.#limit = limit
  }

  get exceeded(): boolean {
    return this.used > this.#limit()
  }

  /**
   * Frees what it can: first what is kept only for those who may resume, the largest topic first; then what waits, the client with
   * most of it first (then the one that waited longest, then by id). `end` closes a client as slow.
   */
  relieve(topics: Iterable<Topic>, clients: Iterable<Registration>, end: (client: Registration) => void): void {
    const target = this.#limit() * RELIEVED
    for (const topic of [...topics].sort((a, b) => b.retainedBytes - a.retainedBytes || order(a.name, b.name))) {
      if (this.used <= target) return
      topic.forgetHistory()
    }
    for (const client of [...clients].sort(mostWaiting)) {
      if (this.used <= target || client.outbox.keptBytes === 0) return
      const kept = [...client.outbox.links.values()].map(({ topic }) => topic)
      end(client)
      for (const topic of kept) topic.forgetHistory()
    }
  }
}

function mostWaiting({ outbox: a }: Registration, { outbox: b }: Registration): number {
  return b.keptBytes - a.keptBytes || a.waitingSince - b.waitingSince || order(a.id, b.id)
}

function order(a: string, b: string): number {
  return a < b ? -1 : 1
}
