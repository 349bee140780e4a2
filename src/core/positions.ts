import type { Budget } from './budget.ts'
import type { History, HistoryOptions } from './contract.ts'
import type { Position, TopicName } from './ids.ts'

/** How long the position of a topic that is no longer used is remembered, in ms. */
export const POSITION_MS = 3_600_000
/** What one position takes beside its texts, in bytes: measured, rounded up. */
const POSITION_BYTES = 200

interface Remembered {
  readonly position: Position
  /** On the scheduler's clock, in ms. */
  readonly at: number
}

/**
 * Where topics stood when they were forgotten. A topic that is used again goes on from there: a client that comes back
 * learns whether it missed anything, and how much. Bounded by time and by number; the oldest go first.
 */
export class Positions {
  readonly #budget: Budget
  /** The oldest first. */
  readonly #all = new Map<TopicName, Remembered>()
  bytes = 0

  constructor(budget: Budget) {
    this.#budget = budget
  }

  get size(): number {
    return this.#all.size
  }

  get(name: TopicName): Position | undefined {
    return this.#all.get(name)?.position
  }

  /** @param most positions that are remembered at most */
  remember(name: TopicName, position: Position, now: number, most: number): void {
    this.#all.set(name, { position, at: now })
    this.#count(bytesOf(name, position))
    for (const oldest of this.#all.keys()) {
      if (this.#all.size <= most) return
      this.take(oldest)
    }
  }

  /** The topic is used again, and has its position itself. */
  take(name: TopicName): Position | undefined {
    const position = this.get(name)
    if (position === undefined) return undefined
    this.#all.delete(name)
    this.#count(-bytesOf(name, position))
    return position
  }

  /** Forgets those whose time is over. */
  expire(now: number): void {
    for (const [name, { at }] of this.#all) {
      if (now - at < POSITION_MS) return
      this.take(name)
    }
  }

  clear(): void {
    this.#all.clear()
    this.#count(-this.bytes)
  }

  /**
   * Topics in which something came after `after`, or may have come: it is a position of one topic, and says nothing of
   * the others. That one topic is the first, then those that were used last. A search through all, for a subscription
   * by pattern, which names no topic.
   */
  after(after: Position, isMatch: (name: TopicName) => boolean): TopicName[] {
    const found: TopicName[] = []
    let own: TopicName | undefined
    for (const [name, { position }] of this.#all) {
      const isOwn = position.epoch === after.epoch
      if (position.seq <= (isOwn ? after.seq : 0) || !isMatch(name)) continue
      if (isOwn) own = name
      else found.push(name)
    }
    if (own !== undefined) found.push(own)
    return found.reverse()
  }

  /** See Topic.history: nothing is kept any more. */
  history(name: TopicName, { after }: HistoryOptions): History<never> {
    const position = this.get(name)
    const fromNothing = after?.epoch === '' && after.seq === 0
    if (position === undefined) return { position: { epoch: '', seq: 0 }, messages: [], recovered: fromNothing }
    const found = after === undefined || fromNothing || after.epoch === position.epoch
    return { position, messages: [], recovered: found && (after?.seq ?? 0) === position.seq }
  }

  #count(bytes: number): void {
    this.bytes += bytes
    this.#budget.used += bytes
  }
}

function bytesOf(name: TopicName, { epoch }: Position): number {
  return POSITION_BYTES + name.length + epoch.length
}
