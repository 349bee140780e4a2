import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import * as http from 'node:http'
import type { Socket } from 'node:net'
import { HubError } from '../../core/errors.ts'
import { refuseConnection } from '../malformed.ts'
import { isLast } from '../upgrade.ts'

/** Node keeps this many header lines of a request and drops the rest, which may say how long the body is. */
const MAX_HEADERS = 1000
/** Node never lets these into a header; a head that has one must not be written again. */
const UNWRITABLE = /[\r\n\0]/
const CONNECTION = 'connection'

/** What Node does with each connection of a server. Its http2 and https modules use it in the same way. */
const serveConnection = Reflect.get(http, '_connectionListener') as (this: Server, socket: Socket) => void

/** Node's own: the response that the connection sends now. */
type AnsweringSocket = Socket & { readonly _httpMessage?: ServerResponse | null }

const patched = new WeakSet<Server>()

/**
 * Lets a server ignore every offer to upgrade to something other than a WebSocket (RFC 9110, section 7.8), such as the
 * h2c of the JDK and of `curl --http2`. Node hands all of them to the listeners of `upgrade`, where the request and its
 * body are lost. Here the request goes back to the HTTP parser without the word "upgrade", so routes, bodies,
 * pipelining, keep-alive and timeouts work as for any other request. A WebSocket handshake goes to the listeners, if
 * there are any.
 */
export function ignoreUpgradeOffers(server: Server): void {
  if (patched.has(server)) return
  patched.add(server)
  const emit = server.emit.bind(server) as (event: string | symbol, ...args: unknown[]) => boolean
  const own = (): void => {}
  // Without a listener Node ignores the offer itself, and loses what is pipelined behind it.
  server.on('upgrade', own)
  server.emit = ((event: string | symbol, ...args: unknown[]): boolean => {
    if (event !== 'upgrade') return emit(event, ...args)
    const [request, socket, head] = args as [IncomingMessage, AnsweringSocket, Buffer]
    // A handshake waits too: @fastify/websocket cannot answer on a socket that still has another response, and would
    // leave it open unread.
    whenAnswered(socket, () => {
      if (isWebSocket(request) && server.listenerCount('upgrade') > 1) emit(event, ...args)
      else serveAgain(server, request, socket, head)
    })
    return true
  }) as Server['emit']
}

function isWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === 'websocket'
}

/**
 * Calls back once all earlier requests of the connection are answered. Behind a last answer the connection is cut, as
 * elsewhere.
 */
function whenAnswered(socket: AnsweringSocket, next: () => void): void {
  const { _httpMessage: ahead } = socket
  if (socket.destroyed) {
    // Its error may be still to come.
    socket.on('error', ignore)
    return
  }
  if (ahead === null || ahead === undefined) {
    next()
    return
  }
  if (isLast(ahead)) {
    socket.destroy()
    return
  }
  // Node has stopped to look after the connection: until the answer is out, this does.
  const drain = (): void => void socket._httpMessage?.emit('drain')
  socket.on('error', ignore).on('drain', drain)
  ahead.once('close', () => {
    socket.off('error', ignore).off('drain', drain)
    whenAnswered(socket, next)
  })
}

function serveAgain(server: Server, request: IncomingMessage, socket: Socket, rest: Buffer): void {
  const head = headOf(request)
  if (head === undefined) {
    const told = `headers: a request may have at most ${MAX_HEADERS - 1} of them`
    refuseConnection(socket, new HubError('HEADERS_TOO_MANY', told))
    return
  }
  socket.unshift(Buffer.concat([head, rest]))
  serveConnection.call(server, socket)
}

/** The head as it came, without the word that makes it an offer. Undefined: some of it is not known. */
function headOf({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer | undefined {
  if (rawHeaders.length / 2 >= MAX_HEADERS) return undefined
  let head = `${method} ${url} HTTP/${httpVersion}\r\n`
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!
    const value = rawHeaders[at + 1]!
    if (UNWRITABLE.test(name) || UNWRITABLE.test(value)) return undefined
    head += `${name}: ${name.toLowerCase() === CONNECTION ? withoutUpgrade(value) : value}\r\n`
  }
  return Buffer.from(`${head}\r\n`, 'latin1')
}

function withoutUpgrade(value: string): string {
  return value
    .split(',')
    .filter(token => token.trim().toLowerCase() !== 'upgrade')
    .join(',')
}

/** An error that no listener hears would end the process; the connection is closed by it in any case. */
function ignore(): void {}
