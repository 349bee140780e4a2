import type { FastifyReply } from 'fastify'

/** The head of a stream of events that is written below Fastify: with what hooks have said so far. */
export function streamHead(reply: FastifyReply): Record<string, string> {
  return {
    ...(reply.getHeaders() as Record<string, string>),
    'content-type': 'text/event-stream',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
  }
}
