import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { CloseReason, WriteResult } from '../core/connection.ts'
import type { Codec } from '../core/message.ts'
import { WS_PING, wsFrame } from '../wire/ws-frame.ts'
import { type EarlyFrame, NodeSocket } from './node-socket.ts'

/** A WebSocket that ws has opened, and the socket below it, which our own frames go to. */
export interface WebSocketChannel {
  readonly webSocket: WebSocket
  readonly socket: Socket
}

/** Close code and text for each reason. 4xxx are ours: 4400, 4403 and 4409 mean: do not come back as you are. */
export const CLOSE_CODES: Readonly<Record<CloseReason, readonly [code: number, text: string]>> = {
  peer: [1000, ''],
  lost: [1000, ''],
  slow: [4408, 'slow: could not keep up'],
  idle: [4410, 'idle: no pong'],
  replaced: [4409, 'replaced: the same client id connected again'],
  ended: [1000, 'ended'],
  denied: [4403, 'denied'],
  expired: [4401, 'expired: come back with a newer token'],
  revoked: [4401, 'revoked'],
  flooding: [4429, 'flooding: too many messages'],
  protocol: [4400, 'bad message'],
  overloaded: [1013, 'overloaded: try again later'],
  shutdown: [1012, 'shutdown: come back in a moment'],
}

/** Most bytes of a close frame's reason (RFC 6455, section 5.5: 125 bytes less the two of the code). */
const MAX_REASON_BYTES = 123

/**
 * The text as the reason of a close frame, which has room for 123 bytes: cut between two characters where it is longer.
 */
export function closeReason(text: string): string {
  const bytes = Buffer.from(text)
  if (bytes.byteLength <= MAX_REASON_BYTES) return text
  let end = MAX_REASON_BYTES
  while ((bytes[end]! & 0xc0) === 0x80) end--
  return bytes.toString('utf8', 0, end)
}

/** Close code and text of a reason. */
type CloseCodes = (reason: CloseReason, reconnectMs?: number) => readonly [code: number, text: string]

/**
 * The connection of a WebSocket. ws does the handshake, parsing, ping and close; data frames are ours and go to the
 * socket itself. Safe because without compression ws writes whole frames at once, so the two never interleave inside a
 * frame.
 */
export function webSocketConnection(
  { webSocket, socket }: WebSocketChannel,
  codec: Codec,
  codeOf: CloseCodes = closeCode,
): FrameSocket {
  const connection = new FrameSocket(socket, codec, codeOf)
  connection.attach(webSocket)
  return connection
}

/** Of a ping: its number, so that no other pong is taken for its answer. */
const PING_BYTES = 8

/** Hears once whether the peer is there. */
type Answer = (active: boolean) => void

/**
 * No data after a close frame (RFC 6455, section 5.5.1), whoever began; ws ends the socket, and that ends the client.
 * One ping is under way at a time: a peer may leave all but the last unanswered (section 5.5.3), and the `ws` of Node
 * takes many at once for an attack.
 *
 * Its client may be registered before the handshake is answered, so that the answer can state a position. Until
 * `attach`, frames wait here.
 */
export class FrameSocket extends NodeSocket {
  /** Undefined until the handshake is answered. */
  #webSocket: WebSocket | undefined
  /** Frames that came before that: what one flush writes, for it is told `full`. */
  #early: EarlyFrame[] | undefined
  /** The hub has closed it before that. */
  #closing: (() => void) | undefined
  #pings = 0
  /** Pings that were answered. */
  answered = 0
  /** Who waits for the pong to the ping that is under way; undefined: none is. */
  #asked: Answer[] | undefined
  /** Who came since, and will wait for the next. Made with the first question: most sockets are never asked. */
  #asking: Answer[] | undefined

  constructor(socket: Socket, codec: Codec, codeOf: CloseCodes = closeCode) {
    super(socket, {
      protocol: codec.name,
      codec,
      farewell: (reason, reconnectMs) => this.#leave(reason, codeOf(reason, reconnectMs)),
    })
  }

  /** The handshake is answered: what waits goes out. Once. */
  attach(webSocket: WebSocket): void {
    webSocket.on('error', this.onError)
    this.#webSocket = webSocket
    if (this.#asking !== undefined) this.#listen(webSocket)
    this.#closing?.()
    const early = this.#early
    if (early === undefined) return
    this.#early = undefined
    this.writeEarly(early)
  }

  /** Until the peer answers, ws would go on reading what it sends: that is what a flooding peer is closed for. */
  #leave(reason: CloseReason, [code, text]: readonly [code: number, text: string]): void {
    const close = (): void => {
      this.#webSocket!.close(code, closeReason(text))
      if (reason === 'flooding') this.#webSocket!.pause()
    }
    if (this.#webSocket === undefined) this.#closing = close
    else close()
  }

  /** In stream order: whoever answers has read everything before it. */
  ping(answer: Answer): void {
    if (this.#asking === undefined) {
      this.#asking = []
      if (this.#webSocket !== undefined) this.#listen(this.#webSocket)
    }
    this.#asking.push(answer)
    if (this.#asked === undefined) this.#ping()
  }

  /** Does a ping wait for its pong? */
  get asked(): boolean {
    return this.#asked !== undefined
  }

  #ping(): void {
    const payload = Buffer.alloc(PING_BYTES)
    payload.writeDoubleBE(++this.#pings)
    this.#asked = this.#asking ?? []
    this.#asking = []
    if (!this.client?.send(Buffer.from(wsFrame(WS_PING, payload)))) this.#answer(false)
  }

  #listen(webSocket: WebSocket): void {
    webSocket.on('pong', (data: Buffer) => {
      if (data.byteLength !== PING_BYTES || data.readDoubleBE() !== this.#pings || this.#asked === undefined) return
      this.answered++
      this.#answer(true)
      if (this.#asking!.length > 0) this.#ping()
    })
    webSocket.on('close', () => {
      this.#answer(false)
      this.#asked = this.#asking
      this.#asking = []
      this.#answer(false)
    })
  }

  #answer(active: boolean): void {
    const asked = this.#asked ?? []
    this.#asked = undefined
    for (const answer of asked) answer(active)
  }

  override write(frame: Uint8Array, more: boolean): WriteResult {
    const webSocket = this.#webSocket
    if (webSocket === undefined) {
      this.#early ??= []
      this.#early.push({ frame, more })
      return 'full'
    }
    return webSocket.readyState === webSocket.OPEN ? super.write(frame, more) : 'full'
  }
}

/** The hint goes into the text, where people and programs can read it: the protocol has no field for it. */
function closeCode(reason: CloseReason, reconnectMs?: number): readonly [code: number, text: string] {
  const [code, text] = CLOSE_CODES[reason]
  return [code, reconnectMs === undefined ? text : `${reason}: come back in ${reconnectMs} ms`]
}
