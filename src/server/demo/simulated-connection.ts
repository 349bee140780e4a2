import type { Client, CloseReason, Connection, WriteResult } from '../../core/connection.ts'
import type { Codec, Gap } from '../../core/message.ts'

/** What a simulated client finds in its stream. `at`: when the message was published, in ms on the hub's clock. */
export type Arrival =
  | { readonly kind: 'message'; readonly topic: string; readonly seq: number; readonly at: number }
  | { readonly kind: 'gap'; readonly gap: Gap }

/** Bytes ahead of each frame: its length, and the length of the JSON that starts it. */
const HEAD_BYTES = 8
const encoder = new TextEncoder()
const decoder = new TextDecoder()
const empty = new Uint8Array()

/**
 * Frames of the simulated clients' own protocol: what a message is, then its payload in full, so that its size counts.
 */
export const simulatedCodec: Codec = {
  name: 'simulated',
  encode: ({ topic, seq, at, payload }) => frame({ kind: 'message', topic, seq, at }, payload),
  gap: gap => frame({ kind: 'gap', gap }, empty),
  concat: (frames, bytes) => Buffer.concat(frames, bytes),
}

function frame(arrival: Arrival, payload: Uint8Array): Uint8Array {
  const json = encoder.encode(JSON.stringify(arrival))
  const bytes = new Uint8Array(HEAD_BYTES + json.length + payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, bytes.length)
  view.setUint32(4, json.length)
  bytes.set(json, HEAD_BYTES)
  bytes.set(payload, HEAD_BYTES + json.length)
  return bytes
}

/** One write may hold several frames: small ones are joined. */
function* readFrames(written: Uint8Array): Iterable<{ bytes: number; arrival: Arrival }> {
  const view = new DataView(written.buffer, written.byteOffset, written.byteLength)
  for (let offset = 0; offset < written.length; ) {
    const bytes = view.getUint32(offset)
    const json = written.subarray(offset + HEAD_BYTES, offset + HEAD_BYTES + view.getUint32(offset + 4))
    yield { bytes, arrival: JSON.parse(decoder.decode(json)) as Arrival }
    offset += bytes
  }
}

/**
 * What was written to a connection of the demo and is not read yet, as sizes and heads: it costs no memory to speak of.
 */
export class UnderWay {
  #frames: { bytes: number; readonly arrival: Arrival }[] = []
  bytes = 0

  add(written: Uint8Array): void {
    for (const frame of readFrames(written)) this.#frames.push(frame)
    this.bytes += written.byteLength
  }

  /** Publish time of what is being read now; undefined when nothing is under way. */
  get reading(): number | undefined {
    for (const { arrival } of this.#frames) if (arrival.kind === 'message') return arrival.at
    return undefined
  }

  /** Reads up to so many bytes, a whole number, and answers with what has come in whole. */
  read(bytes: number): Arrival[] {
    const arrivals: Arrival[] = []
    let left = Math.min(bytes, this.bytes)
    this.bytes -= left
    for (;;) {
      const first = this.#frames[0]
      if (first === undefined || first.bytes > left) {
        if (first) first.bytes -= left
        return arrivals
      }
      left -= first.bytes
      arrivals.push(first.arrival)
      this.#frames.shift()
    }
  }

  clear(): void {
    this.#frames = []
    this.bytes = 0
  }
}

/** A connection of the demo and the reader at its other end. */
export interface DemoConnection extends Connection {
  /** The registration that it reports to. Absent: whoever reads asks `takeDrained`. */
  bind?(client: Client): void
  unacknowledged(): number | undefined
  /** Publish time of the oldest message that is not read. */
  readonly reading: number | undefined
  /** Lets the reader have so many bytes more, and answers with what has come in whole. */
  read(bytes: number): Arrival[]
  takeDrained(): boolean
}

/**
 * A network path and a reader that is as slow as it is told. The first `window` bytes are the path's, as a kernel's
 * buffers would be; what exceeds them is `full` and waits: at most the window and one flush of the hub.
 */
export class SimulatedConnection implements DemoConnection {
  readonly protocol = 'simulated'
  readonly codec = simulatedCodec
  readonly #window: number
  readonly #onClose: (reason: CloseReason) => void
  readonly #underWay = new UnderWay()
  #full = false
  #closed = false

  constructor(window: number, onClose: (reason: CloseReason) => void) {
    this.#window = window
    this.#onClose = onClose
  }

  write(written: Uint8Array): WriteResult {
    if (this.#closed) return 'gone'
    this.#underWay.add(written)
    this.#full = this.#underWay.bytes > this.#window
    return this.#full ? 'full' : 'ok'
  }

  close(reason: CloseReason): void {
    if (this.#closed) return
    this.#closed = true
    this.#underWay.clear()
    this.#onClose(reason)
  }

  unacknowledged(): number {
    return this.#underWay.bytes
  }

  get reading(): number | undefined {
    return this.#underWay.reading
  }

  read(bytes: number): Arrival[] {
    return this.#underWay.read(bytes)
  }

  /** True once after the excess over the window is gone: then the hub wants to hear `drained`. */
  takeDrained(): boolean {
    if (!this.#full || this.#closed || this.#underWay.bytes > this.#window) return false
    this.#full = false
    return true
  }
}
