import type { Batch } from './batch.ts'
import type { ClientId, Seq, TopicName } from './ids.ts'
import type { DropReason, Gap, GapReason, Message } from './message.ts'
import type { Outbox } from './outbox.ts'
import type { DeliveryPolicy, PolicyLink } from './policy.ts'
import type { DropTally } from './stats.ts'
import type { Topic } from './topic.ts'
import { WireClock } from './wire-clock.ts'

/**
 * One client on one topic. Live: it gets each batch as it is sealed. Behind: it costs the fan-out nothing and reads the
 * topic's log (or its newest values, or its own `held` list) after its cursor when there is room again.
 */
export class Link implements PolicyLink {
  readonly outbox: Outbox
  readonly topic: Topic
  /** What the subscriber asked for, if anything; set through the manager only. */
  wish: DeliveryPolicy | undefined
  policy!: DeliveryPolicy
  state: unknown
  tally!: DropTally
  wakeAt = 0
  /** The last message that is settled: sent, dropped, or taken into `held`. */
  cursor: Seq
  /** The last message before this link's time; what it is owed is everything after. */
  base: Seq
  delivered = 0
  dropped = 0
  /** Messages in the outbox, not flushed yet. */
  queued = 0
  /** Reads the topic's log or newest values after its cursor; the fan-out does not see it. */
  behind = false
  /** Reads its own list first; the fan-out goes on adding to the list. */
  holding = false
  /** What waits for a link that holds, oldest first: references, the payloads are shared. */
  held: Message[] = []
  heldBytes = 0
  /** Place in topic.links; -1 once the link has left. */
  index = -1
  gapFrom: Seq = 0
  gapTo: Seq = 0
  gapCount: number | null = 0
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
    return this.topic.seq - this.cursor + this.held.length + this.queued
  }

  waited(now: number): number {
    if (!this.outbox.writable) return now - this.outbox.waitingSince
    if (!this.behind) return 0
    for (const oldest of this.topic.waitingFor(this)) return now - oldest.at
    return 0
  }

  overdue(now: number, rate: number): number {
    const waiting = this.outbox.overdue(now, rate)
    return this.policy.measure === 'wire' ? Math.max(waiting, this.outbox.wireOverdue(now, rate)) : waiting
  }

  /** Payload bytes that wait for this link and are not in the outbox. What `latest` reads is not its own: it gets only the newest. */
  get backlogBytes(): number {
    const shared = this.behind && this.policy.backlog.kind === 'log'
    return this.heldBytes + (shared ? this.topic.log.bytesAfter(this.cursor) : 0)
  }

  /** Takes the policy and lets it make its state. What already waits stays. */
  adopt(policy: DeliveryPolicy): void {
    this.policy = policy
    if (policy.measure === 'wire' && this.outbox.connection.unacknowledged?.() !== undefined) {
      this.outbox.wire ??= new WireClock()
    }
    this.wakeAt = 0
    this.state = policy.open(this)
    this.tally = this.topic.counters.tallyOf(policy.name)
  }

  /** Counts `count` messages within from..to as dropped and remembers to tell it. Hot for best-effort: no allocation. */
  drop(from: Seq, to: Seq, count: number, reason: DropReason): void {
    if (count === 0) return
    this.dropped += count
    this.tally.add(reason, count)
    this.outbox.countDrop(reason, count)
    this.noteGap(from, to, count, reason)
  }

  /** Coalesces: the reason told is that of the first loss in the gap. */
  noteGap(from: Seq, to: Seq, count: number | null, reason: GapReason): void {
    if (this.gapCount === 0) {
      this.gapFrom = from
      this.gapReason = reason
      this.outbox.untold++
    }
    this.gapTo = to
    this.gapCount = count === null || this.gapCount === null ? null : this.gapCount + count
  }

  takeGap(): Gap {
    const { gapFrom: from, gapTo: to, gapCount: count, gapReason: reason } = this
    this.gapCount = 0
    this.outbox.untold--
    return { topic: this.topic.name, from, to, count, reason }
  }

  /** Keeps what fits beside what it keeps already; the rest, the newest, is dropped. Settles everything up to `last`. */
  hold(messages: readonly Message[], last: Seq): void {
    const limit = this.policy.backlog.kind === 'log' ? this.policy.backlog : this.topic.spec.history
    for (const message of messages) {
      if (message.seq <= this.cursor) continue
      const size = message.payload.byteLength
      const skipped = message.seq - this.cursor - 1
      if (skipped > 0) this.drop(this.cursor + 1, message.seq - 1, skipped, 'conflated')
      const room = this.heldBytes + this.outbox.waitingBytes + size <= limit.bytes
      if (room && this.held.length < limit.messages) {
        this.held.push(message)
        this.#countHeld(size)
      } else {
        this.drop(message.seq, message.seq, 1, 'overflow')
      }
      this.cursor = message.seq
    }
    this.cursor = Math.max(this.cursor, last)
    if (!this.holding && this.held.length > 0) {
      this.holding = true
      this.outbox.behind++
    }
  }

  /** The first `count` of the list are on their way. */
  unhold(batch: Batch): void {
    this.held.splice(0, batch.count)
    this.#countHeld(-batch.bytes)
    if (this.held.length === 0) this.release()
  }

  /** What it holds is lost: its policy keeps nothing, or it ends. */
  giveUpHeld(reason: 'rate' | 'closed'): void {
    const { held } = this
    this.release()
    if (held.length > 0) this.drop(held[0]!.seq, held.at(-1)!.seq, held.length, reason)
  }

  #countHeld(bytes: number): void {
    this.heldBytes += bytes
    this.outbox.hold(bytes)
  }

  /**
   * Gives up what waits beyond `bytes`: the newest of its own list, or the oldest of the log. False: its policy would rather have the
   * client closed.
   */
  shed(bytes: number): boolean {
    const { backlog } = this.policy
    if (backlog.kind === 'log' && backlog.overflow === 'close') return false
    while (this.heldBytes > bytes) {
      const { seq, payload } = this.held.pop()!
      this.#countHeld(-payload.byteLength)
      this.drop(seq, seq, 1, 'overflow')
    }
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
    this.held = []
    this.#countHeld(-this.heldBytes)
    if (!this.holding) return
    this.holding = false
    this.outbox.behind--
  }

  /** Replays what the topic still keeps after the base; what it does not keep is a loss. Once, on joining. */
  replay(after: Seq): void {
    this.base = after
    this.cursor = after
    const { log, sealed } = this.topic
    const oldest = Math.min(log.first - 1, sealed)
    if (oldest > after) {
      this.drop(after + 1, oldest, oldest - after, 'trimmed')
      this.cursor = oldest
    }
    this.hold([...log.after(this.cursor)], sealed)
  }

  /** The link has ended: what waits is lost. Messages in the outbox stay: flush settles them. */
  abandon(): void {
    this.giveUpHeld('closed')
    const { seq } = this.topic
    this.drop(this.cursor + 1, seq, seq - this.cursor, 'closed')
    this.cursor = seq
  }
}
