import type { Encoded } from './batch.ts'
import { HubError } from './errors.ts'
import type { Message, PublishedBy } from './message.ts'
import { textBytes } from './texts.ts'

/** Counts bytes that are held in memory. */
export interface ByteCount {
  used: number
}

/**
 * The memory that a message takes beside its payload and its optional fields, in bytes: measured with Node 20.
 */
export const MESSAGE_BYTES = 346
/**
 * The memory that a list takes for each of its messages, in bytes: a reference, and the spare room of arrays. V8 takes
 * 8 to 12: a list that has just grown has room for half as many again.
 */
export const PLACE_BYTES = 11
/**
 * The memory that a frame of messages takes beside its bytes while a connection holds it, in bytes: measured with Node
 * 20.
 */
export const FRAME_BYTES = 350
/** The same for a frame of the protocol itself, which is not shared. */
export const CONTROL_FRAME_BYTES = 225
/**
 * The memory that an optional text takes beside its characters, in bytes. A key also has an entry in a table of newest
 * values.
 */
const FIELD_BYTES = 32
/** The memory of what subscribers are told of a publisher, in bytes, beside its texts: measured with Node 20. */
const PUBLISHER_BYTES = 160
/** The memory of a text, an object or an array of an info beside its JSON, in bytes, for each quote and bracket. */
const PART_BYTES = 8

/** A payload that fills less of its buffer than this is copied, so that it keeps no memory that is not counted. */
const OWN_SHARE = 0.9
/**
 * V8 keeps arrays up to this size in the heap. Reading `buffer` of such an array moves it out of the heap, which costs
 * more than a copy.
 */
const IN_HEAP_BYTES = 64

/**
 * The payload in a buffer of its own. A slice keeps its whole buffer in memory: 64 KiB of a socket, or one of Node's
 * pools. Throws INVALID_MESSAGE for bytes that cannot be read.
 */
export function ownPayload(data: Uint8Array): Uint8Array {
  try {
    const { byteLength } = data
    if (byteLength > IN_HEAP_BYTES && byteLength >= OWN_SHARE * data.buffer.byteLength) return data
    return new Uint8Array(data)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new HubError('INVALID_MESSAGE', `data cannot be read; was its buffer transferred? (${why})`)
  }
}

type Weighed = Pick<Message, 'bytes' | 'key' | 'correlationId'>

/**
 * The memory that a message takes, in bytes, without its places in lists and its publisher. `ownType`: its content
 * type, where no other message shares that.
 */
export function heldBytes({ bytes: payloadBytes, key, correlationId }: Weighed, ownType?: string): number {
  let bytes = MESSAGE_BYTES + payloadBytes
  if (key !== undefined) bytes += FIELD_BYTES + textBytes(key)
  if (correlationId !== undefined) bytes += FIELD_BYTES + textBytes(correlationId)
  if (ownType !== undefined) bytes += FIELD_BYTES + ownType.length
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
    if (keepers === 0 && message.publisher instanceof HeldPublisher) message.publisher.keep()
    this.#count(keepers === 0 ? message.held + PLACE_BYTES : PLACE_BYTES)
  }

  release(message: Message): void {
    message.keepers!--
    if (message.keepers === 0 && message.publisher instanceof HeldPublisher) message.publisher.release()
    this.#count(message.keepers === 0 ? -message.held - PLACE_BYTES : -PLACE_BYTES)
  }

  #count(bytes: number): void {
    this.bytes += bytes
    this.#budget.used += bytes
  }
}

/** Who published messages. Its memory counts once, while messages that have it are kept. */
export class HeldPublisher implements PublishedBy {
  readonly client: string | undefined
  readonly user: string | undefined
  readonly info: unknown
  // Private, so that nothing but what is public reaches subscribers and brokers.
  readonly #budget: ByteCount
  readonly #bytes: number
  #messages = 0

  constructor({ client, user, info }: PublishedBy, budget: ByteCount) {
    this.client = client
    this.user = user
    this.info = info
    this.#budget = budget
    this.#bytes = PUBLISHER_BYTES + (user === undefined ? 0 : textBytes(user)) + infoBytes(info)
  }

  /** Of a message that is kept. */
  keep(): void {
    if (this.#messages++ === 0) this.#budget.used += this.#bytes
  }

  /** Of a message that is kept no more. */
  release(): void {
    if (--this.#messages === 0) this.#budget.used -= this.#bytes
  }
}

/**
 * The memory of the objects of an info, in bytes: an estimate from measurements. 0 if there is no info, or if a broker
 * gives one that is not JSON.
 */
function infoBytes(info: unknown): number {
  try {
    const json = JSON.stringify(info) ?? ''
    return json.length + PART_BYTES * (json.match(/["{[]/g)?.length ?? 0)
  } catch {
    return 0
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

  /** `objectBytes`: of the codec. */
  constructor({ frames, messages }: Encoded, objectBytes: number | undefined, ledger: Ledger, budget: ByteCount) {
    this.#budget = budget
    this.#ledger = ledger
    if (objectBytes !== undefined) {
      this.#messages = messages
      this.#bytes = messages.length * objectBytes
      return
    }
    const views = new Map(frames.map(frame => [frame.buffer, frame]))
    this.#messages = messages.filter(({ payload }) => isView(views.get(payload.buffer), payload))
    const shared = this.#messages.reduce((sum, each) => sum + each.bytes, 0)
    this.#bytes = frames.reduce((sum, { byteLength }) => sum + FRAME_BYTES + byteLength, 0) - shared
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
export function isView(frame: Uint8Array | undefined, payload: Uint8Array): boolean {
  if (frame?.buffer !== payload.buffer) return false
  return frame.byteOffset === payload.byteOffset && frame.byteLength === payload.byteLength
}
