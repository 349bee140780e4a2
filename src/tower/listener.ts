import { ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { HubError } from '../core/errors.ts'
import type { Codec } from '../core/message.ts'
import { chunked } from '../transports/codecs.ts'
import { ResponseSocket, STREAM_HEADERS } from '../transports/http-stream.ts'
import { NodeSocket } from '../transports/node-socket.ts'
import { tcpProbe } from '../transports/tcp-probe.ts'
import type { Bound } from '../transports/transport.ts'
import { LAST_CHUNK } from '../wire/http-framing.ts'
import { type Retries, SendConnection } from './send-connection.ts'
import { countSent, endSocket, isSendSocket, listenTo, type SendSocket } from './send-socket.ts'

/** What a tower feeds [H4]. */
export type TowerSocket = Socket | ServerResponse | SendSocket

export interface Listener {
  readonly connection: Bound
  readonly address: string | undefined
  /** Once it is registered: begins the response, and listens for its end. `gone`: the peer has left [H8]. */
  begin(gone: () => void): void
}

export interface ListenerOptions {
  /** Of a response whose head is not written yet. */
  readonly contentType: string
  readonly codec: Codec
  /** May an HTTP/1.1 response be chunked? */
  readonly chunked: boolean
  readonly retries: Retries
  /** What the kernel may take beyond what is in flight, where it can be told; 0: as the system has it. */
  readonly notSentLowatBytes: number
}

/**
 * Makes a connection of whatever it is; undefined where the peer has gone already. Throws REQUEST_INVALID for what
 * nobody can feed.
 */
export function listenerOf(socket: TowerSocket, options: ListenerOptions): Listener | undefined {
  if (socket instanceof ServerResponse) return ofResponse(socket, options)
  if (socket instanceof Socket) return ofSocket(socket, options)
  if (isSendSocket(socket)) return ofSendSocket(socket, options)
  const what = socket === null ? 'null' : typeof socket
  throw new HubError(
    'REQUEST_INVALID',
    `socket: a listener is a net.Socket, a ServerResponse or an object with send(data), not ${what}`,
  )
}

function ofSocket(socket: Socket, { codec, notSentLowatBytes }: ListenerOptions): Listener | undefined {
  if (socket.destroyed || !socket.writable || socket.readableEnded) return undefined
  const connection = new NodeSocket(socket, { protocol: 'tcp', codec, farewell: () => socket.end() })
  return {
    connection,
    address: socket.remoteAddress,
    begin(gone) {
      // Nobody reads what a listener says, but without reading its end would not be seen before the next write.
      socket.once('end', gone)
      socket.resume()
      bound(socket, notSentLowatBytes)
    },
  }
}

function ofResponse(response: ServerResponse, options: ListenerOptions): Listener | undefined {
  if (response.destroyed || response.socket?.destroyed) return undefined
  const { socket } = response
  if (response.writableEnded) throw refused('has ended')
  if (socket === null) throw refused('waits behind an earlier one on the same connection')
  if (response.req.method === 'HEAD') throw refused('answers HEAD and has no body')
  if (BODILESS.has(response.statusCode)) throw refused(`has the status ${response.statusCode}, which has no body`)
  if (hasLength(response)) throw refused('has a content-length, and a stream has none')
  const chunks = response.headersSent ? response.chunkedEncoding : response.req.httpVersion !== '1.0' && options.chunked
  const farewell = (): void => {
    if (chunks) socket.write(LAST_CHUNK)
    socket.end()
  }
  const codec = chunks ? inChunks(options.codec) : options.codec
  const connection = new ResponseSocket(socket, { protocol: 'http-stream', codec, farewell }, () => {
    if (!response.headersSent) writeHead(response, options.contentType, chunks)
    response.flushHeaders()
  })
  return {
    connection,
    address: socket.remoteAddress,
    begin(gone) {
      connection.begin()
      // A program may end its response itself: the connection may live on, and belongs to the next one.
      response.once('finish', gone)
      // A body that nobody reads would hide the peer's end behind it.
      response.req.resume()
      bound(socket, options.notSentLowatBytes)
    },
  }
}

/** Left alone, the kernel takes megabytes for a listener that reads nothing: of a thin stream, minutes. */
function bound(socket: Socket, notSentLowatBytes: number): void {
  if (notSentLowatBytes > 0) tcpProbe()?.tune(socket, { notSentLowatBytes })
}

/** Statuses whose response ends with its head (RFC 9110, section 6.4.1). */
const BODILESS = new Set([204, 205, 304])

/** One that was given to `writeHead` is in the head alone, which Node does not show otherwise. */
function hasLength(response: ServerResponse): boolean {
  const { _header: head } = response as ServerResponse & { _header?: string | null }
  return response.hasHeader('content-length') || /^content-length:/im.test(head ?? '')
}

function refused(why: string): HubError {
  return new HubError('REQUEST_INVALID', `socket: this response ${why}`)
}

function writeHead(response: ServerResponse, contentType: string, chunks: boolean): void {
  for (const [name, value] of Object.entries({ 'content-type': contentType, ...STREAM_HEADERS })) {
    if (!response.hasHeader(name)) response.setHeader(name, value)
  }
  if (!chunks) response.removeHeader('transfer-encoding')
  response.writeHead(response.statusCode, { connection: 'close', ...(chunks && { 'transfer-encoding': 'chunked' }) })
}

/** One for each codec: its identity is the key of the encode-once cache. */
const inChunksOf = new WeakMap<Codec, Codec>()

function inChunks(codec: Codec): Codec {
  const known = inChunksOf.get(codec) ?? chunked(codec)
  inChunksOf.set(codec, known)
  return known
}

function ofSendSocket(socket: SendSocket, { codec, retries }: ListenerOptions): Listener | undefined {
  if (socket.destroyed === true) return undefined
  let stop = (): void => {}
  const connection: SendConnection = new SendConnection(
    {
      protocol: 'send',
      offer: (bytes, taken) => taken(countSent(socket, bytes)),
      end(reason) {
        stop()
        endSocket(socket, reason)
      },
    },
    codec,
    retries,
  )
  return {
    connection,
    address: undefined,
    begin() {
      stop = listenTo(socket, [
        ['drain', () => connection.retry()],
        ['error', () => connection.lost('lost')],
        ['end', () => connection.lost('peer')],
        ['close', () => connection.lost('peer')],
      ])
    },
  }
}
