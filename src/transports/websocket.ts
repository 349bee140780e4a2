import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { Client, CloseReason, WriteResult } from '../core/connection.ts'
import type { Codec } from '../core/message.ts'
import { WS_PING, wsFrame } from '../wire/ws-frame.ts'
import { wsCodec } from './codecs.ts'
import { silentFor } from './liveness.ts'
import { NodeSocket, type NodeSocketOptions } from './node-socket.ts'
import { type Beat, type Heartbeat, join, type Opening, type Transport } from './transport.ts'

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

/**
 * The connection of a WebSocket. ws does the handshake, parsing, ping and close; data frames are ours and go to the socket itself.
 * Safe because without compression ws writes whole frames at once, so the two never interleave inside a frame.
 */
export function webSocketConnection(
  { webSocket, socket }: WebSocketChannel,
  codec: Codec,
  codeOf: (reason: CloseReason, reconnectMs?: number) => readonly [code: number, text: string] = closeCode,
): FrameSocket {
  webSocket.on('error', ignore)
  return new FrameSocket(webSocket, socket, {
    protocol: codec.name,
    codec,
    farewell(reason, reconnectMs) {
      webSocket.close(...codeOf(reason, reconnectMs))
      // Until the peer answers, ws would go on reading what it sends: that is what it is closed for.
      if (reason === 'flooding') webSocket.pause()
    },
  })
}

/** Of a ping: its number, so that no other pong is taken for its answer. */
const PING_BYTES = 8

/** Hears once whether the peer is there. */
type Answer = (active: boolean) => void

/**
 * No data after a close frame (RFC 6455, section 5.5.1), whoever began; ws ends the socket, and that ends the client. One ping is under
 * way at a time: a peer may leave all but the last unanswered (section 5.5.3), and the `ws` of Node takes many at once for an attack.
 */
export class FrameSocket extends NodeSocket {
  readonly #webSocket: WebSocket
  #pings = 0
  /** Pings that were answered. */
  answered = 0
  /** Who waits for the pong to the ping that is under way; undefined: none is. */
  #asked: Answer[] | undefined
  /** Who came since, and will wait for the next. Made with the first question: most sockets are never asked. */
  #asking: Answer[] | undefined

  constructor(webSocket: WebSocket, socket: Socket, options: NodeSocketOptions) {
    super(socket, options)
    this.#webSocket = webSocket
  }

  /** In stream order: whoever answers has read everything before it. */
  ping(answer: Answer): void {
    this.#asking ??= this.#listen()
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

  #listen(): Answer[] {
    this.#webSocket.on('pong', (data: Buffer) => {
      if (data.byteLength !== PING_BYTES || data.readDoubleBE() !== this.#pings || this.#asked === undefined) return
      this.answered++
      this.#answer(true)
      if (this.#asking!.length > 0) this.#ping()
    })
    this.#webSocket.on('close', () => {
      this.#answer(false)
      this.#asked = this.#asking
      this.#asking = []
      this.#answer(false)
    })
    return []
  }

  #answer(active: boolean): void {
    const asked = this.#asked ?? []
    this.#asked = undefined
    for (const answer of asked) answer(active)
  }

  override write(frame: Uint8Array, more: boolean): WriteResult {
    return this.#webSocket.readyState === this.#webSocket.OPEN ? super.write(frame, more) : 'full'
  }
}

/** The hint goes into the text, where people and programs can read it: the protocol has no field for it. */
function closeCode(reason: CloseReason, reconnectMs?: number): readonly [code: number, text: string] {
  const [code, text] = CLOSE_CODES[reason]
  return [code, reconnectMs === undefined ? text : `${reason}: come back in ${reconnectMs} ms`]
}

/** ws reports here what a peer did wrong on the wire; it has answered with the right code already. */
function ignore(): void {}

/**
 * Pings in stream order. The pong proves that everything before it was read; nothing else is a pong, neither other traffic nor one with
 * another payload. Without it by the heartbeat's deadline the client is closed as idle. One whose connection is full gets no ping: how long it
 * may stay so is its policy's business, as long as its host is there.
 */
export function keepAlive(
  webSocket: WebSocket,
  connection: FrameSocket,
  client: Client,
  heartbeat: Heartbeat | undefined,
): void {
  if (heartbeat === undefined) return
  // Never a second time, so `once` and what it wraps can be spared.
  webSocket.on('close', heartbeat.add(new PongWatch(connection, client, heartbeat.pongMs)))
}

class PongWatch implements Beat {
  readonly #connection: FrameSocket
  readonly #client: Client
  readonly #pongMs: number
  /** Pongs when it was asked; undefined: it was full, and was not. */
  #before: number | undefined
  #silent = false

  constructor(connection: FrameSocket, client: Client, pongMs: number) {
    this.#connection = connection
    this.#client = client
    this.#pongMs = pongMs
  }

  ping(): void {
    const connection = this.#connection
    this.#before = connection.writable ? connection.answered : undefined
    this.#silent = this.#before === undefined && silentFor(connection) > 0
    if (this.#before !== undefined && !connection.asked) connection.ping(ignore)
  }

  check(): void {
    if (this.#before === this.#connection.answered) this.#client.close('idle')
    else if (this.#silent && silentFor(this.#connection) >= this.#pongMs) this.#client.close('lost')
  }
}

/** Closes as idle who has no subscription and has sent nothing for as long as the heartbeat allows. */
function endIdle(webSocket: WebSocket, client: Client, heartbeat: Heartbeat | undefined): void {
  if (heartbeat === undefined || heartbeat.idleBeats === Number.POSITIVE_INFINITY) return
  let beats = 0
  webSocket.on('message', () => {
    beats = 0
  })
  const stop = heartbeat.add({
    ping() {
      if (++beats > heartbeat.idleBeats) client.close('idle')
    },
  })
  webSocket.on('close', stop)
}

/**
 * One topic a socket: the frames are the messages as published, text for text types, binary for the rest. What the peer sends is the
 * caller's: `message` events may still come while the hub closes, when publishing throws SHUTTING_DOWN; and a socket for which
 * `open` threw is the caller's to close.
 */
export const webSocketTopic: Transport<WebSocketChannel> = {
  name: 'websocket',
  open(channel: WebSocketChannel, opening: Opening) {
    const connection = webSocketConnection(channel, wsCodec)
    const client = join(connection, opening)
    keepAlive(channel.webSocket, connection, client, opening.heartbeat)
    if (opening.topics.length === 0) endIdle(channel.webSocket, client, opening.heartbeat)
    return client
  },
}
