import type { Registration } from './client.ts'
import { Largest } from './largest.ts'
import type { Topic } from './topic.ts'

/** Relief goes on until so much of the limit is free again, or the next message would start it anew. */
const RELIEVED = 7 / 8

/**
 * Work of relief in one tick: a look at a topic or a client is 1, and what is freed counts more. The rest waits for the
 * next ticks, so that no client waits for a walk over all topics.
 */
export const RELIEF_WORK = 2048
/** A tick does more while less was freed than came in since the last one: at most so much work, in so many ms. */
const MOST_WORK = 16 * RELIEF_WORK
const MOST_MS = 8
/** To take the largest of many, and to free it. */
const TAKE = 8
/** To end a client, and each of its subscriptions. */
const END = 64

interface Relievable {
  readonly topics: Iterable<Topic>
  readonly clients: Iterable<Registration>
  now(): number
  /** Closes the client as slow. */
  end(client: Registration): void
}

/**
 * Bytes that the hub keeps for anybody. Whoever keeps bytes adds them here and takes them off again; nobody asks
 * before, so `used` may pass the limit by what is published until relief has found what to free.
 */
export class Budget {
  readonly #limit: () => number
  used = 0
  /** While it is under way. Each step answers its work. */
  #relief: Iterator<number> | undefined
  /** `used` at the end of the last tick. */
  #before = 0

  /** @param limit in bytes; it may change at any time */
  constructor(limit: () => number) {
    this.#limit = limit
  }

  /**
   * Frees what it can where the limit is passed: first what is kept only for those who may resume, the largest topic
   * first; then what waits, the client with most of it first (then the one that waited longest, then by id). True:
   * there is more to do in the next tick.
   */
  relieve(from: Relievable): boolean {
    if (this.#relief === undefined) {
      if (this.used <= this.#limit()) return false
      this.#relief = this.#steps(from)
      this.#before = this.used
    }
    const startedAt = from.now()
    for (let work = 0; this.#relief !== undefined; ) {
      if (work >= RELIEF_WORK && this.used <= this.#before) break
      if (work >= MOST_WORK || (work >= RELIEF_WORK && from.now() - startedAt >= MOST_MS)) break
      const { done, value } = this.#relief.next()
      if (done) this.#relief = undefined
      else work += value
    }
    this.#before = this.used
    return this.#relief !== undefined
  }

  get #relieved(): boolean {
    return this.used <= this.#limit() * RELIEVED
  }

  *#steps({ topics, clients, end }: Relievable): Generator<number, void> {
    const histories = new Largest<Topic>(({ retainedBytes }) => retainedBytes, byName)
    for (const topic of topics) {
      if (topic.log.count > 0) histories.add(topic)
      yield 1
    }
    for (let topic = histories.take(); topic && !this.#relieved; topic = histories.take()) {
      const { count } = topic.log
      topic.forgetHistory()
      yield TAKE + count - topic.log.count
    }
    if (this.#relieved) return
    const waiting = new Largest<Registration>(({ outbox }) => outbox.keptBytes, byWaiting)
    for (const client of clients) {
      waiting.add(client)
      yield 1 + client.outbox.links.size
    }
    for (let client = waiting.take(); client && !this.#relieved; client = waiting.take()) {
      const kept = [...client.outbox.links.values()].map(({ topic }) => topic)
      end(client)
      for (const topic of kept) topic.forgetHistory()
      yield END * (1 + kept.length)
    }
  }
}

function byName(a: Topic, b: Topic): boolean {
  return a.name < b.name
}

function byWaiting(a: Registration, b: Registration): boolean {
  const [waitsA, waitsB] = [a.outbox.waitingSince, b.outbox.waitingSince]
  return waitsA === waitsB ? a.id < b.id : waitsA < waitsB
}
