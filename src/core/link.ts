import { Acks } from './acks.ts'
import { atOnce } from './attempt.ts'
import type { Batch } from './batch.ts'
import type { ClientId, Seq, TopicName } from './ids.ts'
import { MESSAGE_BYTES } from './ledger.ts'
import type { DropReason, Gap, GapReason, Message } from './message.ts'
import type { Outbox } from './outbox.ts'
import type { PatternOrder } from './pattern-index.ts'
import type { DeliveryPolicy, PolicyLink } from './policy.ts'
import type { DropTally } from './stats.ts'
import { type Terms, termsOf } from './terms.ts'
import { MAX_KEYS, MAX_NEWEST_BYTES, type Topic } from './topic.ts'
import type { Priority } from './topics.ts'
import { WireClock } from './wire-clock.ts'

/** A notice that the receiver did not take is told again after so long, unless a message follows sooner, in ms. */
const RETELL_MS = 30_000

/**
 * One client on one topic. Live: it gets each batch as it is sealed. Behind: it costs the fan-out nothing and reads the
 * topic's log (or its newest values, or its own `held` list) after its cursor when there is room again.
 */
export class Link implements PolicyLink {
  // In the order of use, as in the outbox: what the fan-out and the flush touch comes first.
  readonly outbox: Outbox
  readonly topic: Topic
  policy!: DeliveryPolicy
  /** Of the policy. */
  terms!: Terms
  /** The last message that is settled: sent, dropped, or taken into `held`. */
  cursor: Seq
  /** Reads its own list first; the fan-out goes on adding to the list. */
  holding = false
  gapCount: number | null = 0
  /** Messages in the outbox, not flushed yet. */
  queued = 0
  /** Their payload bytes. */
  queuedBytes = 0
  delivered = 0
  /** What was sent and not confirmed; only where the policy or the connection waits for confirmations. */
  acks: Acks | undefined
  /** Place in topic.links; -1 once the link has left. */
  index = -1
  /** Reads the topic's log or newest values after its cursor; the fan-out does not see it. */
  behind = false
  /** What the subscriber asked for, if anything; set through the manager only. */
  wish: DeliveryPolicy | undefined
  /** The pattern that it is there for. Undefined: the client named the topic. */
  order: PatternOrder | undefined
  state: unknown
  tally!: DropTally
  wakeAt = 0
  /** The last message before this link's time; what it is owed is everything after. */
  base: Seq
  dropped = 0
  /** What waits for a link that holds, oldest first: references, the payloads are shared. */
  held: Message[] = []
  heldBytes = 0
  /**
   * What it was given to hold at once (a replay, or what waited under another policy): so much may wait whatever the
   * policy says.
   */
  #allowedMessages = 0
  #allowedBytes = 0
  /** What of it waits to be sent once more, or did: it takes no room from what was never sent. */
  againBytes = 0
  #againMessages = 0
  gapFrom: Seq = 0
  gapTo: Seq = 0
  gapReason: GapReason = 'behind'

  constructor(outbox: Outbox, topic: Topic, cursor: Seq, wish: DeliveryPolicy | undefined) {
    this.outbox = outbox
    this.topic = topic
    this.cursor = cursor
    this.base = cursor
    this.wish = wish
  }

  get clientId(): ClientId {
    return this.outbox.id
  }

  get topicName(): TopicName {
    return this.topic.name
  }

  get writable(): boolean {
    return this.outbox.writable
  }

  get closed(): boolean {
    return this.index === -1
  }

  /** Messages that are neither delivered nor dropped yet (I6). */
  get pending(): number {
    return this.topic.seq - this.cursor + this.held.length + this.queued + (this.acks?.messages ?? 0)
  }

  get inFlight(): number {
    return this.queued + (this.acks?.messages ?? 0)
  }

  get inFlightBytes(): number {
    return this.queuedBytes + (this.acks?.bytes ?? 0)
  }

  get priority(): Priority {
    return this.topic.spec.priority ?? 'normal'
  }

  get underwayBytes(): number {
    const { unacknowledged, queuedBytes, waitingBytes } = this.outbox
    return queuedBytes + (unacknowledged ?? waitingBytes)
  }

  get unconfirmed(): Acks | undefined {
    return this.acks
  }

  waited(now: number): number {
    if (!this.outbox.writable) return now - this.outbox.waitingSince
    if (!this.behind) return 0
    for (const oldest of this.topic.waitingFor(this)) return now - oldest.at
    return 0
  }

  overdue(now: number, rate: number): number {
    const waiting = this.outbox.overdue(now, rate)
    return this.terms.measure === 'wire' ? Math.max(waiting, this.outbox.wireOverdue(now, rate)) : waiting
  }

  /**
   * Payload bytes that wait for this link and are not in the outbox. What `latest` reads is not its own: it gets only
   * the newest.
   */
  get backlogBytes(): number {
    const shared = this.behind && this.terms.backlog.kind === 'log'
    return this.heldBytes + (shared ? this.topic.log.bytesAfter(this.cursor) : 0)
  }

  /** So much may wait beside what the bounds allow, in bytes: a replay, some of which the connection may hold. */
  get allowedBytes(): number {
    return this.#allowedBytes
  }

  /**
   * Memory of what waits for this link, in bytes, without the payloads in the outbox. Another link may wait for the
   * same messages.
   */
  get keptBytes(): number {
    const shared = this.behind && this.terms.backlog.kind === 'log' ? this.topic.log.countAfter(this.cursor) : 0
    const messages = this.held.length + shared + this.inFlight
    return this.backlogBytes + (this.acks?.bytes ?? 0) + messages * MESSAGE_BYTES
  }

  /** Takes the policy and lets it make its state. What already waits stays. */
  adopt(policy: DeliveryPolicy): void {
    this.policy = policy
    this.terms = termsOf(policy, this.outbox.fault)
    const { measure, confirm, name } = this.terms
    if (measure === 'wire' && this.outbox.unacknowledged !== undefined) this.outbox.wire ??= new WireClock()
    // The new policy decides about messages that the connection has given up.
    if (this.acks?.stuck) this.redeliver()
    if (confirm || this.outbox.confirms) this.acks ??= new Acks(this.topic.ledger, this.#sentUpTo)
    else this.#stopWaiting()
    this.wakeAt = 0
    this.#open()
    this.tally = this.topic.counters.tallyOf(name)
  }

  /**
   * Where `open` throws, the link keeps the state that the policy has set before: a policy around another one does so.
   * A message on which `admit` throws without a state is dropped and counted.
   */
  #open(): void {
    this.state = undefined
    try {
      this.state = atOnce(this.policy.open(this), 'open')
    } catch (error) {
      this.outbox.fault(`policy '${this.terms.name}'`, error)
    }
  }

  /** The last message that the connection was given, or one before it. */
  get #sentUpTo(): Seq {
    return (this.held[0]?.seq ?? this.cursor + 1) - 1 - this.queued
  }

  /** From now on a message counts as delivered when it is sent. So do those that were sent already. */
  #stopWaiting(): void {
    if (this.acks === undefined) return
    const sent = this.#takeSent()
    this.acks = undefined
    this.#deliver(sent.length)
  }

  #deliver(count: number): void {
    this.delivered += count
    this.topic.counters.deliver(count)
  }

  #takeSent(): Message[] {
    const sent = this.acks!.take()
    this.outbox.unconfirmed -= sent.length
    return sent
  }

  /**
   * The connection took the batch; each message is delivered when it is confirmed. What the protocol cannot carry is
   * lost.
   */
  sent(batch: Batch, carried: readonly Message[], now: number): void {
    this.queued -= batch.count
    this.queuedBytes -= batch.bytes
    const known = this.acks!.add(carried, now)
    this.outbox.unconfirmed += carried.length - known
    this.#deliver(known)
    this.drop(batch.first, batch.last, batch.count - carried.length, 'unsupported')
  }

  /** The receiver has everything up to `seq` that it was sent. Answers how many messages that settles. */
  confirm(seq: Seq, now: number): number {
    const { acks } = this
    if (acks === undefined || !Number.isSafeInteger(seq) || seq > acks.last) return 0
    let count = acks.confirm(seq, now)
    this.outbox.unconfirmed -= count
    // What waits to be sent once more need not be.
    const again = this.held.findIndex(message => message.seq > seq)
    const spared = this.held.splice(0, again === -1 ? this.held.length : again)
    for (const message of spared) this.#letGo(message)
    if (this.held.length === 0) this.release()
    count += spared.length
    this.#deliver(count)
    return count
  }

  /** See Client.failed. */
  fail(seq: Seq, now: number): boolean {
    if (this.terms.confirm) {
      // Its policy may want to look sooner than it thought.
      this.wakeAt = 0
      return this.acks!.stick(seq, now)
    }
    this.#lose(seq, 'failed')
    return false
  }

  #lose(seq: Seq, reason: DropReason): void {
    if (!this.acks?.remove(seq)) return
    this.outbox.unconfirmed--
    this.drop(seq, seq, 1, reason)
  }

  /**
   * Everything that is not confirmed waits again, before all else. Never while some of the link's messages are in the
   * outbox.
   */
  redeliver(): void {
    const again = this.#takeSent()
    if (again.length === 0) return
    this.acks!.tries++
    this.held = [...again, ...this.held]
    const bytes = again.reduce((sum, { bytes }) => sum + bytes, 0)
    for (const message of again) this.#keep(message)
    this.againBytes = Math.max(this.againBytes, bytes)
    this.#againMessages = Math.max(this.#againMessages, again.length)
    if (this.holding) return
    this.holding = true
    this.outbox.behind++
  }

  /** The oldest that is not confirmed will not be sent again. */
  giveUp(): void {
    this.#lose(this.acks!.oldest, 'unconfirmed')
  }

  /**
   * Counts `count` messages within from..to as dropped and remembers to tell it. Hot for best-effort: no allocation.
   */
  drop(from: Seq, to: Seq, count: number, reason: DropReason): void {
    if (count === 0) return
    this.dropped += count
    this.tally.add(reason, count)
    this.outbox.countDrop(reason, count)
    this.outbox.watcher?.({ kind: 'dropped', topic: this.topic.name, from, to, count, reason })
    this.noteGap(from, to, count, reason)
  }

  /** Coalesces: the reason told is that of the first loss in the gap. */
  noteGap(from: Seq, to: Seq, count: number | null, reason: GapReason): void {
    // A client that has left the topic is not told.
    if (this.closed) return
    if (this.gapCount === 0) {
      this.gapFrom = from
      this.gapTo = to
      this.gapReason = reason
      this.outbox.untold++
    }
    this.gapFrom = Math.min(this.gapFrom, from)
    this.gapTo = Math.max(this.gapTo, to)
    this.gapCount = count === null || this.gapCount === null ? null : this.gapCount + count
  }

  /** The receiver did not take this notice, which is older than the gap that it becomes part of again. */
  retell({ from, to, count, reason }: Gap, now: number): void {
    this.noteGap(from, to, count, reason)
    this.gapReason = reason
    if (this.acks !== undefined) this.acks.tellAt = now + RETELL_MS
  }

  /** Is there a gap to tell, though no message follows? */
  tells(now: number): boolean {
    return this.gapCount !== 0 && now >= (this.acks?.tellAt ?? 0)
  }

  takeGap(): Gap {
    const { gapFrom: from, gapTo: to, gapCount: count, gapReason: reason } = this
    this.gapCount = 0
    this.outbox.untold--
    return { topic: this.topic.name, from, to, count, reason }
  }

  /**
   * Puts messages behind what it keeps already, and lets go what its policy would. Settles everything up to `last`.
   * False: its policy would rather have the client closed. `all`: they wait already, or were asked for, so none is
   * given up for want of room.
   */
  hold(messages: readonly Message[], last: Seq, all = false): boolean {
    const { backlog } = this.terms
    let keeps = true
    for (const message of messages) {
      if (message.seq <= this.cursor) continue
      const skipped = message.seq - this.cursor - 1
      if (skipped > 0) this.drop(this.cursor + 1, message.seq - 1, skipped, 'conflated')
      this.cursor = message.seq
      if (backlog.kind === 'none' && !all && !this.outbox.writable) {
        this.drop(message.seq, message.seq, 1, 'behind')
        continue
      }
      if (backlog.kind === 'newest') this.#conflate(message)
      this.held.push(message)
      this.#keep(message)
      if (!all) keeps = this.#boundHeld() && keeps
    }
    this.cursor = Math.max(this.cursor, last)
    if (all) {
      this.#allowedMessages = this.held.length
      this.#allowedBytes = this.heldBytes
    }
    if (!this.holding && this.held.length > 0) {
      this.holding = true
      this.outbox.behind++
    }
    return keeps
  }

  /** A newer value takes the place of the one of the same key that waits. */
  #conflate({ key }: Message): void {
    const older = this.held.findIndex(message => message.key === key)
    if (older === -1) return
    const [message] = this.held.splice(older, 1) as [Message]
    this.#letGo(message)
    this.drop(message.seq, message.seq, 1, 'conflated')
  }

  /** Within the policy's bounds, or what it held to begin with, if that was more. */
  #boundHeld(): boolean {
    const { backlog } = this.terms
    const own = backlog.kind === 'log' ? backlog : { messages: MAX_KEYS, bytes: MAX_NEWEST_BYTES }
    // Of what is to be sent again some may be in the connection's hand.
    const taken = this.againBytes > 0 ? -this.againBytes : this.outbox.waitingBytes
    const bytes = Math.max(own.bytes - taken, this.#allowedBytes)
    const messages = Math.max(own.messages + this.#againMessages, this.#allowedMessages)
    const newest = backlog.kind === 'log' && backlog.overflow === 'drop-newest'
    while (this.held.length > 0 && (this.heldBytes > bytes || this.held.length > messages)) {
      if (backlog.kind === 'log' && backlog.overflow === 'close') return false
      const message = (newest ? this.held.pop() : this.held.shift())!
      this.#letGo(message)
      this.drop(message.seq, message.seq, 1, 'overflow')
    }
    if (this.held.length === 0) this.release()
    return true
  }

  /** The first `count` of the list are on their way. */
  unhold(batch: Batch): void {
    for (const message of this.held.splice(0, batch.count)) this.#letGo(message)
    if (this.held.length === 0) this.release()
  }

  /** What it holds is lost: its policy keeps nothing, or it ends. */
  giveUpHeld(reason: 'rate' | 'closed'): void {
    const { held } = this
    this.release()
    if (held.length > 0) this.drop(held[0]!.seq, held.at(-1)!.seq, held.length, reason)
  }

  #keep(message: Message): void {
    this.heldBytes += message.bytes
    this.topic.ledger.keep(message)
  }

  #letGo(message: Message): void {
    this.heldBytes -= message.bytes
    this.topic.ledger.release(message)
  }

  /**
   * Gives up what waits beyond `bytes`: the newest of its own list, or the oldest of the log. False: its policy would
   * rather have the client closed.
   */
  shed(bytes: number): boolean {
    const { backlog } = this.terms
    if (backlog.kind === 'log' && backlog.overflow === 'close') return false
    while (this.heldBytes > bytes) {
      const message = this.held.pop()!
      this.#letGo(message)
      this.drop(message.seq, message.seq, 1, 'overflow')
    }
    // A link that holds nothing has nothing to read, and must not look as if it had.
    if (this.held.length === 0) this.release()
    if (this.behind) this.skipTo(this.topic.log.floor(Number.POSITIVE_INFINITY, bytes))
    return true
  }

  /** What waits in the log up to `cursor` is given up. */
  skipTo(cursor: Seq): void {
    if (cursor <= this.cursor) return
    this.drop(this.cursor + 1, cursor, cursor - this.cursor, 'overflow')
    this.cursor = cursor
  }

  /** Nothing is held any more. */
  release(): void {
    for (const message of this.held) this.#letGo(message)
    this.held = []
    this.#allowedMessages = 0
    this.#allowedBytes = 0
    this.againBytes = 0
    this.#againMessages = 0
    if (!this.holding) return
    this.holding = false
    this.outbox.behind--
  }

  /** Replays what the topic still keeps after the base; what it does not keep is a loss. Once, on joining. */
  replay(after: Seq): void {
    this.base = after
    this.cursor = after
    if (this.acks !== undefined) this.acks.last = after
    const { log, sealed } = this.topic
    const oldest = Math.min(log.first - 1, sealed)
    if (oldest > after) {
      this.drop(after + 1, oldest, oldest - after, 'trimmed')
      this.cursor = oldest
    }
    const missed = [...log.after(this.cursor)]
    this.hold(missed, sealed, true)
  }

  /** The link has ended: what waits is lost. Messages in the outbox stay: flush settles them. */
  abandon(): void {
    this.giveUpHeld('closed')
    const sent = this.acks === undefined ? [] : this.#takeSent()
    if (sent.length > 0) this.drop(sent[0]!.seq, sent.at(-1)!.seq, sent.length, 'closed')
    const { seq } = this.topic
    this.drop(this.cursor + 1, seq, seq - this.cursor, 'closed')
    this.cursor = seq
  }
}
