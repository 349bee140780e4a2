import type { Message } from './message.ts'

/** Counts bytes that are held in memory. */
export interface ByteCount {
  used: number
}

/** The messages that one topic and its links hold: the payload of each is counted once, however many lists hold it. */
export class Ledger {
  readonly #budget: ByteCount
  /** Payload bytes. */
  bytes = 0

  constructor(budget: ByteCount) {
    this.#budget = budget
  }

  keep(message: Message): void {
    const keepers = message.keepers ?? 0
    message.keepers = keepers + 1
    if (keepers === 0) this.#count(message.payload.byteLength)
  }

  release(message: Message): void {
    message.keepers!--
    if (message.keepers === 0) this.#count(-message.payload.byteLength)
  }

  #count(bytes: number): void {
    this.bytes += bytes
    this.#budget.used += bytes
  }
}

/**
 * The frames that one codec made of a batch, while connections hold them: counted with the first connection, and until the last has let go.
 * A frame that is a view of a payload takes no memory of its own and keeps the message instead.
 */
export class HeldFrames {
  readonly #budget: ByteCount
  readonly #ledger: Ledger
  readonly #bytes: number
  readonly #messages: readonly Message[]
  #holders = 0

  constructor(frames: readonly Uint8Array[], messages: readonly Message[], ledger: Ledger, budget: ByteCount) {
    this.#budget = budget
    this.#ledger = ledger
    const views = new Set(frames.map(({ buffer }) => buffer))
    this.#messages = messages.filter(({ payload }) => views.has(payload.buffer) && frames.some(isViewOf(payload)))
    const shared = this.#messages.reduce((sum, { payload }) => sum + payload.byteLength, 0)
    this.#bytes = frames.reduce((sum, { byteLength }) => sum + byteLength, 0) - shared
  }

  hold(): void {
    if (this.#holders++ > 0) return
    this.#budget.used += this.#bytes
    for (const message of this.#messages) this.#ledger.keep(message)
  }

  release(): void {
    if (--this.#holders > 0) return
    this.#budget.used -= this.#bytes
    for (const message of this.#messages) this.#ledger.release(message)
  }
}

function isViewOf(payload: Uint8Array): (frame: Uint8Array) => boolean {
  return ({ buffer, byteOffset, byteLength }) =>
    buffer === payload.buffer && byteOffset === payload.byteOffset && byteLength === payload.byteLength
}
