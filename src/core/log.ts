import type { Seq } from './ids.ts'
import type { Message } from './message.ts'

export interface LogBounds {
  readonly messages: number
  /** Payload bytes. */
  readonly bytes: number
  readonly ageMs: number
}

/**
 * The newest messages of one topic, gapless, shared by every link that reads from it. A reader is a cursor (the seq it has);
 * a reader older than the log has lost messages, and the log can say how many. Trimmed from the old end only.
 */
export class Log {
  #messages: Message[] = []
  /** Index of the oldest message that is still kept; the slots before it are freed in bulk. */
  #head = 0
  bytes = 0

  get count(): number {
    return this.#messages.length - this.#head
  }

  /** Seq of the oldest message kept; Infinity when empty. */
  get first(): Seq {
    return this.#messages[this.#head]?.seq ?? Number.POSITIVE_INFINITY
  }

  append(message: Message): void {
    this.#messages.push(message)
    this.bytes += message.payload.byteLength
  }

  /** The messages after the cursor, oldest first. */
  *after(cursor: Seq): Iterable<Message> {
    const start = this.#head + Math.max(0, cursor + 1 - this.first)
    for (let index = start; index < this.#messages.length; index++) yield this.#messages[index]!
  }

  /** The smallest cursor of which no more than `messages` and `bytes` lie ahead. */
  floor(messages: number, bytes: number): Seq {
    let index = this.#messages.length
    let ahead = 0
    while (index > this.#head && this.#messages.length - index < messages) {
      ahead += this.#messages[index - 1]!.payload.byteLength
      if (ahead > bytes) break
      index--
    }
    const oldest = this.#messages[index]
    return oldest ? oldest.seq - 1 : (this.#messages.at(-1)?.seq ?? 0)
  }

  /** Frees what lies before `keepFrom` and outside of the bounds. */
  trim(bounds: LogBounds, keepFrom: Seq, now: number): void {
    while (this.#head < this.#messages.length) {
      const oldest = this.#messages[this.#head]!
      const inside = this.count <= bounds.messages && this.bytes <= bounds.bytes && now - oldest.at < bounds.ageMs
      if (inside || oldest.seq >= keepFrom) break
      this.bytes -= oldest.payload.byteLength
      this.#head++
    }
    if (this.#head === this.#messages.length) {
      if (this.#head > 0) this.#messages = []
      this.#head = 0
    } else if (this.#head > 64 && this.#head * 2 > this.#messages.length) {
      this.#messages = this.#messages.slice(this.#head)
      this.#head = 0
    }
  }
}
