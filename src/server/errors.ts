import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { type ErrorCode, HubError } from '../core/errors.ts'
import type { RefusalReason } from '../core/sessions.ts'
import { answerEventSource } from './event-source.ts'
import { lingerAfterAnswer } from './linger.ts'

/** The body of every error: one code to test for, one sentence to read. */
export interface ErrorBody {
  readonly error: { readonly code: ErrorCode; readonly reason?: RefusalReason; readonly message: string }
}

export function errorBody({ code, reason, message }: HubError): ErrorBody {
  return { error: { code, ...(reason && { reason }), message } }
}

/** What an error repeats of a peer's words is text, whatever a browser makes of it. */
const NO_SNIFF = ['x-content-type-options', 'nosniff'] as const
const NOT_JSON = 'content-type: this takes JSON that says so; send the header content-type: application/json'
/** RFC 9110, section 8.3.1. */
const MEDIA_TYPE = /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+\s*(?:;|$)/
/** Of zlib, where a body is not what its content-encoding says. */
const NOT_ENCODED = /^(?:Z_|ERR__ERROR_|ERR_BROTLI|ERR_PADDING)/
const TOO_LARGE = 'FST_ERR_CTP_BODY_TOO_LARGE'
const INVALID_TYPE = 'FST_ERR_CTP_INVALID_MEDIA_TYPE'

/** Turns whatever was thrown into one of our codes. What we did not expect is told as INTERNAL, without its text. */
export function toHubError(error: unknown): HubError {
  if (error instanceof HubError) return error
  const { code, statusCode, message } = error as FastifyError
  if (code === TOO_LARGE) return new HubError('MESSAGE_TOO_LARGE', message)
  if (NOT_ENCODED.test(code)) {
    return new HubError('REQUEST_INVALID', 'content-encoding: the body is not what this says, or ends too soon')
  }
  if (code === INVALID_TYPE) return new HubError('UNSUPPORTED_PAYLOAD', NOT_JSON)
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) return new HubError('REQUEST_INVALID', message)
  return new HubError('INTERNAL', 'something went wrong here; the log has the details')
}

/** A content type that is none at all is another mistake than one that is not taken. */
function mediaTypeFault(error: unknown, { headers }: FastifyRequest): HubError | undefined {
  const { 'content-type': said } = headers
  if ((error as FastifyError).code !== INVALID_TYPE || said === undefined || MEDIA_TYPE.test(said)) return undefined
  const shown = JSON.stringify(said.slice(0, 60))
  return new HubError('UNSUPPORTED_PAYLOAD', `content-type: ${shown} is no media type; send one such as text/plain`)
}

/**
 * Fastify's error handler. `maxMessageBytes` is what most bodies may have: the error must name it, or the route's own.
 * `rejected` hears of each error that is answered.
 */
export function errorHandler(
  maxMessageBytes: number,
  rejected: (error: HubError, request: FastifyRequest) => void = () => {},
) {
  return (error: unknown, request: FastifyRequest, reply: FastifyReply): void => {
    const known = mediaTypeFault(error, request) ?? toHubError(error)
    const limit = (error as FastifyError).code === TOO_LARGE ? request.routeOptions.bodyLimit : maxMessageBytes
    const { status } = known
    if (status >= 500 && known.code === 'INTERNAL') request.log.error({ err: error }, 'request failed')
    const told =
      known.code === 'MESSAGE_TOO_LARGE' && !known.message.includes(String(limit))
        ? new HubError(known.code, `body: it is larger than the ${limit} bytes that it may have`)
        : known
    rejected(told, request)
    if (answerEventSource(told, status, request, reply)) return
    addHeaders(known, request, reply)
    reply
      .code(status)
      .header(...NO_SNIFF)
      .send(errorBody(told))
  }
}

/** The headers that the status of an error asks for. */
function addHeaders(error: HubError, request: FastifyRequest, reply: FastifyReply): void {
  const { status } = error
  if (status === 503 || status === 429) reply.header('retry-after', retryAfter(error))
  if (status === 401) reply.header('www-authenticate', challenge(error))
  if (status === 426) reply.header('upgrade', 'websocket').header('connection', 'upgrade')
  // What is left of a refused body must not be taken for the next request.
  const unread = isUnread(request)
  if (unread) lingerAfterAnswer(request.raw.socket)
  const ends = status === 408 || status === 413 || status === 503 || request.raw.headers.host === undefined
  if (ends || unread || request.ws) reply.header('connection', 'close')
}

/** Does more of its body come than was read? */
function isUnread({ raw: { complete, headers } }: FastifyRequest): boolean {
  return !complete && (headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined)
}

/** For what has no route: before its body is read, which nobody wants. */
export function refuseUnrouted(request: FastifyRequest): void {
  if (request.is404) throw notFound(request)
}

function notFound(request: FastifyRequest): HubError {
  return new HubError('NOT_FOUND', `there is nothing at ${request.method} ${request.url.split('?')[0]}`)
}

/** RFC 9110, section 10.2.3: whole seconds. */
function retryAfter({ retryMs = 1000 }: HubError): string {
  return String(Math.max(1, Math.ceil(retryMs / 1000)))
}

/** RFC 6750, section 3: who brought nothing is told no error. */
function challenge({ reason }: HubError): string {
  return reason === undefined || reason === 'missing' ? 'Bearer' : 'Bearer error="invalid_token"'
}
