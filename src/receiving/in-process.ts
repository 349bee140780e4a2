import type { Client, CloseReason, Connection, WriteResult } from '../core/connection.ts'
import type { Codec, Gap } from '../core/message.ts'
import { ReceivedMessage } from './received-message.ts'

type Item = ReceivedMessage | Gap

/**
 * A frame that is not read as bytes: it carries the messages themselves. Its length is what they count while they wait.
 */
interface Frame extends Uint8Array {
  readonly items: readonly Item[]
}

/** A view of its own of the same bytes. */
function frame(bytes: Uint8Array, items: readonly Item[]): Frame {
  return Object.assign(bytes.subarray(), { items })
}

/** A ReceivedMessage with its position and its place in a list: measured with Node 20. */
const OBJECT_BYTES = 100

const NO_BYTES = new Uint8Array(0)

/** Messages as objects, made once for all receivers in the program. It carries every message. */
const inProcessCodec: Codec = {
  name: 'in-process',
  objectBytes: OBJECT_BYTES,
  encode: message => frame(message.payload, [new ReceivedMessage(message)]),
  gap: gap => frame(NO_BYTES, [gap]),
  concat: frames =>
    frame(
      NO_BYTES,
      frames.flatMap(each => (each as Frame).items),
    ),
}

/**
 * A connection whose peer is a part of this program. It holds what the peer has not taken, and is full while it holds
 * anything, so that the delivery policy decides what a slow consumer gets, as for every client.
 */
export class InProcessConnection implements Connection {
  readonly protocol = 'in-process'
  readonly codec = inProcessCodec
  /** Why the hub, or the peer, has ended it. */
  closed: CloseReason | undefined
  readonly #onGap: (gap: Gap) => void
  /**
   * What was not taken begins at `#at` of the first list. The lists are those of the frames, which all receivers share.
   */
  #lists: (readonly Item[])[] = []
  #at = 0
  #full = false
  #client: Client | undefined
  #taken: ReceivedMessage | undefined
  /** Told once when something comes while nothing is there, or when it is closed. */
  #arrived: (() => void) | undefined

  /** @param onGap called with each notice of a loss, in its place between the messages; never from inside `write` */
  constructor(onGap: (gap: Gap) => void) {
    this.#onGap = onGap
  }

  bind(client: Client): void {
    this.#client = client
  }

  get #empty(): boolean {
    return this.#lists.length === 0
  }

  write(bytes: Uint8Array): WriteResult {
    if (this.closed !== undefined) return 'gone'
    const { items } = bytes as Frame
    this.#lists.push(items)
    // A notice of a loss takes no room, or it would cause the next loss.
    if (items.some(item => item instanceof ReceivedMessage)) this.#full = true
    this.#tell()
    return this.#full ? 'full' : 'ok'
  }

  close(reason: CloseReason): void {
    this.closed ??= reason
    this.#tell()
  }

  /**
   * The next message; undefined where there is none. Reports the gaps before it. The message taken before counts as
   * processed: where the policy waits for confirmations, it is confirmed.
   */
  take(): ReceivedMessage | undefined {
    this.#confirm()
    while (!this.#empty) {
      const item = this.#next()
      if (this.#empty) this.#drained()
      if (item instanceof ReceivedMessage) {
        this.#taken = item
        return item
      }
      this.#onGap(item)
    }
    return undefined
  }

  #next(): Item {
    const [items] = this.#lists as [readonly Item[]]
    const item = items[this.#at++]!
    if (this.#at === items.length) {
      this.#lists.shift()
      this.#at = 0
    }
    return item
  }

  /** Resolves when `take` may have something, or the connection is closed. One at a time. */
  arrival(): Promise<void> {
    if (!this.#empty || this.closed !== undefined) return Promise.resolve()
    return new Promise(resolve => {
      this.#arrived = resolve
    })
  }

  /** Ends it from the peer's side: messages that were not taken are given up. */
  end(): void {
    this.closed ??= 'peer'
    this.#lists = []
    this.#at = 0
    this.#client?.close('peer')
    this.#tell()
  }

  #confirm(): void {
    if (this.#taken === undefined) return
    const { topic, position } = this.#taken
    this.#taken = undefined
    this.#client?.confirmed(topic, position.seq)
  }

  #drained(): void {
    if (!this.#full) return
    this.#full = false
    this.#client?.drained()
  }

  #tell(): void {
    const arrived = this.#arrived
    this.#arrived = undefined
    arrived?.()
  }
}
