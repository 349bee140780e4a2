import type { Batch } from './batch.ts'
import type { Budget } from './budget.ts'
import type { Connection, WriteResult } from './connection.ts'
import type { ClientId, TopicName } from './ids.ts'
import type { Link } from './link.ts'
import type { DropReason } from './message.ts'
import { Progress } from './progress.ts'
import type { Stalls } from './stalls.ts'
import type { WireClock } from './wire-clock.ts'

/**
 * What one client is about to be sent, and how slow its connection is: a socket is slow, not a subscription.
 * Filled during a tick, emptied by `flush`, the only place that writes (I3).
 */
export class Outbox {
  readonly id: ClientId
  readonly connection: Connection
  /** Has the connection taken everything so far? */
  writable = true
  /**
   * While not writable: since when the oldest message of the outstanding write waits for the client, in ms on the scheduler's clock.
   * Since it was routed, but not since before the client fell behind: until then it was we who kept the message waiting.
   */
  waitingSince = 0
  /** While not writable: bytes of the outstanding write; at most one flush. */
  waitingBytes = 0
  /** Payload bytes that this tick has put in. */
  queuedBytes = 0
  /** Bytes of protocol frames that wait. */
  controlBytes = 0
  /** Links with a gap to tell. */
  untold = 0
  /** Links that are behind or hold. */
  behind = 0
  /** On the list of outboxes to flush in this tick. */
  dirty = false
  /** A read of a link that is behind stopped for lack of room, not of messages. */
  more = false
  /** On the list of those that may read on in the next tick. */
  ready = false
  condemned = false
  /** Bytes of all frames that the connection was given. */
  written = 0
  /** Where a policy measures on the wire and the connection can. */
  wire: WireClock | undefined
  /** Losses of all its links by reason; made with the first one. */
  drops: Partial<Record<DropReason, number>> | undefined
  /** Since when it has not been wholly caught up; undefined while it is. */
  #behindSince: number | undefined
  #progress: Progress | undefined
  readonly #budget: Budget
  readonly #stalls: Stalls
  readonly links = new Map<TopicName, Link>()
  #items: (Batch | Uint8Array)[] = []
  #links: (Link | undefined)[] = []
  /** When the oldest message of #items was routed. */
  #oldest = 0

  constructor(id: ClientId, connection: Connection, budget: Budget, stalls: Stalls) {
    this.id = id
    this.connection = connection
    this.#budget = budget
    this.#stalls = stalls
  }

  get empty(): boolean {
    return this.#items.length === 0
  }

  push(link: Link, batch: Batch): void {
    const at = batch.messages[0]!.at
    if (this.queuedBytes === 0 || at < this.#oldest) this.#oldest = at
    this.#items.push(batch)
    this.#links.push(link)
    this.queuedBytes += batch.bytes
    link.queued += batch.count
  }

  pushControl(frame: Uint8Array, now: number): void {
    if (this.#items.length === 0) this.#oldest = now
    this.#items.push(frame)
    this.#links.push(undefined)
    this.controlBytes += frame.byteLength
  }

  /**
   * Hands everything to the connection as one corked write. Counts each batch as delivered when its last frame was taken;
   * after `gone` the rest counts as closed. What a re-entrant call pushes meanwhile waits for the next flush.
   */
  flush(now: number): WriteResult {
    const items = this.#items
    const links = this.#links
    this.#items = []
    this.#links = []
    this.queuedBytes = 0
    this.controlBytes = 0
    const last = lastWritten(items, this.connection)
    let result: WriteResult = 'ok'
    let bytes = 0
    for (let i = 0; i < items.length; i++) {
      const item = items[i]!
      const link = links[i]
      if (link === undefined) {
        if (result !== 'gone') result = this.#write(item as Uint8Array, i < last)
        bytes += (item as Uint8Array).byteLength
        continue
      }
      const batch = item as Batch
      const { frames, count, bytes: size } = batch.encoded(this.connection.codec)
      for (let f = 0; f < frames.length && result !== 'gone'; f++) {
        result = this.#write(frames[f]!, i < last || f < frames.length - 1)
      }
      bytes += size
      settle(link, batch, result === 'gone' ? 0 : count, result)
    }
    this.written += bytes
    this.wire?.wrote(bytes)
    // A re-entrant call may have ended the client inside the write.
    if (result === 'full' && !this.condemned) this.#wait(bytes, now)
    else if (this.#behindSince !== undefined) this.#progress?.add(bytes, now)
    return result
  }

  #wait(bytes: number, now: number): void {
    this.#behindSince ??= now
    this.writable = false
    this.waitingSince = Math.max(this.#oldest, this.#behindSince)
    this.#count(bytes)
  }

  /** The connection took everything that waited. */
  drained(now: number): void {
    this.writable = true
    this.#progress ??= new Progress()
    this.#progress.add(this.waitingBytes, now)
    this.#count(-this.waitingBytes)
  }

  /** The connection has taken all there is: what comes from now on waits from when it is written. */
  caughtUp(): void {
    this.#behindSince = undefined
    this.#progress = undefined
  }

  #count(bytes: number): void {
    this.waitingBytes += bytes
    this.#budget.used += bytes
  }

  /** Bytes that a link keeps in a list of its own, more or fewer. */
  hold(bytes: number): void {
    this.#budget.used += bytes
  }

  countDrop(reason: DropReason, count: number): void {
    this.drops ??= {}
    this.drops[reason] = (this.drops[reason] ?? 0) + count
  }

  /** What waits for this client: in its connection's hand, in this tick, in lists of its own and in the topics' logs. */
  get backlogBytes(): number {
    let bytes = this.waitingBytes + this.controlBytes + this.queuedBytes
    for (const link of this.links.values()) bytes += link.backlogBytes
    return bytes
  }

  /** How much too long the outstanding write has waited, in ms (see PolicyLink.overdue). 0 where nothing waits. */
  overdue(now: number, rate: number): number {
    if (this.writable) return 0
    const ahead = this.waitingBytes + (this.#progress?.since(this.waitingSince) ?? 0)
    return now - this.waitingSince - this.#stalls.since(this.waitingSince) - (ahead * 1000) / rate
  }

  /** Asks the connection what is not confirmed: a system call. */
  sample(now: number): void {
    this.wire?.sample(this.written, this.connection.unacknowledged?.() ?? 0, now)
  }

  /** The same for the oldest byte that the peer's host has not confirmed. */
  wireOverdue(now: number, rate: number): number {
    const { wire } = this
    if (!wire?.inFlight) return 0
    const overdue = now - wire.since - this.#stalls.since(wire.since) - (wire.ahead * 1000) / rate
    return overdue > 0 ? overdue - (this.connection.roundTrip?.() ?? 0) : overdue
  }

  /** The client has gone: what was not flushed is given up. */
  discard(): void {
    for (let i = 0; i < this.#items.length; i++) {
      const link = this.#links[i]
      if (link) settle(link, this.#items[i] as Batch, 0, 'gone')
    }
    this.#items = []
    this.#links = []
    this.queuedBytes = 0
    this.controlBytes = 0
    this.#count(-this.waitingBytes)
  }

  /** [H11] anything but the three words, and a throw, is a peer that has gone. */
  #write(frame: Uint8Array, more: boolean): WriteResult {
    try {
      const result = this.connection.write(frame, more)
      return result === 'ok' || result === 'full' ? result : 'gone'
    } catch {
      return 'gone'
    }
  }
}

/** Index of the last item that has a frame: after it the connection may uncork. */
function lastWritten(items: readonly (Batch | Uint8Array)[], connection: Connection): number {
  for (let i = items.length - 1; i >= 0; i--) {
    const item = items[i]!
    if (item instanceof Uint8Array || item.encoded(connection.codec).frames.length > 0) return i
  }
  return -1
}

function settle(link: Link, batch: Batch, sent: number, result: WriteResult): void {
  link.queued -= batch.count
  link.delivered += sent
  link.topic.counters.deliver(sent)
  const lost = batch.count - sent
  if (lost > 0) link.drop(batch.first, batch.last, lost, result === 'gone' ? 'closed' : 'unsupported')
}
