import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { type ErrorCode, HubError } from '../core/errors.ts'
import type { HubContext } from './context.ts'
import { errorBody } from './errors.ts'
import { linger, lingerAfterAnswer } from './linger.ts'

/** Of Node: what has happened, and what we say of it. All else is no HTTP. */
const REFUSALS: Readonly<Record<string, readonly [code: ErrorCode, message: string]>> = {
  ERR_HTTP_REQUEST_TIMEOUT: ['REQUEST_TIMEOUT', 'headers: they did not come in time; send them at once'],
  HPE_HEADER_OVERFLOW: ['HEADERS_TOO_MANY', 'headers: the request line and all headers may have 16 KiB together'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ['MESSAGE_TOO_LARGE', 'body: the extensions of a chunk may have 16 KiB'],
}
const MALFORMED = ['REQUEST_INVALID', 'request: it is not HTTP/1.1 as RFC 9112 has it'] as const

/**
 * Fastify's handler for what no request could be made of. The connection ends with it: where the next request would
 * begin nobody knows. `context` counts it.
 */
export function malformed(context: () => HubContext): (error: Error & { code?: string }, socket: Socket) => void {
  return (error, socket) => {
    const refused = new HubError(...(REFUSALS[error.code ?? ''] ?? MALFORMED))
    const { edge, rejections } = context()
    if (refused.code === 'REQUEST_TIMEOUT') edge.count('headersMs')
    // Browsers open connections that they may not need.
    if (socket.bytesRead > 0) rejections.connection(refused, socket.remoteAddress)
    // In the middle of an answer ours would be a part of that.
    if (!socket.writable || inAnswer(socket)) {
      socket.destroy(error)
      return
    }
    refuseConnection(socket, refused)
  }
}

/** Node would answer an `Expect` other than 100-continue itself, without a word and uncounted. */
export function refuseExpectations(server: Server, context: () => HubContext): void {
  server.on('checkExpectation', ({ socket }: IncomingMessage, response: ServerResponse) => {
    const refused = new HubError('EXPECTATION_FAILED', 'expect: this server knows 100-continue alone; leave it out')
    context().rejections.connection(refused, socket.remoteAddress)
    lingerAfterAnswer(socket)
    const headers = { 'content-type': 'application/json; charset=utf-8', connection: 'close' }
    response.writeHead(refused.status, headers).end(JSON.stringify(errorBody(refused)))
  })
}

/** Node's own, of a connection: what is being answered on it. */
function inAnswer(socket: Socket): boolean {
  return (socket as Socket & { _httpMessage?: ServerResponse | null })._httpMessage?.headersSent === true
}

/** The answer to what no request can be made of, and the end of the connection. */
export function refuseConnection(socket: Socket, error: HubError): void {
  socket.write(answer(error))
  linger(socket)
}

function answer(error: HubError): string {
  const { status } = error
  const body = JSON.stringify(errorBody(error))
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ]
  return `${lines.join('\r\n')}\r\n\r\n${body}`
}
