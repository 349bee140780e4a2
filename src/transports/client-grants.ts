import type { TopicName } from '../core/ids.ts'
import type { Scheduler } from '../core/scheduler.ts'
import { Deadlines } from '../deadlines.ts'
import { eventLoop } from '../event-loop.ts'
import type { TopicsOwner } from './client-gate.ts'

/** How often grants are looked through, in ms. The end of one is noticed up to a second and this later. */
const LOOK_MS = 250
/** Subscriptions that one turn of the event loop ends. */
export const ENDS_PER_TURN = 64

interface Grant {
  readonly owner: TopicsOwner
  readonly topic: TopicName
  readonly expiresAt: number
}

/**
 * When subscriptions that came with a token of their own end. One timer for all clients, and none while there is no
 * such subscription.
 */
export class Grants {
  readonly #grants = new Map<TopicsOwner, Map<TopicName, Grant>>()
  /**
   * Tokens end by the wall clock, also while the process is stopped. The process reads a newer token that came
   * meanwhile before the next look.
   */
  readonly #deadlines = new Deadlines<Grant>(Date.now())
  readonly #expired: (owner: TopicsOwner, topic: TopicName) => void
  readonly #scheduler: Pick<Scheduler, 'every' | 'defer'>
  #timer: Disposable | undefined

  constructor(
    expired: (owner: TopicsOwner, topic: TopicName) => void,
    scheduler: Pick<Scheduler, 'every' | 'defer'> = eventLoop,
  ) {
    this.#expired = expired
    this.#scheduler = scheduler
  }

  /** @param expiresAt in ms since 1970; undefined: not before the session does */
  set(owner: TopicsOwner, topic: TopicName, expiresAt: number | undefined): void {
    this.forget(owner, topic)
    if (expiresAt === undefined) return
    const grant = { owner, topic, expiresAt }
    const topics = this.#grants.get(owner) ?? new Map<TopicName, Grant>()
    this.#grants.set(owner, topics.set(topic, grant))
    this.#deadlines.add(grant, expiresAt)
    this.#timer ??= this.#scheduler.every(LOOK_MS, () => this.#look())
  }

  /** One of its topics, or all. */
  forget(owner: TopicsOwner, topic?: TopicName): void {
    const topics = this.#grants.get(owner)
    if (topics === undefined) return
    for (const grant of topic === undefined ? [...topics.values()] : [topics.get(topic)]) {
      if (grant === undefined) continue
      topics.delete(grant.topic)
      this.#deadlines.remove(grant)
    }
    if (topics.size === 0) this.#grants.delete(owner)
    if (this.#grants.size > 0) return
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  /**
   * Ends a bounded number of expired subscriptions in this turn of the event loop, and the others in the next turns.
   */
  #look(): void {
    const now = Date.now()
    const due = this.#deadlines.due(now, ENDS_PER_TURN)
    for (const grant of due) this.#end(grant, now)
    if (due.length === ENDS_PER_TURN) this.#scheduler.defer(() => this.#look())
  }

  #end(grant: Grant, now: number): void {
    const { owner, topic, expiresAt } = grant
    // A handler of the end of another subscription may have ended this one, or replaced it.
    if (this.#grants.get(owner)?.get(topic) !== grant) return
    if (expiresAt > now) {
      // The wall clock was set back meanwhile.
      this.#deadlines.add(grant, expiresAt)
      return
    }
    this.forget(owner, topic)
    this.#expired(owner, topic)
  }
}
