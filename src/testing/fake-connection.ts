import type { Client, CloseReason, Connection, WriteResult } from '../core/connection.ts'
import type { Codec, Gap, Message } from '../core/message.ts'

/** What a fake connection received: a message, something for it alone, a notice of loss, or a frame of the protocol itself. */
export type Received =
  | {
      readonly kind: 'message'
      readonly topic: string
      readonly epoch: string
      readonly seq: number
      readonly text: string
      readonly bytes: number
    }
  | { readonly kind: 'direct'; readonly id: string; readonly text: string }
  | { readonly kind: 'gap'; readonly gap: Gap }
  | { readonly kind: 'frame'; readonly text: string }

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** Frames that a test can read back: one line of JSON each, the payload as text. Shared, as codecs must be. */
export const fakeCodec: Codec = {
  name: 'fake',
  encode: ({ topic, epoch, seq, payload }: Message) =>
    line({ kind: 'message', topic, epoch, seq, text: decoder.decode(payload), bytes: payload.byteLength }),
  direct: ({ id, payload }) => line({ kind: 'direct', id, text: decoder.decode(payload) }),
  gap: gap => line({ kind: 'gap', gap }),
  concat: (frames, bytes) => Buffer.concat(frames, bytes),
}

function line(received: Received): Uint8Array {
  return encoder.encode(`${JSON.stringify(received)}\n`)
}

export interface FakeConnectionOptions {
  readonly protocol?: string
  readonly codec?: Codec
  /** Bytes that it takes before it answers `full`. Default: endless. */
  readonly window?: number
  /** Bytes that the peer's host confirms before the peer reads them. Default: endless if the window is, else 0. */
  readonly receiveBuffer?: number
  /** false: it cannot tell what is unconfirmed, as without the TCP probe. Default true. */
  readonly tellsUnacknowledged?: boolean
  /** The shortest round trip, in ms. Default 0. */
  readonly roundTripMs?: number
}

/**
 * A connection in memory. It takes `window` bytes, then answers `full` until the test (or a script) reads. It fails the test when
 * the hub breaks the contract: a write after `full`, after `gone` or after close.
 */
export class FakeConnection implements Connection {
  readonly protocol: string
  readonly codec: Codec
  /** Everything written, in order. */
  readonly received: Received[] = []
  /** Writes with more = false: what would be system calls. */
  writes = 0
  closedFor: CloseReason | undefined
  /** Set by whoever registers it. */
  client: Client | undefined
  /** Answers the next writes in place of the window, to play a broken peer. */
  answer: ((frame: Uint8Array) => unknown) | undefined
  /** Its host has gone: from now on nothing is confirmed. */
  vanished = false
  readonly #window: number
  readonly #options: FakeConnectionOptions
  readonly #receiveBuffer: number
  #inFlight = 0
  #confirmed = 0
  #corked = false
  #mayWrite = true

  constructor(options: FakeConnectionOptions = {}) {
    this.protocol = options.protocol ?? 'fake'
    this.codec = options.codec ?? fakeCodec
    this.#window = options.window ?? Number.POSITIVE_INFINITY
    this.#options = options
    this.#receiveBuffer = options.receiveBuffer ?? (Number.isFinite(this.#window) ? 0 : Number.POSITIVE_INFINITY)
  }

  write(frame: Uint8Array, more: boolean): WriteResult {
    if (this.closedFor !== undefined) throw new Error(`written to after close (${this.closedFor})`)
    if (!this.#mayWrite && !this.#corked) throw new Error('written to after it answered full')
    this.#corked = more
    if (!more) this.writes++
    if (this.answer) return this.answer(frame) as WriteResult
    this.#take(frame)
    this.#inFlight += frame.byteLength
    this.#confirm()
    this.#mayWrite = this.#inFlight <= this.#window
    return this.#mayWrite ? 'ok' : 'full'
  }

  close(reason: CloseReason): void {
    this.closedFor ??= reason
  }

  /** Bytes that the peer has not read. */
  get unread(): number {
    return this.#inFlight
  }

  unacknowledged(): number | undefined {
    return this.#options.tellsUnacknowledged === false ? undefined : this.#inFlight - this.#confirmed
  }

  roundTrip(): number {
    return this.#options.roundTripMs ?? 0
  }

  /** The peer reads so many bytes (default: all). `drained` follows when what exceeded the window is gone. */
  read(bytes = this.#inFlight): void {
    this.#inFlight = Math.max(0, this.#inFlight - bytes)
    this.#confirmed = Math.max(0, this.#confirmed - bytes)
    this.#confirm()
    if (this.#mayWrite || this.#inFlight > this.#window) return
    this.#mayWrite = true
    this.client?.drained()
  }

  /** The sequence numbers that came in, of one topic or of all. */
  seqs(topic?: string): number[] {
    return this.received.flatMap(r =>
      r.kind === 'message' && (topic === undefined || r.topic === topic) ? [r.seq] : [],
    )
  }

  texts(): string[] {
    return this.received.flatMap(r => (r.kind === 'message' ? [r.text] : []))
  }

  /** What was sent to it alone, in order. */
  directs(): string[] {
    return this.received.flatMap(r => (r.kind === 'direct' ? [r.text] : []))
  }

  gaps(): Gap[] {
    return this.received.flatMap(r => (r.kind === 'gap' ? [r.gap] : []))
  }

  /** The peer's host takes what fits its receive buffer. */
  #confirm(): void {
    if (!this.vanished) this.#confirmed = Math.min(this.#inFlight, this.#receiveBuffer)
  }

  #take(frame: Uint8Array): void {
    for (const text of decoder.decode(frame).split('\n')) {
      if (text === '') continue
      this.received.push(text.startsWith('{"kind":') ? (JSON.parse(text) as Received) : { kind: 'frame', text })
    }
  }
}
