import type { FastifyContextConfig, FastifyRequest } from 'fastify'
import { HubError } from '../core/errors.ts'

/** Node keeps the first 1000 header lines of a request and drops the others without a word. */
const MAX_HEADERS = 1000

declare module 'fastify' {
  interface FastifyContextConfig {
    /** This route may be opened as a WebSocket. */
    socket?: 'only' | 'also'
  }
}

/**
 * The gate that every request passes before any route. @fastify/websocket would answer 101 to an upgrade of any GET route, and ws
 * to HTTP/1.0, to version 8 and to a request with a body (which would then be read as frames): all of that is refused here,
 * before 101 is said.
 */
export function checkRequest(request: FastifyRequest, { socket }: FastifyContextConfig): void {
  const { raw } = request
  if (raw.rawHeaders.length / 2 >= MAX_HEADERS) {
    throw new HubError('HEADERS_TOO_MANY', `headers: a request may have at most ${MAX_HEADERS - 1} of them`)
  }
  if (!request.ws) {
    if (socket === 'only') {
      throw new HubError(
        'UPGRADE_REQUIRED',
        `${request.url.split('?')[0]} is a WebSocket: connect with ws:// and not with http://`,
      )
    }
    return
  }
  refuse(request, socket)
  if (raw.headers.upgrade?.toLowerCase() !== 'websocket') {
    throw new HubError('UPGRADE_INVALID', 'upgrade: only websocket is spoken here')
  }
  if (raw.httpVersion !== '1.1') {
    throw new HubError(
      'UPGRADE_INVALID',
      `a WebSocket opens with HTTP/1.1, not HTTP/${raw.httpVersion} (RFC 6455, section 4.1)`,
    )
  }
  if (raw.headers['content-length'] !== undefined || raw.headers['transfer-encoding'] !== undefined) {
    throw new HubError('UPGRADE_INVALID', 'a request that opens a WebSocket has no body')
  }
  if (raw.headers['sec-websocket-version'] !== '13') {
    throw new HubError('UPGRADE_INVALID', 'sec-websocket-version: only 13 is spoken here (RFC 6455)')
  }
}

/** @fastify/websocket would answer 101 to an upgrade of any GET route, and then close. */
export function refuseUpgrade(request: FastifyRequest, { socket }: FastifyContextConfig): void {
  if (request.ws) refuse(request, socket)
}

/** `routeOptions` are made anew at each look, so the caller looks once. */
function refuse(request: FastifyRequest, socket: 'only' | 'also' | undefined): void {
  if (socket === undefined) {
    throw new HubError('NOT_FOUND', `there is no WebSocket at ${request.method} ${request.url.split('?')[0]}`)
  }
}
