import type { Client, CloseReason, WriteResult } from '../core/connection.ts'
import type { Codec } from '../core/message.ts'
import type { Scheduler } from '../core/scheduler.ts'
import type { Bound } from '../transports/transport.ts'

/** After a partial write the rest is offered again this often, in ms, where the socket does not say when. */
export const RETRY_MS = 10

/** One timer for all connections with something left over; none while there is none. */
export class Retries {
  readonly #scheduler: Scheduler
  readonly #waiting = new Set<SendConnection>()
  #timer: Disposable | undefined

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler
  }

  add(connection: SendConnection): void {
    this.#waiting.add(connection)
    this.#timer ??= this.#scheduler.every(RETRY_MS, () => {
      for (const each of this.#waiting) each.retry()
    })
  }

  delete(connection: SendConnection): void {
    this.#waiting.delete(connection)
    if (this.#waiting.size > 0) return
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }
}

/** What is behind a connection that takes bytes by count. */
export interface Outlet {
  readonly protocol: string
  /** Offers bytes; `taken` is called once, at once or later, with how many were taken: 0 is a disconnect [H11]. */
  offer(bytes: Uint8Array, taken: (count: number) => void): void
  end(reason: CloseReason): void
}

/**
 * A connection over anything that says how many bytes it took. What it did not take stays here, in order, and is
 * offered before anything else, so that the stream is never torn (I7); meanwhile the client counts as full, and its
 * policy's clock runs.
 */
export class SendConnection implements Bound {
  readonly protocol: string
  readonly codec: Codec
  readonly #outlet: Outlet
  readonly #retries: Retries
  #client: Client | undefined
  /** Offered or to be offered, oldest first. */
  #rest: Uint8Array[] = []
  /** An offer has not been answered. */
  #offering = false
  /** The hub was told `full`, and waits for `drained`. */
  #full = false
  #closed = false
  /** In `write`: a failure there is its answer, not a call back into the hub that is writing. */
  #writing = false
  #failed = false
  /** In `retry`. */
  #looping = false
  /** The outlet took a part: it wants to be left alone for a while. */
  #partial = false

  constructor(outlet: Outlet, codec: Codec, retries: Retries) {
    this.protocol = outlet.protocol
    this.codec = codec
    this.#outlet = outlet
    this.#retries = retries
  }

  bind(client: Client): void {
    this.#client = client
  }

  detach(): void {
    this.#closed = true
  }

  write(frame: Uint8Array): WriteResult {
    if (this.#closed) return 'gone'
    // A codec may have nothing to say; 0 of 0 bytes is no disconnect.
    if (frame.byteLength === 0) return this.#full ? 'full' : 'ok'
    this.#rest.push(frame)
    this.#writing = true
    if (this.#rest.length === 1) this.retry()
    this.#writing = false
    if (this.#closed || this.#failed) return 'gone'
    this.#full = this.#rest.length > 0
    return this.#full ? 'full' : 'ok'
  }

  /** The outlet may take more. A loop and no recursion: what is left over can be thousands of frames. */
  retry(): void {
    if (this.#looping) return
    this.#looping = true
    this.#partial = false
    while (this.#rest.length > 0 && !this.#offering && !this.#partial && !this.#failed && !this.#closed) {
      const frame = this.#rest[0]!
      this.#offering = true
      this.#outlet.offer(frame, count => this.#taken(frame, count))
    }
    this.#looping = false
  }

  /** Idempotent. What was not taken is lost with the connection. */
  close(reason: CloseReason): void {
    this.#retries.delete(this)
    if (this.#closed) return
    this.#closed = true
    this.#rest = []
    this.#outlet.end(reason)
  }

  /** The peer has gone: says so without waiting for a write [H8]. */
  lost(reason: 'peer' | 'lost'): void {
    this.#client?.close(reason)
    this.close(reason)
  }

  #taken(frame: Uint8Array, count: number): void {
    this.#offering = false
    if (this.#closed) return
    if (count === 0) {
      if (this.#writing) this.#failed = true
      else this.lost('lost')
    } else if (count < frame.byteLength) {
      this.#rest[0] = frame.subarray(count)
      this.#partial = true
      this.#retries.add(this)
    } else {
      this.#rest.shift()
      this.#retries.delete(this)
      if (this.#rest.length > 0) this.retry()
      else this.#drained()
    }
  }

  #drained(): void {
    if (!this.#full) return
    this.#full = false
    this.#client?.drained()
  }
}
