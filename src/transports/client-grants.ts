import type { TopicName } from '../core/ids.ts'
import type { TopicsOwner } from './client-gate.ts'

/** How often grants are looked through, in ms: how late the end of one may be noticed. */
const LOOK_MS = 1000

/** When subscriptions that came with a token of their own end. One timer for all clients, and none while there is no such subscription. */
export class Grants {
  readonly #ends = new Map<TopicsOwner, Map<TopicName, number>>()
  readonly #expired: (owner: TopicsOwner, topic: TopicName) => void
  #timer: NodeJS.Timeout | undefined

  constructor(expired: (owner: TopicsOwner, topic: TopicName) => void) {
    this.#expired = expired
  }

  /** @param expiresAt in ms since 1970; undefined: not before the session does */
  set(owner: TopicsOwner, topic: TopicName, expiresAt: number | undefined): void {
    if (expiresAt === undefined) {
      this.forget(owner, topic)
      return
    }
    const topics = this.#ends.get(owner) ?? new Map<TopicName, number>()
    this.#ends.set(owner, topics.set(topic, expiresAt))
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS).unref()
  }

  /** One of its topics, or all. */
  forget(owner: TopicsOwner, topic?: TopicName): void {
    const topics = this.#ends.get(owner)
    if (topics === undefined) return
    if (topic !== undefined) topics.delete(topic)
    if (topic === undefined || topics.size === 0) this.#ends.delete(owner)
    if (this.#ends.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #look(): void {
    // Tokens end by the clock on the wall.
    const now = Date.now()
    const over = [...this.#ends].flatMap(([owner, topics]) =>
      [...topics].flatMap(([topic, end]) => (end <= now ? [{ owner, topic }] : [])),
    )
    for (const { owner, topic } of over) {
      this.forget(owner, topic)
      this.#expired(owner, topic)
    }
  }
}
