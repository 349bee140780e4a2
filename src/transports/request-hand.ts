import type { Parcel } from '../core/parcel.ts'
import { type Envelope, firstEnvelope } from './envelope.ts'

/** Something to deliver. With a parcel it is a direct message, whose sender waits for the result. */
export interface Item {
  readonly envelope: Envelope
  readonly parcel: Parcel | undefined
}

/**
 * What a request connection has still to deliver, in order. Frames are read one message at a time, because the objects
 * of a whole flush of small messages would take many times its bytes.
 */
export class RequestHand {
  #all: (Item | Uint8Array)[] = []

  get empty(): boolean {
    return this.#all.length === 0
  }

  /** One or more frames of one topic. */
  addFrames(frames: Uint8Array): void {
    if (frames.byteLength > 0) this.#all.push(frames)
  }

  addParcel(parcel: Parcel): void {
    this.#all.push({ envelope: { kind: 'send', ...parcel.message }, parcel })
  }

  /** Reads the first item, which stays until `shift`. Must not be called where there is none. */
  first(): Item {
    const first = this.#all[0]!
    if (!(first instanceof Uint8Array)) return first
    const { envelope, rest } = firstEnvelope(first)
    const item = { envelope, parcel: undefined }
    if (rest.byteLength > 0) this.#all.splice(0, 1, item, rest)
    else this.#all[0] = item
    return item
  }

  shift(): void {
    this.#all.shift()
  }

  /** Drops the messages of a topic. */
  drop(topic: string): void {
    this.#all = this.#all.filter(each => {
      const { envelope } = each instanceof Uint8Array ? firstEnvelope(each) : each
      return envelope.kind !== 'message' || envelope.topic !== topic
    })
  }

  /** Empties it. Returns the parcels that were in it. */
  clear(): Parcel[] {
    const all = this.#all
    this.#all = []
    return all.flatMap(each => (each instanceof Uint8Array ? [] : (each.parcel ?? [])))
  }
}
