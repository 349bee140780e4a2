import type { Scheduler } from '../../core/scheduler.ts'
import type { InboundLimit } from '../../transports/transport.ts'
import type { AddressEntry } from './addresses.ts'
import { BURST_SECONDS, type EdgeLimits, type Refusal } from './limits.ts'
import { EdgeBucket, type Stops } from './stops.ts'

/** What the limits are and who counts. */
interface Rules {
  readonly limits: EdgeLimits
  /** What a client may send at once in any case: all its subscriptions, when it comes back. */
  readonly burst: number
  readonly stops: Stops
  count(limit: Refusal): void
}

/**
 * Counts what one client sends, and with it what its address sends. Costs a client that sends nothing one small object.
 */
export class ClientInbound implements InboundLimit {
  readonly #rules: Rules
  readonly #entry: AddressEntry
  readonly #clock: Scheduler
  /** Those that the buckets were made for. */
  #limits: EdgeLimits | undefined
  #messages: EdgeBucket | undefined
  #bytes: EdgeBucket | undefined

  constructor(rules: Rules, entry: AddressEntry, clock: Scheduler) {
    this.#rules = rules
    this.#entry = entry
    this.#clock = clock
  }

  take(bytes: number): boolean {
    const now = this.#clock.now()
    const { limits } = this.#rules
    if (limits !== this.#limits) this.#begin(limits, now)
    const over = this.#over(limits, now, bytes)
    if (over === undefined) return true
    this.#rules.count(over)
    return false
  }

  #begin(limits: EdgeLimits, now: number): void {
    const { messagesPerSecondPerClient: messages, bytesPerSecondPerClient: bytes } = limits
    this.#limits = limits
    this.#messages =
      messages === 0
        ? undefined
        : new EdgeBucket(messages, now, Math.max(BURST_SECONDS.others, this.#rules.burst / messages))
    this.#bytes = bytes === 0 ? undefined : new EdgeBucket(bytes, now, BURST_SECONDS.others)
  }

  #over(limits: EdgeLimits, now: number, bytes: number): Refusal | undefined {
    const stopped = this.#rules.stops.total(now)
    if (this.#messages?.take(now, 1, stopped) === false) return 'messagesPerSecondPerClient'
    if (this.#bytes?.take(now, bytes, stopped) === false) return 'bytesPerSecondPerClient'
    if (this.#entry.exempt) return undefined
    if (this.#entry.bucket('messagesPerSecondPerAddress', limits, now)?.take(now, 1, stopped) === false) {
      return 'messagesPerSecondPerAddress'
    }
    if (this.#entry.bucket('bytesPerSecondPerAddress', limits, now)?.take(now, bytes, stopped) === false) {
      return 'bytesPerSecondPerAddress'
    }
    return undefined
  }
}

const SOURCE_RATES = ['messagesPerSecondPerAddress', 'bytesPerSecondPerAddress'] as const

/** A live source can be made to wait where a client has to be closed: nothing of it is lost. */
export class SourcePace {
  readonly #rules: Rules
  readonly #entry: AddressEntry
  readonly #clock: Scheduler
  /** What has come and is not taken from the buckets yet: messages, bytes. */
  readonly #owed = [0, 0]

  constructor(rules: Rules, entry: AddressEntry, clock: Scheduler) {
    this.#rules = rules
    this.#entry = entry
    this.#clock = clock
  }

  /**
   * So much has come. Answers how long nothing more may be read, in ms; after that it is to be asked again, with
   * nothing.
   */
  waitMs(messages: number, bytes: number): number {
    if (this.#entry.exempt) return 0
    this.#owed[0]! += messages
    this.#owed[1]! += bytes
    return Math.max(this.#settle(0), this.#settle(1))
  }

  #settle(which: 0 | 1): number {
    const now = this.#clock.now()
    const rate = SOURCE_RATES[which]
    const bucket = this.#entry.bucket(rate, this.#rules.limits, now)
    const owed = this.#owed[which]!
    if (bucket === undefined || bucket.take(now, owed, this.#rules.stops.total(now))) {
      this.#owed[which] = 0
      return 0
    }
    this.#rules.count(rate)
    return bucket.waitMs(now, owed)
  }
}
