import type { ServerResponse } from 'node:http'
import type { FastifyReply } from 'fastify'
import type { Heartbeat } from '../../transports/heartbeat.ts'
import { STREAM_HEADERS, socketForStream } from '../../transports/http-stream.ts'

/**
 * The head of a stream of events that is written below Fastify: with what hooks have said so far. Throws
 * CONNECTION_STALE where the peer has gone meanwhile, REQUEST_INVALID behind another request of the connection.
 */
export function streamHead(reply: FastifyReply): Record<string, string> {
  socketForStream(reply.raw)
  return {
    ...(reply.getHeaders() as Record<string, string>),
    ...STREAM_HEADERS,
    'content-type': 'text/event-stream',
    // Its end is the end of the connection: an idle one would hold up the close of the app.
    connection: 'close',
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
