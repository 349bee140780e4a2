import { type Fault, GuardedCodec } from './guarded-codec.ts'
import type { Seq } from './ids.ts'
import type { HeldFrames } from './ledger.ts'
import type { Codec, Message } from './message.ts'

/** Frames of at least this size are passed on as they are; smaller neighbours are joined into one buffer. */
export const JOIN_BELOW_BYTES = 16 * 1024

/** What one codec makes of a batch; shared by every connection with that codec. */
export interface Encoded {
  readonly frames: readonly Uint8Array[]
  readonly bytes: number
  /** The messages in the frames: all of the batch, but for those that the protocol cannot carry. */
  readonly messages: readonly Message[]
  /** Made with the first connection that does not take the frames at once. */
  held?: HeldFrames
}

/**
 * Messages of one topic that travel together: what one tick gathered, or what a link that fell behind reads next.
 * `first..last` is the span of sequence numbers that it settles; `count` is below the span where values were conflated.
 */
export class Batch {
  readonly messages: readonly Message[]
  readonly first: Seq
  readonly last: Seq
  readonly count: number
  /** Payload bytes, without protocol overhead. */
  readonly bytes: number
  #encoded: Map<Codec, Encoded> | undefined
  /** The codec asked for last: a topic's clients mostly speak one, and a map look-up per client is not free. */
  #codec: Codec | undefined
  #last: Encoded | undefined

  constructor(messages: readonly Message[], first: Seq = messages[0]!.seq) {
    this.messages = messages
    this.first = first
    this.last = messages[messages.length - 1]!.seq
    this.count = messages.length
    let bytes = 0
    for (const message of messages) bytes += message.bytes
    this.bytes = bytes
  }

  /** Encoded on first use, once per codec. `fault` is told what the codec throws. */
  encoded(codec: Codec, fault: Fault): Encoded {
    if (codec === this.#codec) return this.#last!
    this.#encoded ??= new Map()
    let encoded = this.#encoded.get(codec)
    if (encoded === undefined) {
      encoded = encode(this.messages, codec, fault)
      this.#encoded.set(codec, encoded)
    }
    this.#codec = codec
    this.#last = encoded
    return encoded
  }
}

function encode(messages: readonly Message[], codec: Codec, fault: Fault): Encoded {
  const guarded = new GuardedCodec(codec, fault)
  if (messages.length === 1) {
    const frame = guarded.encode(messages[0]!)
    return frame === null
      ? { frames: [], bytes: 0, messages: [] }
      : { frames: [frame], bytes: frame.byteLength, messages }
  }
  const frames: Uint8Array[] = []
  let small: Uint8Array[] = []
  let smallBytes = 0
  let bytes = 0
  const carried: Message[] = []
  const join = (): void => {
    if (small.length > 1) for (const frame of guarded.concat(small, smallBytes)) frames.push(frame)
    else if (small.length === 1) frames.push(small[0]!)
    small = []
    smallBytes = 0
  }
  for (const message of messages) {
    const frame = guarded.encode(message)
    if (frame === null) continue
    carried.push(message)
    bytes += frame.byteLength
    if (frame.byteLength < JOIN_BELOW_BYTES) {
      small.push(frame)
      smallBytes += frame.byteLength
    } else {
      join()
      frames.push(frame)
    }
  }
  join()
  return { frames, bytes, messages: carried }
}
