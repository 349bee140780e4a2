import type { RawData, WebSocket } from 'ws'
import { eventLoop } from '../event-loop.ts'
import { type TurnTime, turnTime } from './turn-time.ts'
import { holdReading } from './websocket.ts'

/** Hands over the frames of one WebSocket in their order, while there is time in the turn of the event loop. */
export class ClientFrames {
  readonly #webSocket: WebSocket
  readonly #read: (data: Buffer, binary: boolean) => void
  readonly #turn: Pick<TurnTime, 'over'>
  /** Frames that wait for the next turn. Undefined: the next frame is read as it comes. */
  #waiting: { readonly data: RawData; readonly binary: boolean }[] | undefined
  #ended = false

  constructor(
    webSocket: WebSocket,
    read: (data: Buffer, binary: boolean) => void,
    turn: Pick<TurnTime, 'over'> = turnTime,
  ) {
    this.#webSocket = webSocket
    this.#read = read
    this.#turn = turn
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
    if (this.#waiting !== undefined) this.#waiting.push({ data, binary })
    else if (this.#ended || !this.#turn.over) this.#read(data as Buffer, binary)
    else {
      this.#waiting = [{ data, binary }]
      holdReading(this.#webSocket)
      eventLoop.defer(() => this.#goOn())
    }
  }

  /** The time of this turn may be over before the last frame that waits: then the rest waits for the next turn. */
  #goOn(): void {
    if (this.#ended) return
    const frames = this.#waiting ?? []
    this.#waiting = undefined
    for (const { data, binary } of frames) this.#take(data, binary)
    if (this.#waiting === undefined) this.#webSocket.resume()
  }
}
