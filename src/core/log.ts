import type { Seq } from './ids.ts'
import type { Ledger } from './ledger.ts'
import type { Message } from './message.ts'

export interface LogBounds {
  readonly messages: number
  /** Payload bytes. */
  readonly bytes: number
  readonly ageMs: number
}

/**
 * The newest messages of one topic, gapless, shared by every link that reads from it. A reader is a cursor (the seq it
 * has); a reader older than the log has lost messages, and the log can say how many. Trimmed from the old end only.
 */
export class Log {
  readonly #ledger: Ledger
  /** Undefined before the head: what was trimmed must not stay in memory until the slots are freed. */
  #messages: (Message | undefined)[] = []
  /** Payload bytes of all messages up to and with the one at the same index, since the log began. */
  #ends: number[] = []
  /** Index of the oldest message that is still kept; the slots before it are freed in bulk. */
  #head = 0
  bytes = 0
  #end = 0

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  get count(): number {
    return this.#messages.length - this.#head
  }

  /** Seq of the oldest message kept; Infinity when empty. */
  get first(): Seq {
    return this.#messages[this.#head]?.seq ?? Number.POSITIVE_INFINITY
  }

  append(message: Message): void {
    this.#end += message.bytes
    this.#messages.push(message)
    this.#ends.push(this.#end)
    this.bytes += message.bytes
    this.#ledger.keep(message)
  }

  /** The messages after the cursor, oldest first. */
  *after(cursor: Seq): Iterable<Message> {
    for (let index = this.#indexAfter(cursor); index < this.#messages.length; index++) yield this.#messages[index]!
  }

  countAfter(cursor: Seq): number {
    return this.#messages.length - this.#indexAfter(cursor)
  }

  /** Payload bytes of the messages after the cursor. */
  bytesAfter(cursor: Seq): number {
    return Math.min(this.bytes, this.#end - (this.#ends[this.#indexAfter(cursor) - 1] ?? this.#end - this.bytes))
  }

  /** The smallest cursor of which no more than `messages` and `bytes` lie ahead. */
  floor(messages: number, bytes: number): Seq {
    const last = this.#messages.at(-1)?.seq
    if (last === undefined) return 0
    let low = Math.max(this.#head, this.#messages.length - messages)
    let high = this.#messages.length
    while (low < high) {
      const middle = (low + high) >> 1
      const before = this.#ends[middle]! - this.#messages[middle]!.bytes
      if (this.#end - before <= bytes) high = middle
      else low = middle + 1
    }
    const oldest = this.#messages[low]
    return oldest ? oldest.seq - 1 : last
  }

  /** Frees what lies before `keepFrom` and outside of the bounds. */
  trim(bounds: LogBounds, keepFrom: Seq, now: number): void {
    while (this.#head < this.#messages.length) {
      const oldest = this.#messages[this.#head]!
      const inside = this.count <= bounds.messages && this.bytes <= bounds.bytes && now - oldest.at < bounds.ageMs
      if (inside || oldest.seq >= keepFrom) break
      this.bytes -= oldest.bytes
      this.#ledger.release(oldest)
      this.#messages[this.#head++] = undefined
    }
    const empty = this.#head === this.#messages.length
    if (this.#head > 0 && (empty || (this.#head > 64 && this.#head * 2 > this.#messages.length))) {
      this.#messages = this.#messages.slice(this.#head)
      this.#ends = this.#ends.slice(this.#head)
      this.#head = 0
    }
  }

  #indexAfter(cursor: Seq): number {
    return Math.min(this.#messages.length, this.#head + Math.max(0, cursor + 1 - this.first))
  }
}

/** The newest of these that are within the bounds, oldest first. */
export function newestWithin(
  all: readonly Message[],
  { messages, bytes }: Omit<LogBounds, 'ageMs'>,
): readonly Message[] {
  let oldest = all.length
  let room = bytes
  while (oldest > 0 && all.length - oldest < messages) {
    room -= all[oldest - 1]!.bytes
    if (room < 0) break
    oldest--
  }
  return all.slice(oldest)
}
