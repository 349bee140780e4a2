import type { Message } from './message.ts'

/** Counts bytes that are held in memory. */
export interface ByteCount {
  used: number
}

/**
 * The memory that a message takes beside its payload and its optional fields, in bytes: measured with Node 20, 22 and
 * 24.
 */
export const MESSAGE_BYTES = 330
/** The memory that a list takes for each of its messages, in bytes: a reference, and the spare room of arrays. */
export const PLACE_BYTES = 10
/**
 * The memory that an optional field takes beside its text, in bytes. A key also has an entry in a table of newest
 * values.
 */
const FIELD_BYTES = 48

/** A payload that fills less of its buffer than this is copied, so that it keeps no memory that is not counted. */
const OWN_SHARE = 0.9
/**
 * V8 keeps arrays up to this size in the heap. Reading `buffer` of such an array moves it out of the heap, which costs
 * more than a copy.
 */
const IN_HEAP_BYTES = 64

/**
 * The payload in a buffer of its own. A slice keeps its whole buffer in memory: 64 KiB of a socket, or one of Node's
 * pools.
 */
export function ownPayload(data: Uint8Array): Uint8Array {
  const { byteLength } = data
  if (byteLength > IN_HEAP_BYTES && byteLength >= OWN_SHARE * data.buffer.byteLength) return data
  return new Uint8Array(data)
}

type Weighed = Pick<Message, 'payload' | 'key' | 'correlationId' | 'publisher'>

/** The memory that a message takes, in bytes, without its places in lists. */
export function heldBytes({ payload, key, correlationId, publisher }: Weighed): number {
  let bytes = MESSAGE_BYTES + payload.byteLength
  if (key !== undefined) bytes += FIELD_BYTES + key.length
  if (correlationId !== undefined) bytes += FIELD_BYTES + correlationId.length
  if (publisher !== undefined) bytes += FIELD_BYTES
  return bytes
}

/**
 * The memory of the messages that one topic and its links hold: each message counts once, and each of its places in
 * lists counts.
 */
export class Ledger {
  readonly #budget: ByteCount
  bytes = 0

  constructor(budget: ByteCount) {
    this.#budget = budget
  }

  keep(message: Message): void {
    const keepers = message.keepers ?? 0
    message.keepers = keepers + 1
    this.#count(keepers === 0 ? heldBytes(message) + PLACE_BYTES : PLACE_BYTES)
  }

  release(message: Message): void {
    message.keepers!--
    this.#count(message.keepers === 0 ? -heldBytes(message) - PLACE_BYTES : -PLACE_BYTES)
  }

  #count(bytes: number): void {
    this.bytes += bytes
    this.#budget.used += bytes
  }
}

/**
 * The frames that one codec made of a batch, while connections hold them: counted with the first connection, and until
 * the last has let go. A frame that is a view of a payload takes no memory of its own and keeps the message instead.
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

/**
 * A frame that is the payload itself takes no memory of its own. A frame that is another part of the same buffer does.
 */
export function isViewOf(payload: Uint8Array): (frame: Uint8Array) => boolean {
  return ({ buffer, byteOffset, byteLength }) =>
    buffer === payload.buffer && byteOffset === payload.byteOffset && byteLength === payload.byteLength
}
