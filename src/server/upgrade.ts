import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyContextConfig, FastifyReply, FastifyRequest } from 'fastify'
import { HubError } from '../core/errors.ts'

/** Node keeps the first 1000 header lines of a request and drops the others without a word. */
const MAX_HEADERS = 1000

/** Set on a response that will have no end, from the moment it is asked for. */
const ENDLESS = Symbol('endless')
type MarkedResponse = ServerResponse & { [ENDLESS]?: true; readonly _last?: boolean }
/**
 * Node's own: what is being answered, and whether the connection ends with it (`_last`). There since Node 0.x, and
 * tested.
 */
type AnsweringSocket = Socket & { readonly _httpMessage?: MarkedResponse | null }

declare module 'fastify' {
  interface FastifyContextConfig {
    /** This route may be opened as a WebSocket. */
    socket?: 'only' | 'also'
  }
}

/**
 * The gate that every request passes before any route. @fastify/websocket would answer 101 to an upgrade of any GET
 * route, and ws to HTTP/1.0, to version 8 and to a request with a body (which would then be read as frames): all of
 * that is refused here, before 101 is said.
 */
export function checkRequest(
  request: FastifyRequest,
  reply: FastifyReply,
  { socket, opensClient }: FastifyContextConfig,
): void {
  const { raw } = request
  if (raw.rawHeaders.length / 2 >= MAX_HEADERS) {
    throw new HubError('HEADERS_TOO_MANY', `headers: a request may have at most ${MAX_HEADERS - 1} of them`)
  }
  if (countHosts(raw.rawHeaders) > 1) {
    reply.header('connection', 'close')
    throw new HubError('REQUEST_INVALID', 'host: a request has one')
  }
  if (!request.ws) {
    checkBody(request)
    if (opensClient && raw.method === 'GET') (reply.raw as MarkedResponse)[ENDLESS] = true
    if (socket === 'only') {
      throw new HubError(
        'UPGRADE_REQUIRED',
        `${request.url.split('?')[0]} is a WebSocket: connect with ws:// and not with http://`,
      )
    }
    return
  }
  refuse(request, socket)
  if (raw.httpVersion !== '1.1') {
    throw new HubError(
      'UPGRADE_INVALID',
      `a WebSocket opens with HTTP/1.1, not HTTP/${raw.httpVersion} (RFC 6455, section 4.1)`,
    )
  }
  checkHandshake(raw.headers, reply)
}

/** What ws would reject with a page of its own, or take in a way that RFC 6455 does not allow. */
function checkHandshake(headers: IncomingHttpHeaders, reply: FastifyReply): void {
  const { 'content-length': length = '0', 'transfer-encoding': coding } = headers
  // Some clients say of every GET that its body is empty.
  if (!/^0+$/.test(length) || coding !== undefined) {
    throw new HubError(
      'UPGRADE_INVALID',
      'body: a request that opens a WebSocket has none; send it after the handshake',
    )
  }
  const { 'sec-websocket-version': version, 'sec-websocket-key': key } = headers
  if (version !== '13') {
    // RFC 6455, section 4.4: the client tries again with a version that is named here.
    reply.header('sec-websocket-version', '13')
    throw new HubError(
      'UPGRADE_REQUIRED',
      `sec-websocket-version must be 13 (RFC 6455), got ${JSON.stringify(version)}`,
    )
  }
  if (key === undefined || !WEBSOCKET_KEY.test(key)) {
    throw new HubError('UPGRADE_INVALID', 'sec-websocket-key must be 16 bytes in base64 (RFC 6455, section 4.1)')
  }
  readSubprotocols(headers)
}

const WEBSOCKET_KEY = /^[+/0-9A-Za-z]{22}==$/
/** A token of RFC 9110, section 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/**
 * Empty elements of the list are ignored (RFC 9110, section 5.6.1), and a list of nothing is none: ws would reject
 * both.
 */
function readSubprotocols(headers: IncomingHttpHeaders): void {
  const list = headers['sec-websocket-protocol']
  if (list === undefined) return
  const names = list.split(',').flatMap(name => name.trim() || [])
  const wrong = names.find((name, at) => !TOKEN.test(name) || names.indexOf(name) !== at)
  if (wrong !== undefined) {
    const problem = TOKEN.test(wrong) ? 'names twice' : 'has no valid name in'
    throw new HubError('UPGRADE_INVALID', `sec-websocket-protocol ${problem} ${JSON.stringify(wrong)}`)
  }
  if (names.length === 0) delete headers['sec-websocket-protocol']
  else headers['sec-websocket-protocol'] = names.join(',')
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

/**
 * A body that nobody reads stops Node from reading the connection, and a subscriber that goes would never be missed.
 */
function checkBody(request: FastifyRequest): void {
  const { method, headers, httpVersion } = request.raw
  const { 'content-length': length = '0', 'transfer-encoding': coding } = headers
  if ((method === 'GET' || method === 'HEAD') && (length !== '0' || coding !== undefined)) {
    throw new HubError('REQUEST_INVALID', `body: a ${method} has none; to publish, POST it`)
  }
  // Node reads whatever ends in chunked, and would take what is compressed for the message.
  if (coding !== undefined && (coding.toLowerCase() !== 'chunked' || httpVersion !== '1.1')) {
    throw new HubError('REQUEST_INVALID', 'transfer-encoding: only chunked is spoken here, and in HTTP/1.1')
  }
}

/**
 * Ends a connection on which more is asked behind a stream, whose answer never ends. What was asked must not be done
 * (RFC 9112, section 9.6), and once much of it waits Node reads no further: then a subscriber that goes would never be
 * missed. True: it was so.
 */
export function endsPipelined({ raw }: FastifyRequest, reply: FastifyReply): boolean {
  // It is behind nothing.
  if (reply.raw.socket !== null) return false
  const { _httpMessage: ahead } = raw.socket as AnsweringSocket
  if (!isLast(ahead)) return false
  reply.hijack()
  raw.socket.destroy()
  return true
}

/** Nothing may be answered behind this response: it has no end, or the connection ends with it. */
export function isLast(response: ServerResponse | null | undefined): boolean {
  const { _last, [ENDLESS]: endless } = (response ?? {}) as Partial<MarkedResponse>
  return _last === true || endless === true
}

/** Node takes the first and says nothing of others, which a proxy may have gone by (RFC 9112, section 3.2). */
function countHosts(rawHeaders: readonly string[]): number {
  let count = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!
    if (name.length === 4 && name.toLowerCase() === 'host') count++
  }
  return count
}
