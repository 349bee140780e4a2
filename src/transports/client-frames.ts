import type { RawData, WebSocket } from 'ws'
import { eventLoop } from '../event-loop.ts'
import { holdReading } from './websocket.ts'

/** A frame of more bytes takes milliseconds to read, so other connections have their turn before the next frame. */
const LARGE_BYTES = 64 * 1024

/** Hands over the frames of one WebSocket in their order, and at most one large frame in a turn of the event loop. */
export class ClientFrames {
  readonly #webSocket: WebSocket
  readonly #read: (data: Buffer, binary: boolean) => void
  /** Frames that came in the turn of a large one. Undefined: the next frame is read as it comes. */
  #waiting: { readonly data: RawData; readonly binary: boolean }[] | undefined
  #ended = false

  constructor(webSocket: WebSocket, read: (data: Buffer, binary: boolean) => void) {
    this.#webSocket = webSocket
    this.#read = read
    webSocket.on('message', (data, binary) => this.#take(data, binary))
  }

  /** Forgets what waits. The socket is read again, because the close of the peer is still to come. */
  end(): void {
    this.#ended = true
    if (this.#waiting === undefined) return
    this.#waiting = undefined
    this.#webSocket.resume()
  }

  #take(data: RawData, binary: boolean): void {
    if (this.#waiting !== undefined) {
      this.#waiting.push({ data, binary })
      return
    }
    this.#read(data as Buffer, binary)
    if (this.#ended || (data as Buffer).byteLength <= LARGE_BYTES) return
    this.#waiting = []
    holdReading(this.#webSocket)
    eventLoop.defer(() => this.#goOn())
  }

  /** Another large frame may be among those that wait: then the rest waits for the turn after it. */
  #goOn(): void {
    if (this.#ended) return
    const frames = this.#waiting ?? []
    this.#waiting = undefined
    for (const { data, binary } of frames) this.#take(data, binary)
    if (this.#waiting === undefined) this.#webSocket.resume()
  }
}
