import type { FastifyReply, FastifyRequest } from 'fastify'
import { HubError } from '../core/errors.ts'

const HEADER = 'x-correlation-id'
const MAX_LENGTH = 255
/** It goes into headers of other requests, and into the log. */
const CORRELATION_ID = /^[\x21-\x7e]+$/

/**
 * What the caller calls the work that this request belongs to; else the request's own id, which is in the answer then,
 * so that the caller can look for it. Throws REQUEST_INVALID.
 */
export function correlate(request: FastifyRequest, reply: FastifyReply): string | undefined {
  const said = request.headers[HEADER] as string | undefined
  const id = said ?? request.id
  const valid = id.length <= MAX_LENGTH && CORRELATION_ID.test(id)
  if (valid) {
    reply.header(HEADER, id)
    return id
  }
  // An app that embeds the hub may give its requests any id.
  if (said === undefined) return undefined
  throw new HubError('REQUEST_INVALID', `${HEADER}: it is 1 to ${MAX_LENGTH} printable ASCII characters without spaces`)
}
