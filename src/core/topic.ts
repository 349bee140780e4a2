import { Batch } from './batch.ts'
import type { Budget } from './budget.ts'
import type { History, HistoryOptions } from './contract.ts'
import type { Position, Seq, TopicName } from './ids.ts'
import { Ledger } from './ledger.ts'
import type { Link } from './link.ts'
import { Log, type LogBounds, newestWithin } from './log.ts'
import type { Message } from './message.ts'
import { PickyCodecs } from './picky-codecs.ts'
import type { DeliveryPolicy } from './policy.ts'
import { Counters } from './stats.ts'
import { TokenBucket } from './token-bucket.ts'
import type { Priority, TopicSpec } from './topics.ts'

/** Most keys of which `newest` keeps a value; beyond it the key that was silent longest is forgotten. */
export const MAX_KEYS = 10_000
/** Payload bytes that `newest` keeps at most, for all clients together; one larger message is kept alone. */
export const MAX_NEWEST_BYTES = 768 * 1024

/** The order in which a client that is behind reads on: a lower lane first. */
export const LANES: Readonly<Record<Priority, number>> = { high: 0, normal: 1, bulk: 2 }

/**
 * A named stream of messages. Owns its links (live ones first, so that the fan-out walks a dense array), what was
 * published in this tick, and what is kept for those who are behind.
 */
export class Topic {
  readonly name: TopicName
  readonly epoch: string
  spec: TopicSpec
  policy: DeliveryPolicy
  /** Where that comes from. */
  policyOrigin: 'topic' | 'rule' | 'default' = 'default'
  contentType: string | undefined
  /** The last message routed, sealed or not. */
  seq: Seq = 0
  /** The last message sealed: what links and log know of. */
  sealed: Seq = 0
  readonly links: Link[] = []
  /** links[0..live) are live, the rest is behind. */
  live = 0
  pending: Message[] = []
  pendingBytes = 0
  /** The fan-out is walking `links`: members may come at the end, nobody may leave (I4). */
  walking = false
  dirty = false
  /** While what is pending waits for company: the timer that ends it. */
  linger: Disposable | undefined
  /** Undefined: every link can be sent every message. */
  picky: PickyCodecs | undefined
  readonly counters: Counters
  /** What the topic and its links keep of its messages. */
  readonly ledger: Ledger
  readonly log: Log
  /** The newest message of each key, in order of seq; only while a link that reads it is behind. */
  newest: Map<string, Message> | undefined
  newestBytes = 0
  /** When the last message came, on the scheduler's clock, in ms. */
  routedAt = 0
  #rates: { messages: TokenBucket | undefined; bytes: TokenBucket | undefined; of: TopicSpec } | undefined
  /** Weak: it saves work while those who fell behind together read on, and must keep nothing in memory. */
  #slice: WeakRef<Batch> | undefined
  #bounds: LogBounds

  /** @param start of a new topic, or where one of the name was when it was forgotten */
  constructor(spec: TopicSpec, start: Position, policy: DeliveryPolicy, whole: Counters, budget: Budget) {
    this.counters = new Counters(whole)
    this.ledger = new Ledger(budget)
    this.log = new Log(this.ledger)
    this.name = spec.name
    this.spec = spec
    this.epoch = start.epoch
    this.seq = start.seq
    this.sealed = start.seq
    this.policy = policy
    this.contentType = spec.contentType
    this.#bounds = spec.history
  }

  get position(): Position {
    return { epoch: this.epoch, seq: this.seq }
  }

  get lingerMs(): number {
    return this.spec.lingerMs ?? 0
  }

  get lane(): number {
    return LANES[this.spec.priority ?? 'normal']
  }

  /** The cursor of whoever wants all of the history: while somebody is behind, the log holds more than that. */
  get historyFrom(): Seq {
    const { messages, bytes } = this.spec.history
    return Math.min(this.sealed, Math.max(this.log.first - 1, this.log.floor(messages, bytes)))
  }

  /** How long a publisher has to wait before it may publish so many bytes, in ms. 0: it has just been allowed to. */
  throttleMs(bytes: number, now: number): number {
    const { publishRate } = this.spec
    if (publishRate === undefined) return 0
    if (this.#rates?.of !== this.spec) {
      const bucket = (rate: number | undefined) => (rate === undefined ? undefined : new TokenBucket(rate, now))
      this.#rates = { messages: bucket(publishRate.messages), bytes: bucket(publishRate.bytes), of: this.spec }
    }
    const rates = this.#rates
    const wait = Math.max(rates.messages?.waitMs(now) ?? 0, rates.bytes?.waitMs(now, bytes) ?? 0)
    if (wait > 0) return wait
    rates.messages?.take(now)
    rates.bytes?.take(now, bytes)
    return 0
  }

  get full(): boolean {
    return this.links.length >= (this.spec.maxSubscribers ?? Number.POSITIVE_INFINITY)
  }

  /** Forgetting it would not give a publisher more than its rate. */
  rested(now: number): boolean {
    return (this.#rates?.messages?.full(now) ?? true) && (this.#rates?.bytes?.full(now) ?? true)
  }

  /** Is it a place in this life of the topic? Without an epoch, 0 is the beginning: the position of an unused topic. */
  has({ epoch, seq }: Position): boolean {
    return (
      (epoch === this.epoch || (epoch === '' && seq === 0)) && Number.isSafeInteger(seq) && seq >= 0 && seq <= this.seq
    )
  }

  /** What came after a position, as far as it is kept for those who resume. */
  history({ after, limit = Number.POSITIVE_INFINITY, reverse = false }: HistoryOptions): History<Message> {
    // Pending messages belong to the history too: the log has messages up to the last batch.
    const kept = newestWithin([...this.log.after(this.historyFrom), ...this.pending], this.spec.history)
    const start = kept.length > 0 ? kept[0]!.seq - 1 : this.seq
    const found = after === undefined || this.has(after)
    const seen = after?.seq ?? 0
    const messages = kept.filter(({ seq }) => !found || seq > seen)
    if (reverse) messages.reverse()
    return { position: this.position, messages: messages.slice(0, limit), recovered: found && seen >= start }
  }

  /** Memory of the messages that the topic or one of its links keeps, in bytes. */
  get retainedBytes(): number {
    return this.ledger.bytes
  }

  add(link: Link): void {
    link.index = this.links.length
    this.links.push(link)
    this.promote(link)
    this.#countPicky(link, 1)
  }

  /** Never while walking. */
  remove(link: Link): void {
    if (link.behind) this.promote(link)
    this.live--
    this.#swap(link.index, this.live)
    this.#swap(this.live, this.links.length - 1)
    this.links.pop()
    link.index = -1
    this.#countPicky(link, -1)
  }

  #countPicky({ outbox }: Link, change: 1 | -1): void {
    // A getter may throw: only GuardedCodec reads it.
    if (!('carries' in outbox.codec)) return
    this.picky ??= new PickyCodecs()
    this.picky.count(outbox.codec, change)
    if (this.picky.none) this.picky = undefined
  }

  promote(link: Link): void {
    this.#swap(link.index, this.live)
    this.live++
    if (link.behind) {
      link.behind = false
      link.outbox.behind--
    }
  }

  /** Safe while the fan-out walks backwards: it swaps only with links that were visited already. */
  demote(link: Link): void {
    this.live--
    this.#swap(link.index, this.live)
    link.behind = true
    link.outbox.behind++
    this.#widen(link)
  }

  /** Remembers the newest value of each key, for links that conflate. */
  remember(message: Message): void {
    const newest = this.newest!
    const key = message.key ?? ''
    this.#forget(key)
    newest.set(key, message)
    this.newestBytes += message.bytes
    this.ledger.keep(message)
    for (const silent of newest.keys()) {
      if (newest.size <= MAX_KEYS && (this.newestBytes <= MAX_NEWEST_BYTES || newest.size === 1)) break
      this.#forget(silent)
    }
  }

  #forget(key: string): void {
    const message = this.newest!.get(key)
    if (message === undefined) return
    this.newest!.delete(key)
    this.newestBytes -= message.bytes
    this.ledger.release(message)
  }

  /** What a link reads next, oldest first: its own list, and only then what the topic keeps for all. */
  waitingFor(link: Link): Iterable<Message> {
    return link.holding ? link.held : this.unread(link)
  }

  /** What the topic keeps for a link that is behind, beside what that holds, oldest first. */
  *unread({ terms, cursor }: Link): Iterable<Message> {
    if (terms.backlog.kind !== 'newest') yield* this.log.after(cursor)
    else for (const message of this.newest?.values() ?? []) if (message.seq > cursor) yield message
  }

  /** What a link that is behind reads next: at most `bytes`, or one message. Undefined: nothing is left. */
  next(link: Link, bytes: number): Batch | undefined {
    const most = link.terms.stepwise ? 1 : Number.POSITIVE_INFINITY
    const shared = !link.holding && link.terms.backlog.kind === 'log' && most > 1
    // Clients that fell behind together read on together: the last slice serves them all, encoded once.
    const slice = shared ? this.#slice?.deref() : undefined
    if (slice?.first === link.cursor + 1 && slice.bytes <= bytes) return slice
    const messages: Message[] = []
    let taken = 0
    for (const message of this.waitingFor(link)) {
      taken += message.bytes
      if (messages.length === most || (taken > bytes && messages.length > 0)) break
      // Not past a gap that is still to be told: the notice stands where the loss was.
      if (link.holding && link.gapCount !== 0 && message.seq > link.gapFrom && messages.length > 0) break
      messages.push(message)
    }
    if (messages.length === 0) return undefined
    const batch = new Batch(messages, link.holding ? messages[0]!.seq : link.cursor + 1)
    if (shared) this.#slice = new WeakRef(batch)
    return batch
  }

  /** Does the log hold more than those who are behind may keep? Then they must be settled and the log trimmed. */
  get overfull(): boolean {
    return this.log.bytes > this.#bounds.bytes || this.log.count > this.#bounds.messages
  }

  /** Frees what neither history nor a link that is behind needs; those must have been bounded before. */
  trim(now: number): void {
    const { history } = this.spec
    if (this.live === this.links.length) {
      if (this.newest !== undefined) for (const key of this.newest.keys()) this.#forget(key)
      this.newest = undefined
      this.log.trim(history, Number.POSITIVE_INFINITY, now)
      return
    }
    this.#bounds = history
    for (let i = this.live; i < this.links.length; i++) this.#widen(this.links[i]!)
    this.log.trim(history, this.#neededFrom(), now)
  }

  /** The hub is short of memory: keeps only what links that are behind wait for. */
  forgetHistory(): void {
    this.log.trim({ messages: 0, bytes: 0, ageMs: 0 }, this.#neededFrom(), 0)
  }

  /** The oldest message that a link still reads from the log. */
  #neededFrom(): Seq {
    let first: Seq = Number.POSITIVE_INFINITY
    for (let i = this.live; i < this.links.length; i++) {
      const link = this.links[i]!
      if (link.terms.backlog.kind === 'log') first = Math.min(first, link.cursor + 1)
    }
    return first
  }

  /** The log must hold what a link that is behind may keep, less what its connection has in hand. */
  #widen(link: Link): void {
    const { backlog } = link.terms
    if (backlog.kind !== 'log') return
    this.#bounds = {
      messages: Math.max(this.#bounds.messages, backlog.messages),
      bytes: Math.max(this.#bounds.bytes, backlog.bytes - link.outbox.waitingBytes),
      ageMs: this.#bounds.ageMs,
    }
  }

  #swap(a: number, b: number): void {
    if (a === b) return
    const one = this.links[a]!
    const other = this.links[b]!
    this.links[a] = other
    this.links[b] = one
    other.index = a
    one.index = b
  }
}
