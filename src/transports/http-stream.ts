import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Client, CloseReason, WriteResult } from '../core/connection.ts'
import type { Subscription } from '../core/contract.ts'
import { HubError } from '../core/errors.ts'
import type { Codec } from '../core/message.ts'
import { httpChunk, LAST_CHUNK, multipartStart } from '../wire/http-framing.ts'
import { BOUNDARY, httpCodecs } from './codecs.ts'
import { watchHost } from './liveness.ts'
import { type EarlyFrame, NodeSocket, type NodeSocketOptions } from './node-socket.ts'
import { type Beginning, formatPosition, heartbeatOf, join, type Opening, type Transport } from './transport.ts'

export interface StreamHead {
  readonly protocol: string
  readonly codecs: { readonly chunked: Codec; readonly bare: Codec }
  readonly headers: Readonly<Record<string, string>>
  /** Bytes of the body that come before all messages. */
  readonly first?: Uint8Array | undefined
  /** Bytes of the body that say where a topic begins. */
  readonly begun?: Beginning['begun']
  /** Bytes of the body that come last, if the end is ours. */
  readonly last?: ((reason: CloseReason, reconnectMs: number | undefined) => Uint8Array) | undefined
}

/**
 * Of every endless response: no cache keeps it, and no proxy holds it back, neither to compress it (`no-transform`) nor
 * to fill a buffer.
 */
export const STREAM_HEADERS = {
  'cache-control': 'no-store, no-transform',
  'x-accel-buffering': 'no',
  'x-content-type-options': 'nosniff',
} as const

/**
 * The head goes first, and nothing goes out before `begin`: where a subscription is refused, the peer gets the error
 * instead. Frames that come before wait here and in the core.
 */
export class ResponseSocket extends NodeSocket {
  /** Undefined once the head is written: it holds on to the request. */
  #begin: (() => void) | undefined
  /** Frames that came before the head: what one flush writes, because the core is told `full`. */
  #early: EarlyFrame[] | undefined

  /** @param begin writes the head */
  constructor(socket: Socket, options: NodeSocketOptions, begin: () => void) {
    super(socket, {
      ...options,
      farewell: (reason, reconnectMs) => {
        this.begin()
        options.farewell(reason, reconnectMs)
      },
    })
    this.#begin = begin
  }

  /** Once the client is registered and subscribed. Idempotent. */
  begin(): void {
    const begin = this.#begin
    this.#begin = undefined
    begin?.()
    const early = this.#early
    if (early === undefined) return
    this.#early = undefined
    this.writeEarly(early)
  }

  override write(frame: Uint8Array, more: boolean): WriteResult {
    if (this.#begin === undefined) return super.write(frame, more)
    this.#early ??= []
    this.#early.push({ frame, more })
    return 'full'
  }
}

const NOTHING = new Uint8Array(0)

/** Is the body in chunks, or bare? */
export function isChunked({ req }: ServerResponse): boolean {
  return req.httpVersion !== '1.0'
}

/**
 * In a function of its own: a closure keeps all that the closures of its function use, and this one lives as long as
 * the stream.
 */
function farewellOf(socket: Socket, chunks: boolean, last: StreamHead['last']): NodeSocketOptions['farewell'] {
  return (reason, reconnectMs) => {
    const bytes = last?.(reason, reconnectMs)
    if (bytes) socket.write(chunks ? httpChunk(bytes) : bytes)
    // The end itself must not wait below the stream, where it could not be cut short (resetSocket).
    socket.write(chunks ? LAST_CHUNK : NOTHING, () => socket.end())
  }
}

export interface OpenStream {
  readonly client: Client
  readonly connection: NodeSocket
  /** Puts bytes of the body into the form that goes over the wire. */
  readonly frame: (bytes: Uint8Array) => Uint8Array
}

/**
 * The connection of a response that will have no end. Throws CONNECTION_STALE and REQUEST_INVALID where its end could
 * not be seen.
 */
export function socketForStream({ socket, destroyed }: ServerResponse): Socket {
  // Node lets go of the socket of an answered response only: this one may be closed, and would never report its end.
  if (destroyed || socket?.destroyed) throw new HubError('CONNECTION_STALE', 'the peer has closed the connection')
  // It waits for its turn behind an answer on the same connection; or what came behind it was so much that Node reads
  // no further, and would not see the peer go.
  if (!socket || socket.isPaused()) {
    throw new HubError(
      'REQUEST_INVALID',
      'request: a stream cannot be pipelined behind another request of its connection',
    )
  }
  return socket
}

/**
 * Begins an endless response and gives its socket to the core. HTTP/1.1 gets chunks, so that an end is told from a cut;
 * HTTP/1.0 gets the bare bytes until the connection closes. The head tells where a single topic begins.
 */
export function openStream(response: ServerResponse, opening: Opening, head: StreamHead): OpenStream {
  const socket = socketForStream(response)
  const chunks = isChunked(response)
  const frame = (bytes: Uint8Array): Uint8Array => (chunks ? httpChunk(bytes) : bytes)
  const options = {
    protocol: head.protocol,
    codec: chunks ? head.codecs.chunked : head.codecs.bare,
    farewell: farewellOf(socket, chunks, head.last),
  }
  let position: Record<string, string> | undefined
  const connection = new ResponseSocket(socket, options, () => {
    response.writeHead(200, {
      ...STREAM_HEADERS,
      'hubline-client': opening.clientId,
      ...position,
      connection: 'close',
      ...(chunks && { 'transfer-encoding': 'chunked' }),
      ...head.headers,
      ...opening.headers,
    })
    response.flushHeaders()
  })
  const { topics } = opening
  const heartbeat = heartbeatOf(opening)
  const client = join(connection, opening, {
    first: head.first && frame(head.first),
    begun(subscription) {
      if (topics.length === 1) position = positionHeaders(subscription, topics[0]!.options?.after !== undefined)
      const bytes = head.begun?.(subscription)
      return bytes && frame(bytes)
    },
  })
  connection.begin()
  // Where nothing is written, nobody would find out that the peer has vanished.
  if (heartbeat) connection.keepAlive(heartbeat.everyMs)
  return { client, connection, frame }
}

/** @param asked it was to resume somewhere, and is told whether it does */
export function positionHeaders({ position, recovered }: Subscription, asked: boolean): Record<string, string> {
  return { 'hubline-position': formatPosition(position), ...(asked && { 'hubline-recovered': `${recovered}` }) }
}

/** In a function of its own, as what listens to a stream must not keep what opened it. */
function watchStream(response: ServerResponse, { client, connection }: OpenStream, opening: Opening): Client {
  const heartbeat = heartbeatOf(opening)
  if (heartbeat) response.on('close', watchHost(connection, client, heartbeat))
  return client
}

/** The bytes as published, one after the other: for curl, players, anything that reads a socket. */
export const httpStream: Transport<ServerResponse> = {
  name: 'http-stream',
  open(response, opening) {
    const { contentType, preamble } = describeTopic(opening)
    const stream = openStream(response, opening, {
      protocol: 'http-stream',
      codecs: httpCodecs.raw,
      headers: { 'content-type': contentType ?? 'application/octet-stream' },
      first: preamble,
    })
    return watchStream(response, stream, opening)
  },
}

function multipartOf(codecs: StreamHead['codecs'], firstHead: boolean): Transport<ServerResponse> {
  return {
    name: 'multipart',
    open(response, opening) {
      const { contentType = 'image/jpeg' } = firstHead ? describeTopic(opening) : {}
      const stream = openStream(response, opening, {
        protocol: 'multipart',
        codecs,
        headers: { 'content-type': `multipart/x-mixed-replace; boundary=${BOUNDARY}` },
        first: multipartStart(BOUNDARY, firstHead ? contentType : undefined),
      })
      return watchStream(response, stream, opening)
    },
  }
}

/** Each message replaces the one before: a live picture. */
export const multipart: Transport<ServerResponse> = multipartOf(httpCodecs.multipart, false)

/** The same for `<img src="/topics/camera">`: Chromium shows each picture at once, also one that no other follows. */
export const multipartImage: Transport<ServerResponse> = multipartOf(httpCodecs.multipartImage, true)

function describeTopic({ hub, topics }: Opening) {
  const name = topics[0]?.name ?? ''
  const { contentType, preamble } = hub.resolveTopic(name)
  return { contentType: contentType ?? hub.getTopic(name)?.contentType, preamble }
}
