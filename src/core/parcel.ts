import type { HubError } from './errors.ts'
import { type Fault, GuardedCodec } from './guarded-codec.ts'
import { type ByteCount, isView, ownPayload } from './ledger.ts'
import type { Codec } from './message.ts'
import type { Rule } from './options.ts'
import { notBytes } from './refusals.ts'

/** Something for one client alone, whatever its topics. */
export interface DirectMessage {
  /** The same whenever the same thing is sent again. */
  readonly id: string
  readonly payload: Uint8Array
  readonly contentType: string
  readonly correlationId: string | undefined
}

/**
 * What a parcel adds to its payload in the queue limit of its client, in bytes, so that the number of empty parcels is
 * bounded too.
 */
const PARCEL_BYTES = 256
/** The memory that a send takes while it waits, beside its payload and frames, in bytes: measured. */
export const SEND_BYTES = 2700

export const directRule: Rule = value => (value instanceof Direct ? undefined : 'a Direct')

/** A direct message for any number of clients: encoded once per codec, as a batch is. */
export class Direct {
  readonly message: DirectMessage
  readonly #frames = new Map<Codec, Uint8Array | null>()
  /** Payload and frames: what the hub holds while a client waits for any of it. */
  #bytes: number
  #holders = 0

  /** Throws INVALID_MESSAGE. */
  constructor(message: DirectMessage) {
    if (!(message?.payload instanceof Uint8Array)) throw notBytes(message?.payload)
    this.message = { ...message, payload: ownPayload(message.payload) }
    this.#bytes = message.payload.byteLength
  }

  /**
   * Null: the protocol cannot carry it, or has nothing that is for one client alone. A codec that throws cannot carry
   * it either.
   */
  encoded(codec: Codec, budget: ByteCount, fault: Fault): Uint8Array | null {
    let frame = this.#frames.get(codec)
    if (frame === undefined) {
      frame = new GuardedCodec(codec, fault).direct(this.message)
      this.#frames.set(codec, frame)
      if (frame !== null && !isView(frame, this.message.payload)) {
        this.#bytes += frame.byteLength
        if (this.#holders > 0) budget.used += frame.byteLength
      }
    }
    return frame
  }

  /** One more client has it in its outbox or its connection. Its bytes are counted once for all of them. */
  hold(budget: ByteCount): void {
    if (this.#holders++ === 0) budget.used += this.#bytes
  }

  release(budget: ByteCount): void {
    if (--this.#holders === 0) budget.used -= this.#bytes
  }
}

interface ParcelEnds {
  /** Called once, with the error or with nothing. It must not call the hub. */
  settled(error: HubError | undefined): void
  /** Called once, when it is settled and the connection does not hold its frame any more. */
  freed?(): void
}

/**
 * One direct message on its way to one client. It is settled once; later results are ignored. It has no timer: its
 * sender sets the time limit.
 */
export class Parcel {
  readonly message: DirectMessage
  /** Undefined where the connection takes the message as it is (Connection.send). */
  readonly frame: Uint8Array | undefined
  /** Bytes that go to the connection. */
  readonly size: number
  /** The connection holds the frame: it is in memory even if the parcel is settled. */
  handed = false
  /** Set by a connection that can still stop it. */
  oncancel: (() => void) | undefined
  #ends: ParcelEnds | undefined
  #over = false

  constructor(message: DirectMessage, frame: Uint8Array | undefined, ends: ParcelEnds) {
    this.message = message
    this.frame = frame
    this.size = (frame ?? message.payload).byteLength
    this.#ends = ends
  }

  /** It is settled. What is not written yet must not be written. */
  get over(): boolean {
    return this.#over
  }

  /** What it counts while it waits. */
  get bytes(): number {
    return this.size + PARCEL_BYTES
  }

  settle(error?: HubError): void {
    if (this.#over) return
    this.#over = true
    this.oncancel = undefined
    this.#ends!.settled(error)
    this.#free()
  }

  /** The connection has the frame no longer: it took everything, or has gone with this error. */
  leave(error?: HubError): void {
    this.handed = false
    this.settle(error)
    this.#free()
  }

  #free(): void {
    if (this.handed) return
    this.#ends?.freed?.()
    this.#ends = undefined
  }

  /** Settles it with the error of its sender. What is on the wire already may still arrive. */
  cancel(error: HubError): void {
    const { oncancel } = this
    this.settle(error)
    oncancel?.()
  }
}
