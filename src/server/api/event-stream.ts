import type { FastifyReply } from 'fastify'
import { STREAM_HEADERS } from '../../transports/http-stream.ts'

/** The head of a stream of events that is written below Fastify: with what hooks have said so far. */
export function streamHead(reply: FastifyReply): Record<string, string> {
  return {
    ...(reply.getHeaders() as Record<string, string>),
    ...STREAM_HEADERS,
    'content-type': 'text/event-stream',
  }
}
