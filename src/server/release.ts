import type { ServerResponse } from 'node:http'
import type { FastifyBaseLogger } from 'fastify'
import type { WebSocket } from 'ws'
import type { Rejections } from './rejections.ts'

/** What the server holds of a request lives as long as something points to it, and a subscription is open for days. */

/** What is done about a WebSocket that fails. */
export function socketFailed(webSocket: WebSocket, log: FastifyBaseLogger, rejections: Rejections, error: Error): void {
  rejections.frame(error, log)
  webSocket.terminate()
}

/** In a function of its own, for a closure keeps whatever the closures of its function use. */
function failing(webSocket: WebSocket, log: FastifyBaseLogger, rejections: Rejections): (error: Error) => void {
  return error => socketFailed(webSocket, log, rejections, error)
}

/**
 * Lets go of the request of a WebSocket that has just been opened: @fastify/websocket keeps it to tell the
 * `errorHandler`, and the socket keeps it for its response, which is never sent. Listeners of the response's `close`
 * are still called.
 */
export function releaseUpgrade(
  webSocket: WebSocket,
  response: ServerResponse,
  log: FastifyBaseLogger,
  rejections: Rejections,
): void {
  // Added right before the handler was called, so it is the last one.
  const keeper = webSocket.listeners('error').at(-1)
  webSocket.on('error', failing(webSocket, log, rejections))
  if (keeper) webSocket.off('error', keeper as () => void)
  if (response.socket && response.listenerCount('close') === 0) response.detachSocket(response.socket)
}

/**
 * Lets go of Fastify's request and reply of a stream, which they are told the end of by `finish` or `error`: but a
 * stream's response is written below, and never ends. Node's own are as small as they can be, and stay: they keep what
 * is pipelined behind waiting.
 */
export function releaseStream(response: ServerResponse, watched: boolean): void {
  const onError = response.listeners('error')
  // First, for an emitter that once lost its last listener of a kind is larger.
  response.on('error', ignore)
  for (const listener of response.listeners('finish') as (() => void)[]) {
    if (onError.includes(listener)) response.off('finish', listener).off('error', listener)
  }
  if (watched) return
  // A browser's headers are a kilobyte, a URL may be sixteen, and Node keeps its request as long as the connection.
  response.req.headers = {}
  response.req.rawHeaders = []
  response.req.url = ''
}

/** Does code beside the server itself wait for the exchange to end? It may read the headers then. */
export function isWatched(response: ServerResponse): boolean {
  return response.listenerCount('close') + response.req.listenerCount('close') > 0
}

/** An error without a listener would end the process. */
function ignore(): void {}
