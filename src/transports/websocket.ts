import type { Socket } from 'node:net'
import type { WebSocket } from 'ws'
import type { Client } from '../core/connection.ts'
import type { Subscription } from '../core/contract.ts'
import { HubError } from '../core/errors.ts'
import type { Codec } from '../core/message.ts'
import { wsCodec, wsGapsCodec, wsNotice } from './codecs.ts'
import { FrameSocket, type WebSocketChannel, webSocketConnection } from './frame-socket.ts'
import type { Beat, Heartbeat } from './heartbeat.ts'
import { silentFor } from './liveness.ts'
import { heartbeatOf, join, type Opening, positionNotice, type Transport, unknownGap } from './transport.ts'

/**
 * Pings in stream order. The pong proves that everything before it was read; nothing else is a pong, neither other
 * traffic nor one with another payload. Without it by the heartbeat's deadline the client is closed as idle. One whose
 * connection is full gets no ping: how long it may stay so is its policy's business, as long as its host is there.
 */
export function keepAlive(
  webSocket: WebSocket,
  connection: FrameSocket,
  client: Client,
  heartbeat: Heartbeat | undefined,
): void {
  if (heartbeat === undefined) return
  // Never a second time, so `once` and what it wraps can be spared.
  webSocket.on('close', heartbeat.add(new PongWatch(webSocket, connection, client, heartbeat.pongMs)))
}

/** Those that were not read for a while since their last ping: a pong may be unread. */
const heldBack = new WeakSet<WebSocket>()

/** Stops reading until `resume`: the peer's pong cannot be seen meanwhile, so it is not judged by it. */
export function holdReading(webSocket: WebSocket): void {
  heldBack.add(webSocket)
  webSocket.pause()
}

class PongWatch implements Beat {
  readonly #webSocket: WebSocket
  readonly #connection: FrameSocket
  readonly #client: Client
  readonly #pongMs: number
  /** Pongs when it was asked; undefined: it was full, and was not. */
  #before: number | undefined
  #silent = false

  constructor(webSocket: WebSocket, connection: FrameSocket, client: Client, pongMs: number) {
    this.#webSocket = webSocket
    this.#connection = connection
    this.#client = client
    this.#pongMs = pongMs
  }

  ping(): void {
    const connection = this.#connection
    this.#before = connection.writable ? connection.answered : undefined
    this.#silent = this.#before === undefined && silentFor(connection) > 0
    if (!this.#webSocket.isPaused) heldBack.delete(this.#webSocket)
    if (this.#before !== undefined && !connection.asked) connection.ping(() => {})
  }

  check(): void {
    const unread = this.#webSocket.isPaused || heldBack.has(this.#webSocket)
    if (this.#before === this.#connection.answered && !unread) this.#client.close('idle')
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
      if (webSocket.isPaused) beats = 0
      else if (++beats > heartbeat.idleBeats) client.close('idle')
    },
  })
  webSocket.on('close', stop)
}

/** How a WebSocket of one topic says things. */
interface Form {
  readonly codec: Codec
  readonly begun?: ((subscription: Subscription, opening: Opening) => Uint8Array) | undefined
}

const PLAIN: Form = { codec: wsCodec }

/** A page is told where it begins too: browsers do not show the headers of the handshake. */
const WITH_GAPS: Form = {
  codec: wsGapsCodec,
  begun(subscription, { topics }) {
    const asked = topics[0]!.options?.after !== undefined
    const begins = wsNotice('position', positionNotice(subscription, asked))
    const gap = unknownGap(subscription, asked)
    return gap ? Buffer.concat([begins, wsNotice('gap', gap)]) : begins
  },
}

function transportOf(name: string, form: Form): Transport<WebSocketChannel> {
  return {
    name,
    open(channel, opening) {
      const connection = webSocketConnection(channel, form.codec)
      const { begun } = form
      const beginning = begun && { begun: (subscription: Subscription) => begun(subscription, opening) }
      return keepOpen(channel.webSocket, connection, join(connection, opening, beginning), opening)
    },
  }
}

/**
 * One topic a socket: the frames are the messages as published, text for text types, binary for the rest. What the peer
 * sends is the caller's: `message` events may still come while the hub closes, when publishing throws SHUTTING_DOWN;
 * and a socket for which `open` threw is the caller's to close. A loss cannot be told.
 */
export const webSocketTopic: Transport<WebSocketChannel> = transportOf('websocket', PLAIN)

/**
 * The same, and it tells losses: every binary frame is a message, and every text frame is a JSON object that is none.
 * `{"position": {topic, position, recovered?}}` comes first, `{"gap": {topic, from, to, count, reason}}` before the
 * next message after a loss, and `{"direct": {contentType, text | base64}}` is a message for this client alone.
 */
export const webSocketTopicWithGaps: Transport<WebSocketChannel> = transportOf('websocket-gaps', WITH_GAPS)

/** A client of one topic whose handshake is still to be answered. */
export interface EarlySocket {
  readonly client: Client
  /** Where it begins, and whether that is everything it asked for: the answer to the handshake may promise it. */
  readonly subscription: Subscription | undefined
  /** The handshake is answered, and the client's frames go out. */
  answered(webSocket: WebSocket): Client
}

/**
 * Registers and subscribes before the handshake is answered, so that no message can be lost between the position that
 * the answer states and the subscription. The client ends with the socket, if the handshake fails. Throws what
 * Transport.open throws, and CONNECTION_STALE where the peer has gone.
 */
export function openEarly(socket: Socket, opening: Opening, gaps: boolean): EarlySocket {
  if (socket.destroyed) throw new HubError('CONNECTION_STALE', 'the peer has closed the connection')
  const { codec, begun } = gaps ? WITH_GAPS : PLAIN
  let subscription: Subscription | undefined
  const connection = new FrameSocket(socket, codec)
  const client = join(connection, opening, {
    begun(begins) {
      subscription = begins
      return begun?.(begins, opening)
    },
  })
  return {
    client,
    subscription,
    answered(webSocket) {
      connection.attach(webSocket)
      return keepOpen(webSocket, connection, client, opening)
    },
  }
}

function keepOpen(webSocket: WebSocket, connection: FrameSocket, client: Client, opening: Opening): Client {
  const heartbeat = heartbeatOf(opening)
  keepAlive(webSocket, connection, client, heartbeat)
  if (opening.topics.length === 0) endIdle(webSocket, client, heartbeat)
  return client
}
