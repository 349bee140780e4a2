import type { Seq } from './ids.ts'
import type { Ledger } from './ledger.ts'
import type { Message } from './message.ts'

/** What a policy may know of messages that were sent and that the receiver has not confirmed. */
export interface Unconfirmed {
  readonly messages: number
  /** Payload bytes. */
  readonly bytes: number
  /**
   * When the oldest of them was sent last, in ms on the scheduler's clock; later, if something before it was confirmed
   * since.
   */
  readonly since: number
  /** How often all of them were sent again since anything was confirmed or given up. */
  readonly tries: number
  /** The connection has given one up, and will have all of them again: what is sent before that is sent twice. */
  readonly stuck: boolean
}

/**
 * What one link was sent and its receiver has not confirmed: pending, not delivered (I6). Only there where the policy
 * or the connection waits for confirmations. Confirming is cumulative: whoever has message 7 has all up to 7 that it
 * was sent.
 */
export class Acks implements Unconfirmed {
  readonly #ledger: Ledger
  /** Oldest first. References: the payloads are shared. */
  #sent: Message[] = []
  bytes = 0
  since = 0
  tries = 0
  stuck = false
  /** A gap alone is not told before this time. */
  tellAt = 0
  /** The last message that was ever sent, or is being sent: nobody can confirm more. */
  last: Seq
  /** The last message that was confirmed. */
  #confirmed: Seq = 0

  constructor(ledger: Ledger, last: Seq) {
    this.#ledger = ledger
    this.last = last
  }

  get messages(): number {
    return this.#sent.length
  }

  /**
   * Sent, in order. What was confirmed while it was sent once more is not waited for again: answers how many of them.
   */
  add(messages: readonly Message[], now: number): number {
    if (this.#sent.length === 0) this.since = now
    let known = 0
    for (const message of messages) {
      this.last = Math.max(this.last, message.seq)
      if (message.seq <= this.#confirmed) {
        known++
      } else {
        this.#sent.push(message)
        this.bytes += message.bytes
        this.#ledger.keep(message)
      }
    }
    return known
  }

  /** Everything up to `seq` has arrived. Answers how many messages that settles. */
  confirm(seq: Seq, now: number): number {
    if (seq <= this.#confirmed) return 0
    this.#confirmed = seq
    this.tries = 0
    this.since = now
    let count = 0
    while (count < this.#sent.length && this.#sent[count]!.seq <= seq) this.#forget(this.#sent[count++]!)
    this.#sent.splice(0, count)
    if (this.#sent.length === 0) this.stuck = false
    return count
  }

  /** The connection has given this one up. False: it is not waited for. */
  stick(seq: Seq, now: number): boolean {
    if (!this.#sent.some(message => message.seq === seq)) return false
    this.stuck = true
    this.since = now
    return true
  }

  /** This one is given up, wherever it stands. False: it is not waited for. */
  remove(seq: Seq): boolean {
    const at = this.#sent.findIndex(message => message.seq === seq)
    if (at === -1) return false
    this.#forget(this.#sent[at]!)
    this.#sent.splice(at, 1)
    if (at === 0) this.tries = 0
    return true
  }

  /** 0: nothing is waited for. */
  get oldest(): Seq {
    return this.#sent[0]?.seq ?? 0
  }

  /** All of them, which are no longer waited for: they will be sent again, or are given up. */
  take(): Message[] {
    const sent = this.#sent
    this.#sent = []
    this.stuck = false
    for (const message of sent) this.#forget(message)
    return sent
  }

  #forget(message: Message): void {
    this.bytes -= message.bytes
    this.#ledger.release(message)
  }
}
