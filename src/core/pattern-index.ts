import type { Registration } from './client.ts'
import type { TopicName } from './ids.ts'
import { PatternTrie } from './pattern-trie.ts'
import { isPattern, type TopicPattern } from './patterns.ts'
import type { DeliveryPolicy } from './policy.ts'

/** A client's standing order: every topic that matches, now and later, is a subscription of its own. */
export interface PatternOrder {
  readonly client: Registration
  readonly pattern: TopicPattern
  readonly wish: DeliveryPolicy | undefined
  /** Its subscriptions that are there because of it. */
  topics: number
}

/**
 * The patterns of all clients: finding those that match a topic costs what their trie costs, however many clients have
 * the same.
 */
export class PatternIndex {
  readonly #orders = new Map<TopicPattern, Set<PatternOrder>>()
  /** Of those among them that name many topics. */
  readonly #wild = new PatternTrie<Set<PatternOrder>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  add(order: PatternOrder): void {
    const { pattern } = order
    const orders = this.#orders.get(pattern) ?? new Set()
    if (orders.size === 0) {
      this.#orders.set(pattern, orders)
      if (isPattern(pattern)) this.#wild.set(pattern, orders)
    }
    orders.add(order)
    this.#size++
  }

  remove(order: PatternOrder): void {
    const { pattern } = order
    const orders = this.#orders.get(pattern)
    if (!orders?.delete(order)) return
    this.#size--
    if (orders.size > 0) return
    this.#orders.delete(pattern)
    if (isPattern(pattern)) this.#wild.delete(pattern)
  }

  /** The most specific first. Of one client several may match. */
  matching(topic: TopicName): PatternOrder[] {
    if (this.#size === 0) return []
    const found = [...(this.#orders.get(topic as string as TopicPattern) ?? [])]
    // One by one: as arguments of one call some hundred thousand would not fit on the stack.
    for (const orders of this.#wild.all(topic)) for (const order of orders) found.push(order)
    return found
  }
}

/** Tells quickly of many topics which match: nothing is split, and most differ in an early word. */
export function matcherOf(pattern: TopicPattern): (topic: TopicName) => boolean {
  if (!isPattern(pattern)) return topic => topic === (pattern as string)
  const wanted = pattern.split('/')
  const deep = wanted.at(-1) === '**'
  if (deep) wanted.pop()
  return topic => {
    let from = 0
    for (const word of wanted) {
      if (from > topic.length || (word !== '*' && !topic.startsWith(word, from))) return false
      const slash = topic.indexOf('/', from)
      const end = slash === -1 ? topic.length : slash
      if (word !== '*' && end !== from + word.length) return false
      from = end + 1
    }
    return deep ? from < topic.length : from > topic.length
  }
}
