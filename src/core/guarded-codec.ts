import { answered, atOnce } from './attempt.ts'
import type { Codec, Gap, Message } from './message.ts'
import { checkValue, flag, number } from './options.ts'
import type { DirectMessage } from './parcel.ts'

/** At most 4 GiB: the sum of many stays a number. */
const objectBytes = number(0, 2 ** 32)

/** Told of an error in code that is not the hub's. `where` names the code. Must not throw. */
export type Fault = (where: string, error: unknown) => void

/**
 * A codec as the tick may call it: one that throws, or answers with something that is not bytes, harms its own clients
 * only. What it cannot encode counts as `unsupported`; what it cannot join goes out as it is. Tells one fault for each
 * object of this class.
 */
export class GuardedCodec {
  readonly #codec: Codec
  readonly #fault: Fault
  #told = false

  constructor(codec: Codec, fault: Fault) {
    this.#codec = codec
    this.#fault = fault
  }

  /** A codec that has no `carries` carries every message. */
  carries(message: Message): boolean {
    return this.#ask('carries', false, codec => {
      const answer = codec.carries === undefined || codec.carries(message)
      checkValue(atOnce(answer, 'carries'), flag, 'carries')
      return answer
    })
  }

  /** Undefined: its frames are bytes. A value that is no amount of memory counts as absent. */
  get objectBytes(): number | undefined {
    return this.#ask('objectBytes', undefined, codec => answered(codec.objectBytes, objectBytes, 'objectBytes'))
  }

  encode(message: Message): Uint8Array | null {
    // Hot: no closure.
    try {
      return bytesOrNull(this.#codec.encode(message))
    } catch (error) {
      this.#failed('encode', error)
      return null
    }
  }

  /** The frames joined into one, or the frames themselves. */
  concat(frames: readonly Uint8Array[], byteLength: number): readonly Uint8Array[] {
    return this.#ask('concat', frames, codec => [bytes(codec.concat(frames, byteLength))])
  }

  /** Null: the protocol has nothing that is for one client alone, or cannot carry this. */
  direct(message: DirectMessage): Uint8Array | null {
    return this.#ask('direct', null, codec => bytesOrNull(codec.direct?.(message) ?? null))
  }

  /** Null: the protocol has no notice of a loss. */
  gap(gap: Gap): Uint8Array | null {
    return this.#ask('gap', null, codec => bytesOrNull(codec.gap?.(gap) ?? null))
  }

  #ask<T>(member: string, otherwise: T, question: (codec: Codec) => T): T {
    try {
      return question(this.#codec)
    } catch (error) {
      this.#failed(member, error)
      return otherwise
    }
  }

  #failed(member: string, error: unknown): void {
    if (!this.#told) this.#fault(`${member} of codec '${nameOf(this.#codec)}'`, error)
    this.#told = true
  }
}

function bytesOrNull(frame: unknown): Uint8Array | null {
  return frame === null ? null : bytes(frame)
}

function bytes(frame: unknown): Uint8Array {
  if (frame instanceof Uint8Array) return frame
  throw new TypeError(`frame must be a Uint8Array, got ${typeof atOnce(frame, 'codec')}`)
}

/** For the text of a fault: the name of somebody else's object, whose getter may throw as well. */
export function nameOf(object: { readonly name: string }): string {
  try {
    return object.name
  } catch {
    return 'unnamed'
  }
}
