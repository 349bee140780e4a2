import type { Registration } from './client.ts'
import type { TopicName } from './ids.ts'
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

interface Node {
  /** By the next segment. */
  readonly words: Map<string, Node>
  star: Node | undefined
  /** Patterns that end here. */
  readonly orders: Set<PatternOrder>
  /** Patterns that end with `**` behind this segment. */
  readonly deep: Set<PatternOrder>
}

function node(): Node {
  return { words: new Map(), star: undefined, orders: new Set(), deep: new Set() }
}

/**
 * The patterns of all clients, by segments: finding those that match a topic looks at no more than two branches a segment, and there are
 * at most MAX_PATTERN_DEPTH of them, whatever patterns there are.
 */
export class PatternIndex {
  readonly #root = node()
  #size = 0

  get size(): number {
    return this.#size
  }

  add(order: PatternOrder): void {
    this.#ordersAt(order.pattern).add(order)
    this.#size++
  }

  remove(order: PatternOrder): void {
    if (this.#ordersAt(order.pattern).delete(order)) this.#size--
    prune(this.#root, segmentsOf(order.pattern))
  }

  /** Of one client several may match. */
  matching(topic: TopicName): PatternOrder[] {
    const found: PatternOrder[] = []
    if (this.#size > 0) collect(this.#root, topic.split('/'), 0, found)
    return found
  }

  #ordersAt(pattern: TopicPattern): Set<PatternOrder> {
    let at = this.#root
    for (const segment of segmentsOf(pattern)) {
      if (segment === '**') return at.deep
      at = childOf(at, segment)
    }
    return at.orders
  }
}

function segmentsOf(pattern: TopicPattern): string[] {
  return pattern.split('/')
}

function childOf(at: Node, segment: string): Node {
  if (segment === '*') {
    at.star ??= node()
    return at.star
  }
  let child = at.words.get(segment)
  if (child === undefined) {
    child = node()
    at.words.set(segment, child)
  }
  return child
}

function collect(at: Node, segments: readonly string[], depth: number, found: PatternOrder[]): void {
  const segment = segments[depth]
  // One by one: as arguments of one call some hundred thousand would not fit on the stack.
  if (segment === undefined) {
    for (const order of at.orders) found.push(order)
    return
  }
  for (const order of at.deep) found.push(order)
  const word = at.words.get(segment)
  if (word) collect(word, segments, depth + 1, found)
  if (at.star) collect(at.star, segments, depth + 1, found)
}

/** Takes away what leads nowhere any more. Answers whether the node itself is empty. */
function prune(at: Node, [segment, ...rest]: readonly string[]): boolean {
  if (segment === '*') {
    if (at.star && prune(at.star, rest)) at.star = undefined
  } else if (segment !== undefined && segment !== '**') {
    const child = at.words.get(segment)
    if (child && prune(child, rest)) at.words.delete(segment)
  }
  return at.words.size + at.orders.size + at.deep.size === 0 && at.star === undefined
}

/** Tells quickly of many topics which match: nothing is split, and most differ in an early word. */
export function matcherOf(pattern: TopicPattern): (topic: TopicName) => boolean {
  if (!isPattern(pattern)) return topic => topic === (pattern as string)
  const wanted = segmentsOf(pattern)
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
