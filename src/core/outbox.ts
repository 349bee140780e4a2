import { answered, attempt } from './attempt.ts'
import type { Batch } from './batch.ts'
import type { CloseReason, Connection, WriteResult } from './connection.ts'
import { type Fault, GuardedCodec } from './guarded-codec.ts'
import type { ClientId, TopicName } from './ids.ts'
import { type ByteCount, CONTROL_FRAME_BYTES, FRAME_BYTES, HeldFrames, MESSAGE_BYTES } from './ledger.ts'
import type { Link } from './link.ts'
import type { Codec, DropReason } from './message.ts'
import { number } from './options.ts'
import { departed, type Item, lastWritten, messagesSeen, oldest, settle, waitsSince } from './outbox-items.ts'
import { Parcel, SEND_BYTES } from './parcel.ts'
import { Progress } from './progress.ts'
import type { Scheduler } from './scheduler.ts'
import type { Stalls } from './stalls.ts'
import { LANES } from './topic.ts'
import type { ClientWatcher } from './watcher.ts'
import type { WireClock } from './wire-clock.ts'

/**
 * What one client is about to be sent, and how slow its connection is: a socket is slow, not a subscription.
 * Filled during a tick, emptied by `flush`, the only place that writes (I3).
 */
export class Outbox {
  // In the order of use: what each message of each client touches lies together, for memory is read by the line.
  readonly connection: Connection
  /** Read from the connection once: a getter that throws must not do so in the middle of a tick. */
  readonly codec: Codec
  /** Has the connection taken everything so far? */
  writable = true
  condemned = false
  /** On the list of outboxes to flush in this tick. */
  dirty = false
  /** Inside of `flush`: what a re-entrant call pushes must not overtake the rest of it. */
  flushing = false
  /**
   * What the next flush writes, and its link. It is nearly always one batch, so there is no list for it.
   */
  #first: Item | undefined
  #firstLink: Link | undefined
  /** What follows: items and their links in turn. */
  #rest: (Item | Link | undefined)[] | undefined
  /** Payload bytes that this tick has put in. */
  queuedBytes = 0
  /** Bytes of protocol frames that wait. */
  controlBytes = 0
  /** Where a policy measures on the wire and the connection can. */
  wire: WireClock | undefined
  /** Since when it has not been wholly caught up; undefined while it is. */
  #behindSince: number | undefined
  /** Links with a gap to tell. */
  untold = 0
  /** A read of a link that is behind stopped for lack of room, not of messages. */
  more = false
  /** On the list of those that may read on in the next tick. */
  ready = false
  /** Links that are behind or hold. */
  behind = 0
  /** Messages of all its links that were sent and not confirmed. */
  unconfirmed = 0
  /** Links whose policy is not fresh: while there is one, the connection's buffers may take as much as they can. */
  cushioned = 0
  /** Not all its topics are of normal priority: links that are behind read on by lanes. */
  mixed = false
  /** Told what is done for this client (ConnectionManager.watch). */
  watcher: ClientWatcher | undefined
  readonly id: ClientId
  readonly protocol: string
  readonly confirms: boolean
  /**
   * While not writable: since when the oldest message of the outstanding write waits for the client, in ms on the
   * scheduler's clock. Since it was routed, but not since before the client fell behind: until then it was we who kept
   * the message waiting.
   */
  waitingSince = 0
  /** While not writable: bytes of the outstanding write; at most one flush. */
  waitingBytes = 0
  /** Bytes of all frames that the connection was given, since it is measured on the wire. */
  #written = 0
  /** Memory of the frames of the protocol that wait, in bytes. */
  #controlHeld = 0
  /** When the oldest frame of the protocol was put in. */
  #controlAt = -1
  /** Bytes of the frames of the current flush. */
  #flushed = 0
  /** What direct messages count that wait here. */
  parcelBytes = 0
  /** Memory of the direct messages that are not settled, in bytes, wherever they are. */
  sendBytes = 0
  /** What of this client's own the budget counts: frames of the protocol, and batches that found it not writable. */
  #counted = 0
  /** While not writable: the batches that the connection holds, and the bytes of its other frames. */
  #held: HeldFrames[] | undefined
  #heldBytes = 0
  /** Members of the connection that have failed: one fault is told for each. */
  #faulty: Set<string> | undefined
  /** Those that were written, until the connection has taken everything. */
  #handed: Parcel[] | undefined
  /** Why the client has ended. A flush that is under way then settles the rest at once. */
  #gone: CloseReason | undefined
  /** Losses of all its links by reason; made with the first one. */
  drops: Partial<Record<DropReason, number>> | undefined
  #progress: Progress | undefined
  readonly #budget: ByteCount
  readonly #stalls: Stalls
  /** Told of errors in code that is not the hub's. */
  readonly fault: Fault
  readonly links = new Map<TopicName, Link>()

  /** Throws what the connection throws when it is asked for its protocol, codec or `confirms`. */
  constructor(id: ClientId, connection: Connection, budget: ByteCount, stalls: Stalls, fault: Fault) {
    this.id = id
    this.connection = connection
    this.codec = connection.codec
    this.protocol = connection.protocol
    this.confirms = connection.confirms === true
    this.#budget = budget
    this.#stalls = stalls
    this.fault = fault
  }

  /**
   * Returns what the connection answers. Where it or the question throws, or its promise rejects, a fault is told;
   * after a throw the answer is undefined.
   */
  ask<T>(member: string, question: (connection: Connection, outbox: Outbox) => T): T | undefined {
    return attempt(
      () => question(this.connection, this),
      error => this.#failed(member, error),
    )
  }

  #failed(member: string, error: unknown): void {
    this.#faulty ??= new Set()
    if (this.#faulty.has(member)) return
    this.#faulty.add(member)
    this.fault(`${member} of ${this.protocol}`, error)
  }

  noteLane(lane: number): void {
    if (lane !== LANES.normal) this.mixed = true
  }

  get holdsLittle(): boolean {
    return this.cushioned === 0 && this.links.size > 0
  }

  /**
   * Tells the connection how much its buffers may take, after a change of the client's links. A connection that throws
   * keeps its buffers.
   */
  holdLittle(): void {
    this.ask('holdLittle', askToHoldLittle)
  }

  get empty(): boolean {
    return this.#first === undefined
  }

  /** Does a batch of this link wait to be written? */
  holds(link: Link): boolean {
    return this.#firstLink === link || this.#rest?.includes(link) === true
  }

  push(link: Link, batch: Batch): void {
    this.#add(batch, link)
    this.queuedBytes += batch.bytes
    link.queued += batch.count
    link.queuedBytes += batch.bytes
  }

  pushControl(frame: Uint8Array, now: number): void {
    this.#noteControl(now)
    this.#add(frame, undefined)
    this.controlBytes += frame.byteLength
    this.#controlHeld += CONTROL_FRAME_BYTES + frame.byteLength
    this.#countOwn(CONTROL_FRAME_BYTES + frame.byteLength)
  }

  pushParcel(parcel: Parcel, now: number): void {
    this.#noteControl(now)
    this.#add(parcel, undefined)
    this.parcelBytes += parcel.bytes
  }

  /** `change`: 1 when it is posted, -1 when it is settled. Its Direct counts its payload and its frame. */
  countSend(change: 1 | -1, { size }: Parcel): void {
    this.sendBytes += change * (SEND_BYTES + size)
    this.#budget.used += change * SEND_BYTES
  }

  /** Takes a parcel that was cancelled out of the queue. Does nothing where the parcel is not in it. */
  withdraw(parcel: Parcel): void {
    if (this.#first === parcel) {
      const [next, link] = this.#rest?.splice(0, 2) ?? []
      this.#first = next as Item | undefined
      this.#firstLink = link as Link | undefined
    } else {
      const at = this.#rest?.indexOf(parcel) ?? -1
      if (at === -1) return
      this.#rest!.splice(at, 2)
    }
    this.parcelBytes -= parcel.bytes
  }

  #countOwn(bytes: number): void {
    this.#counted += bytes
    this.#budget.used += bytes
  }

  /** Its connection does not take what a policy sent, which waits here and not in the topic's log. */
  countWaiting(): void {
    let bytes = this.#controlHeld + this.queuedBytes
    for (const { queued } of this.links.values()) bytes += queued * MESSAGE_BYTES
    this.#countOwn(bytes - this.#counted)
  }

  #noteControl(now: number): void {
    if (this.#controlAt === -1) this.#controlAt = now
  }

  #add(item: Item, link: Link | undefined): void {
    if (this.#first === undefined) {
      this.#first = item
      this.#firstLink = link
    } else {
      this.#rest ??= []
      this.#rest.push(item, link)
    }
  }

  #clear(): void {
    this.#first = undefined
    this.#firstLink = undefined
    this.#rest = undefined
    this.queuedBytes = 0
    this.controlBytes = 0
    this.#controlHeld = 0
    this.#controlAt = -1
    this.parcelBytes = 0
    if (this.#counted > 0) this.#countOwn(-this.#counted)
  }

  /**
   * Hands everything to the connection as one corked write; not when empty. Counts each batch as delivered when its
   * last frame was taken; after `gone` the rest counts as closed. What a re-entrant call pushes meanwhile waits for the
   * next flush.
   */
  flush(clock: Pick<Scheduler, 'now'>): WriteResult {
    let item = this.#first!
    let link = this.#firstLink
    const first = item
    const firstLink = link
    const rest = this.#rest
    const controlAt = this.#controlAt
    this.flushing = true
    this.#clear()
    const count = rest === undefined ? 0 : rest.length
    const last = rest === undefined ? 0 : lastWritten(rest, this.codec, this.fault)
    let result: WriteResult = 'ok'
    this.#flushed = 0
    for (let i = 0; ; ) {
      if (link !== undefined) result = this.#handBatch(link, item as Batch, i < last, result, clock)
      else if (item instanceof Parcel) result = this.#handParcel(item, i < last, result)
      else result = this.#handFrame(item as Uint8Array, i < last, result)
      if (i === count) break
      item = rest![i] as Item
      link = rest![i + 1] as Link | undefined
      i += 2
    }
    const bytes = this.#flushed
    this.#onWire(bytes)
    // A re-entrant call may have ended the client inside the write.
    if (result === 'full' && !this.condemned) {
      this.#wait(bytes, clock.now(), oldest(rest, controlAt, waitsSince(first, firstLink, controlAt)))
      this.#holdFrames(first, firstLink)
      for (let i = 0; i < count; i += 2) this.#holdFrames(rest![i] as Item, rest![i + 1] as Link | undefined)
    } else if (this.#behindSince !== undefined) this.#progress?.add(bytes, clock.now())
    if (this.#handed !== undefined && (result === 'ok' || this.#gone !== undefined)) this.#settleHanded(this.#gone)
    if (rest !== undefined) this.#keep(rest)
    this.flushing = false
    return result
  }

  #handBatch(link: Link, batch: Batch, more: boolean, before: WriteResult, clock: Pick<Scheduler, 'now'>): WriteResult {
    const encoded = batch.encoded(this.codec, this.fault)
    // A connection may confirm it before its write returns.
    if (link.acks !== undefined) link.acks.last = Math.max(link.acks.last, batch.last)
    const result = this.#writeAll(encoded.frames, more, before)
    this.#flushed += encoded.bytes
    // After `gone` it ends with the link.
    if (link.acks !== undefined && !link.closed) link.sent(batch, encoded.messages, clock.now())
    else settle(link, batch, result === 'gone' ? 0 : encoded.messages.length, result)
    if (this.watcher !== undefined) this.watcher(messagesSeen(link.topicName, batch, result))
    return result
  }

  #handFrame(frame: Uint8Array, more: boolean, before: WriteResult): WriteResult {
    this.#flushed += frame.byteLength
    const result = before === 'gone' ? before : this.#write(frame, more)
    this.watcher?.({ kind: 'frame', bytes: frame.byteLength, result })
    return result
  }

  /**
   * Cancelled inside of this flush, it is written all the same where it is a frame: what went before it has left the
   * connection corked.
   */
  #handParcel(parcel: Parcel, more: boolean, before: WriteResult): WriteResult {
    this.#flushed += parcel.size
    let result = before
    if (parcel.frame === undefined && before !== 'gone') {
      if (parcel.over) return before
      result = this.#sendParcel(parcel)
    }
    if (parcel.frame !== undefined || result === 'gone') {
      // Settled with the write that it is part of; after `gone`, when the client is discarded.
      this.#handed ??= []
      this.#handed.push(parcel)
      parcel.handed = !parcel.over
      if (result !== 'gone') result = this.#write(parcel.frame!, more)
    }
    this.watcher?.({ kind: 'direct', bytes: parcel.size, result })
    return result
  }

  #sendParcel(parcel: Parcel): WriteResult {
    const result = this.ask('send', connection => connection.send!(parcel))
    return result === 'ok' || result === 'full' ? result : 'gone'
  }

  #settleHanded(gone?: CloseReason): void {
    const handed = this.#handed ?? []
    const error = gone && departed(this.id, gone)
    this.#handed = undefined
    for (const parcel of handed) parcel.leave(error)
  }

  #onWire(bytes: number): void {
    if (this.wire === undefined) return
    this.#written += bytes
    this.wire.wrote(bytes)
  }

  /** A client with messages of several topics in one tick has them again in the next, so the list is kept. */
  #keep(rest: (Item | Link | undefined)[]): void {
    while (rest.length > 0) rest.pop()
    this.#rest ??= rest
  }

  /** `before`: what the write before these said, which stands where there are none. */
  #writeAll(frames: readonly Uint8Array[], more: boolean, before: WriteResult): WriteResult {
    let result = before
    for (let i = 0; i < frames.length && result !== 'gone'; i++) {
      result = this.#write(frames[i]!, more || i < frames.length - 1)
    }
    return result
  }

  #wait(bytes: number, now: number, oldest: number): void {
    this.#behindSince ??= now
    this.writable = false
    // Not in the future, where a topic that lets its messages linger was sealed early.
    this.waitingSince = Math.min(now, Math.max(oldest, this.#behindSince))
    this.waitingBytes = bytes
  }

  /**
   * Counts a frame until the connection has taken everything. Direct messages are not counted here: `post` counts them
   * until they are settled.
   */
  #holdFrames(item: Item, link: Link | undefined): void {
    if (link !== undefined) {
      const encoded = (item as Batch).encoded(this.codec, this.fault)
      encoded.held ??= new HeldFrames(encoded, objectBytesOf(this), link.topic.ledger, this.#budget)
      encoded.held.hold()
      this.#held ??= []
      this.#held.push(encoded.held)
    } else if (item instanceof Uint8Array) {
      const bytes = CONTROL_FRAME_BYTES + item.byteLength
      this.#heldBytes += bytes
      this.#budget.used += bytes
    }
  }

  #releaseFrames(): void {
    for (const held of this.#held ?? []) held.release()
    this.#held = undefined
    this.#budget.used -= this.#heldBytes
    this.#heldBytes = 0
    this.waitingBytes = 0
  }

  /** The connection took everything that waited. */
  drained(now: number): void {
    this.watcher?.({ kind: 'drained', bytes: this.waitingBytes, waitedMs: now - this.waitingSince })
    this.writable = true
    this.#progress ??= new Progress()
    this.#progress.add(this.waitingBytes, now)
    this.#releaseFrames()
    if (this.#handed !== undefined) this.#settleHanded()
  }

  /** The connection has taken all there is: what comes from now on waits from when it is written. */
  caughtUp(): void {
    this.#behindSince = undefined
    this.#progress = undefined
  }

  countDrop(reason: DropReason, count: number): void {
    this.drops ??= {}
    this.drops[reason] = (this.drops[reason] ?? 0) + count
  }

  /**
   * What waits for this client: in its connection's hand, in this tick, in lists of its own and in the topics' logs.
   */
  get backlogBytes(): number {
    let bytes = this.waitingBytes + this.controlBytes + this.queuedBytes
    // Direct messages have a bound of their own: no topic gives way to them.
    for (const link of this.links.values()) bytes += link.backlogBytes
    return bytes
  }

  /** Memory of what waits for the client, of its direct messages and of what it has not confirmed, in bytes. */
  get keptBytes(): number {
    let bytes = this.waitingBytes + this.#controlHeld + this.queuedBytes + this.sendBytes
    bytes += (this.#held?.length ?? 0) * FRAME_BYTES
    // Parcels that are not settled are in waitingBytes as well.
    for (const { over, size } of this.#handed ?? []) if (!over) bytes -= size
    for (const link of this.links.values()) bytes += link.keptBytes
    return bytes
  }

  /** How much too long the outstanding write has waited, in ms (see PolicyLink.overdue). 0 where nothing waits. */
  overdue(now: number, rate: number): number {
    if (this.writable) return 0
    const ahead = this.waitingBytes + (this.#progress?.since(this.waitingSince) ?? 0)
    return now - this.waitingSince - this.#stalls.since(this.waitingSince) - (ahead * 1000) / rate
  }

  /** Bytes that the peer's host has not confirmed. Undefined: the connection cannot tell. A system call. */
  get unacknowledged(): number | undefined {
    return this.ask('unacknowledged', askUnacknowledged)
  }

  /** Asks the connection what is not confirmed: a system call. */
  sample(now: number): void {
    this.wire?.sample(this.#written, this.unacknowledged ?? 0, now)
  }

  /** The same for the oldest byte that the peer's host has not confirmed. */
  wireOverdue(now: number, rate: number): number {
    const { wire } = this
    if (!wire?.inFlight) return 0
    const overdue = now - wire.since - this.#stalls.since(wire.since) - (wire.ahead * 1000) / rate
    return overdue > 0 ? overdue - (this.ask('roundTrip', askRoundTrip) ?? 0) : overdue
  }

  /** The client has gone: what was not flushed is given up. */
  discard(reason: CloseReason): void {
    this.#gone = reason
    const items = [this.#first, this.#firstLink, ...(this.#rest ?? [])]
    this.#clear()
    for (let i = 0; i < items.length; i += 2) {
      const item = items[i] as Item | undefined
      const link = items[i + 1] as Link | undefined
      if (link !== undefined) settle(link, item as Batch, 0, 'gone')
      else if (item instanceof Parcel) {
        this.#handed ??= []
        this.#handed.push(item)
      }
    }
    if (this.#handed !== undefined) this.#settleHanded(reason)
    this.#releaseFrames()
  }

  /** [H11] anything but the three words, and a throw, is a peer that has gone. */
  #write(frame: Uint8Array, more: boolean): WriteResult {
    // A re-entrant call has ended the client inside the write before this one.
    if (this.#gone !== undefined) return 'gone'
    try {
      const result = this.connection.write(frame, more)
      if (result === 'ok' || result === 'full') return result
      // It may be a promise that rejects.
      this.ask('write', () => result)
    } catch (error) {
      this.#failed('write', error)
    }
    return 'gone'
  }
}

const amount = number(0)
const askUnacknowledged = (connection: Connection): number | undefined =>
  answered(connection.unacknowledged?.(), amount, 'unacknowledged')
const askRoundTrip = (connection: Connection): number | undefined =>
  answered(connection.roundTrip?.(), amount, 'roundTrip')
const askToHoldLittle = (connection: Connection, { holdsLittle }: Outbox): void => connection.holdLittle?.(holdsLittle)
const objectBytesOf = ({ codec, fault }: Outbox): number | undefined => new GuardedCodec(codec, fault).objectBytes
