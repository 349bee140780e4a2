import type { ServerResponse } from 'node:http'
import type { FastifyReply } from 'fastify'
import type { Heartbeat } from '../../transports/heartbeat.ts'
import { STREAM_HEADERS } from '../../transports/http-stream.ts'

/** The head of a stream of events that is written below Fastify: with what hooks have said so far. */
export function streamHead(reply: FastifyReply): Record<string, string> {
  return {
    ...(reply.getHeaders() as Record<string, string>),
    ...STREAM_HEADERS,
    'content-type': 'text/event-stream',
  }
}

/**
 * Writes a comment at each heartbeat until the response closes: a proxy ends a response that is silent for too long.
 */
export function keepAlive(response: ServerResponse, heartbeat: Pick<Heartbeat, 'add'>): void {
  const leave = heartbeat.add({
    ping() {
      if (!response.writableEnded) response.write(':\n\n')
    },
  })
  response.on('close', leave)
}
