import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { HubError } from '../core/errors.ts'
import { STREAM_HEADERS } from '../transports/http-stream.ts'
import { sseClose } from '../transports/sse.ts'

/** A weight of nothing. */
const REFUSED = /;\s*q\s*=\s*0(?:\.0*)?\s*(?=[,;]|$)/

/**
 * A reader that takes an event stream and nothing else: EventSource. One that can read an error lists
 * `application/json` as well.
 */
function isEventSource({ headers, routeOptions: { config }, ws }: FastifyRequest): boolean {
  if (ws || !(config.opensClient || config.streamsEvents)) return false
  return /^\s*text\/event-stream\s*(;[^,]*)?$/.test(accepted(headers))
}

/** The header Accept in lower case, without what it refuses (`q=0`; RFC 9110, section 12.4.2). */
export function accepted({ accept = '' }: IncomingHttpHeaders): string {
  const said = accept.toLowerCase()
  if (!REFUSED.test(said)) return said
  return said
    .split(',')
    .filter(type => !REFUSED.test(type))
    .join(',')
    .trim()
}

/** Browsers send it, and no page can set it. Node's fetch sends only Sec-Fetch-Mode. */
function isBrowser({ headers }: FastifyRequest): boolean {
  return headers['sec-fetch-dest'] !== undefined
}

/**
 * Answers an error in the form that EventSource understands (HTML Standard, section 9.2.2): to it every status but 200
 * is final. An error that passes (429, 503) is a stream that says when to come back, and ends. Any other error is 204
 * to a browser, which stops, with the error in `hubline-error`. False: the caller answers.
 */
export function answerEventSource(
  error: HubError,
  status: number,
  request: FastifyRequest,
  reply: FastifyReply,
): boolean {
  if (!isEventSource(request)) return false
  if (status === 429 || status === 503) {
    const reason = error.code === 'SHUTTING_DOWN' ? 'shutdown' : 'overloaded'
    reply
      .code(200)
      .headers({ ...STREAM_HEADERS, 'content-type': 'text/event-stream; charset=utf-8', connection: 'close' })
      .send(Buffer.from(sseClose({ reason, code: error.code, message: error.message }, error.retryMs)))
    return true
  }
  if (!isBrowser(request)) return false
  // A header has no room for other characters.
  const message = error.message.replace(/[^\x20-\x7e]/g, '?')
  reply.code(204).header('hubline-error', `${error.code}: ${message}`).send()
  return true
}
