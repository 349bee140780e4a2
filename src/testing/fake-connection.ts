import type { Circuit, Client, CloseReason, Connection, WriteResult } from '../core/connection.ts'
import { HubError } from '../core/errors.ts'
import type { Codec, Gap, Message } from '../core/message.ts'
import { checkValue, object } from '../core/options.ts'
import type { DirectMessage, Parcel } from '../core/parcel.ts'

/**
 * What a fake connection received: a message, a notice of loss, something for it alone, or a frame of the protocol
 * itself.
 */
export type Received =
  | {
      readonly kind: 'message'
      readonly topic: string
      readonly epoch: string
      readonly seq: number
      readonly text: string
      readonly bytes: number
    }
  | { readonly kind: 'gap'; readonly gap: Gap }
  | { readonly kind: 'direct'; readonly id: string; readonly text: string; readonly contentType: string }
  | { readonly kind: 'frame'; readonly text: string }

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** Frames that a test can read back: one line of JSON each, the payload as text. Shared, as codecs must be. */
export const fakeCodec: Codec = {
  name: 'fake',
  encode: ({ topic, epoch, seq, payload }: Message) =>
    line({ kind: 'message', topic, epoch, seq, text: decoder.decode(payload), bytes: payload.byteLength }),
  direct: ({ id, payload, contentType }: DirectMessage) =>
    line({ kind: 'direct', id, text: decoder.decode(payload), contentType }),
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
  /** Taking a message is not yet its delivery: the test says `client.confirmed` or `client.failed` of each. */
  readonly confirms?: boolean
  /** The peer confirms each message when it has read it, of a shared frame when it has read all of that. */
  readonly acknowledges?: boolean
  /** It can be asked whether it is there; the test answers (`pong`). */
  readonly answersPings?: boolean
}

/**
 * A connection in memory. It takes `window` bytes, then answers `full` until the test (or a script) reads. It fails the
 * test when the hub breaks the contract: a write after `full`, after `gone` or after close.
 */
export class FakeConnection implements Connection {
  readonly protocol: string
  readonly codec: Codec
  /** Everything written, in order. */
  readonly received: Received[] = []
  /** Writes with more = false: what would be system calls. */
  writes = 0
  closedFor: CloseReason | undefined
  /** The hint that came with the close. */
  reconnectMs: number | undefined
  /** Set by whoever registers it. */
  client: Client | undefined
  /** Answers the next writes in place of the window, to play a broken peer. */
  answer: ((frame: Uint8Array) => unknown) | undefined
  /** What the hub last said of its buffers; undefined: nothing yet. */
  holdsLittle: boolean | undefined
  /** Its host has gone: from now on nothing is confirmed. */
  vanished = false
  readonly confirms: boolean
  /** In order with what is written, as a protocol's own ping would be. */
  readonly ping: ((answer: (active: boolean) => void) => void) | undefined
  readonly #pings: ((active: boolean) => void)[] = []
  /** Messages that the peer has not read wholly, and how many bytes are ahead of the end of each. */
  #unread: { readonly topic: string; readonly seq: number; end: number }[] = []
  readonly #window: number
  readonly #options: FakeConnectionOptions
  readonly #receiveBuffer: number
  #inFlight = 0
  #confirmed = 0
  #corked = false
  #mayWrite = true

  constructor(options: FakeConnectionOptions = {}) {
    checkValue(options, object, 'options')
    this.protocol = options.protocol ?? 'fake'
    this.codec = options.codec ?? fakeCodec
    this.#window = options.window ?? Number.POSITIVE_INFINITY
    this.#options = options
    this.confirms = options.confirms ?? false
    this.ping = options.answersPings ? answer => this.#asked(answer) : undefined
    this.#receiveBuffer = options.receiveBuffer ?? (Number.isFinite(this.#window) ? 0 : Number.POSITIVE_INFINITY)
  }

  write(frame: Uint8Array, more: boolean): WriteResult {
    if (this.closedFor !== undefined) throw new Error(`written to after close (${this.closedFor})`)
    if (!this.#mayWrite && !this.#corked) throw new Error('written to after it answered full')
    this.#corked = more
    if (!more) this.writes++
    if (this.answer) return this.answer(frame) as WriteResult
    this.#inFlight += frame.byteLength
    this.#take(frame)
    this.#confirm()
    this.#mayWrite = this.#inFlight <= this.#window
    return this.#mayWrite ? 'ok' : 'full'
  }

  close(reason: CloseReason, reconnectMs?: number): void {
    if (this.closedFor !== undefined) return
    this.closedFor = reason
    this.reconnectMs = reconnectMs
  }

  holdLittle(little: boolean): void {
    this.holdsLittle = little
  }

  #asked(answer: (active: boolean) => void): void {
    this.#pings.push(answer)
    this.client?.send(encoder.encode('ping'))
  }

  /** The peer answers its oldest ping. */
  pong(active = true): void {
    this.#pings.shift()?.(active)
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
    if (this.#options.acknowledges) this.#acknowledge(bytes)
    if (this.#mayWrite || this.#inFlight > this.#window) return
    this.#mayWrite = true
    this.client?.drained()
  }

  #acknowledge(bytes: number): void {
    for (const message of this.#unread) message.end -= bytes
    const read = this.#unread.filter(({ end }) => end <= 0)
    this.#unread = this.#unread.filter(({ end }) => end > 0)
    for (const { topic, seq } of read) this.client?.confirmed(topic, seq)
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

  /** What came for it alone. */
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
      const received = text.startsWith('{"kind":') ? (JSON.parse(text) as Received) : { kind: 'frame' as const, text }
      this.received.push(received)
      if (received.kind === 'message' && this.#options.acknowledges) {
        this.#unread.push({ topic: received.topic, seq: received.seq, end: this.#inFlight })
      }
    }
  }
}

/** A fake whose messages for it alone are requests: it takes them as they are, and the test settles each. */
export class FakeRequestConnection extends FakeConnection {
  /** Those that it was given, in order. */
  readonly parcels: Parcel[] = []
  circuit: Circuit | undefined

  constructor(options: FakeConnectionOptions = {}) {
    super({ confirms: true, ...options })
  }

  send(parcel: Parcel): WriteResult {
    if (this.closedFor !== undefined) throw new Error(`written to after close (${this.closedFor})`)
    this.parcels.push(parcel)
    return 'ok'
  }

  /** Those that somebody still waits for. */
  get open(): Parcel[] {
    return this.parcels.filter(({ over }) => !over)
  }

  override close(reason: CloseReason, reconnectMs?: number): void {
    super.close(reason, reconnectMs)
    const why = new HubError(reason === 'shutdown' ? 'SHUTTING_DOWN' : 'CONNECTION_STALE', `client: gone (${reason})`)
    for (const parcel of this.open) parcel.settle(why)
  }
}
