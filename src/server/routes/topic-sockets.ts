import type { IncomingMessage } from 'node:http'
import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import type { WebSocket } from 'ws'
import type { Client } from '../../core/connection.ts'
import { HubError } from '../../core/errors.ts'
import type { TopicName } from '../../core/ids.ts'
import type { Session } from '../../core/sessions.ts'
import { eventLoop } from '../../event-loop.ts'
import { isRefusedByHook } from '../../sending/before-publish.ts'
import { contentTypeOf } from '../../sending/content-type.ts'
import { CLOSE_CODES, closeReason } from '../../transports/frame-socket.ts'
import { positionHeaders } from '../../transports/http-stream.ts'
import { flooded, type InboundLimit, type Opening, PUBLISH_WINDOW } from '../../transports/transport.ts'
import { turnTime } from '../../transports/turn-time.ts'
import {
  type EarlySocket,
  holdReading,
  openEarly,
  webSocketTopic,
  webSocketTopicWithGaps,
} from '../../transports/websocket.ts'
import type { HubContext } from '../context.ts'
import { toHubError } from '../errors.ts'
import { checkPublisher, owned, reasonOf } from '../long-publishing.ts'

/** RFC 6455, section 7.4.1: what ws itself answers to a frame over its own limit. */
const TOO_BIG = 1009

/** The clients that were opened before their handshakes are answered. */
const earlySockets = new WeakMap<IncomingMessage, EarlySocket>()

/**
 * Subscribes a WebSocket that wants to begin somewhere, before its handshake is answered: the answer states where it
 * begins, and nothing can be trimmed between the statement and the subscription. Throws HubErrors, which become a
 * status.
 */
export function beginSocket(context: HubContext, request: FastifyRequest, opening: Opening): void {
  const early = context.opening(request, opening.clientId, () =>
    openEarly(request.raw.socket, opening, request.subscriber!.gaps),
  )
  earlySockets.set(request.raw, early)
}

/** For ws, as it answers a handshake: where the client begins, and whether that is everything it asked for. */
export function addStart(lines: string[], request: IncomingMessage): void {
  const subscription = earlySockets.get(request)?.subscription
  if (subscription === undefined) return
  for (const [name, value] of Object.entries(positionHeaders(subscription, true))) lines.push(`${name}: ${value}`)
}

/** Makes a client of a WebSocket whose handshake was answered, or closes it. */
export function openSocket(context: HubContext, webSocket: WebSocket, request: FastifyRequest, opening: Opening): void {
  const { role, topics, gaps } = request.subscriber!
  let client: Client
  context.release(webSocket, request)
  try {
    client =
      earlySockets.get(request.raw)?.answered(webSocket) ??
      context.opening(request, opening.clientId, () =>
        (gaps ? webSocketTopicWithGaps : webSocketTopic).open({ webSocket, socket: request.raw.socket }, opening),
      )
  } catch (error) {
    const refused = toHubError(error)
    const { code, message } = refused
    if (error instanceof HubError) context.rejections.request(refused, request)
    const [closeCode] = code === 'LIMIT_EXCEEDED' ? CLOSE_CODES.overloaded : CLOSE_CODES.denied
    webSocket.close(closeCode, closeReason(message))
    return
  }
  if (role === 'subscriber') {
    refuseFrames(webSocket, client)
    return
  }
  const publisher = new SocketPublisher(context, {
    ...{ webSocket, client, topic: topics[0]!, log: request.log },
    publisher: { client: client.id, session: request.hubSession! },
  })
  takeFrames(webSocket, client, publisher, context.edge.inbound(request))
}

/** A function of its own: what the listener keeps is this and not the request. */
function takeFrames(webSocket: WebSocket, client: Client, publisher: SocketPublisher, inbound: InboundLimit): void {
  webSocket.on('message', (data: Buffer, binary) => {
    // What ws has read already goes on coming after the close.
    if (client.closed) return
    if (inbound.take(data.byteLength)) publisher.take(data, binary)
    else publisher.flood()
  })
}

/** A function of its own, as all that leave a listener behind: what the listener keeps is this and not the request. */
function refuseFrames(webSocket: WebSocket, client: Client): void {
  webSocket.on('message', () => client.close('protocol'))
}

interface PublishingSocket {
  readonly webSocket: WebSocket
  readonly client: Client
  /** One object, so that a hook keeps the publications of this client in order. */
  readonly publisher: { readonly client: string; readonly session: Session }
  readonly topic: TopicName
  readonly log: FastifyBaseLogger
}

/**
 * Publishes the frames of one WebSocket, in their order. A broker that has not settled as much as the window holds is
 * given nothing more: the socket is not read, and the peer's own writes wait. What ws has read already waits here,
 * which is one read of the socket.
 */
class SocketPublisher {
  readonly #context: HubContext
  readonly #socket: PublishingSocket
  #waiting: { readonly frame: Buffer; readonly binary: boolean }[] = []
  #inFlight = 0
  #inFlightBytes = 0

  constructor(context: HubContext, socket: PublishingSocket) {
    this.#context = context
    this.#socket = socket
  }

  take(frame: Buffer, binary: boolean): void {
    if (this.#waiting.length === 0 && this.#hasRoom) this.#publish(frame, binary)
    else this.#wait(frame, binary)
  }

  /** The peer sends more than it may: nothing that waits is published, and its socket stays unread. */
  flood(): void {
    const { client, log } = this.#socket
    this.#waiting = []
    this.#context.rejections.client(flooded(), client.id, log)
    client.close('flooding')
  }

  get #hasRoom(): boolean {
    return !turnTime.over && this.#inFlight < PUBLISH_WINDOW.messages && this.#inFlightBytes < PUBLISH_WINDOW.bytes
  }

  #wait(frame: Buffer, binary: boolean): void {
    if (this.#waiting.length === 0) {
      holdReading(this.#socket.webSocket)
      this.#nextTurn()
    }
    this.#waiting.push({ frame, binary })
  }

  #nextTurn(): void {
    eventLoop.defer(() => this.#next())
  }

  #publish(frame: Buffer, binary: boolean): void {
    const { publisher, topic } = this.#socket
    const { hub } = this.#context
    const data = owned(frame)
    try {
      checkPublisher(this.#context, publisher.session, topic)
      const known = hub.resolveTopic(topic).contentType
      const contentType = known ?? (binary ? 'application/octet-stream' : contentTypeOf(undefined, undefined, data))
      const accepted = hub.publishBytes(topic, data, { contentType, publisher })
      if (accepted instanceof Promise) void this.#settle(accepted, data.byteLength)
    } catch (error) {
      this.#refuse(error)
    }
  }

  async #settle(accepted: Promise<unknown>, bytes: number): Promise<void> {
    this.#inFlight++
    this.#inFlightBytes += bytes
    try {
      await accepted
    } catch (error) {
      this.#refuse(error)
    }
    this.#inFlight--
    this.#inFlightBytes -= bytes
    this.#next()
  }

  #next(): void {
    if (this.#waiting.length === 0) return
    let taken = 0
    for (; taken < this.#waiting.length && this.#hasRoom; taken++) {
      const { frame, binary } = this.#waiting[taken]!
      this.#publish(frame, binary)
    }
    this.#waiting.splice(0, taken)
    if (this.#waiting.length === 0) this.#socket.webSocket.resume()
    else if (turnTime.over) this.#nextTurn()
  }

  /**
   * The peer cannot be told which publication is refused: it is closed, and nothing that waits is published. A hook
   * refuses one alone.
   */
  #refuse(error: unknown): void {
    const { webSocket, client, log } = this.#socket
    const refused = toHubError(error)
    this.#context.rejections.client(refused, client.id, log)
    if (isRefusedByHook(error)) return
    this.#waiting = []
    if (refused.code === 'MESSAGE_TOO_LARGE') webSocket.close(TOO_BIG, closeReason(refused.message))
    else client.close(reasonOf(refused))
  }
}
