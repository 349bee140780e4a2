import type { FastifyReply } from 'fastify'
import { BOUNDARY } from '../transports/codecs.ts'
import { STREAM_HEADERS } from '../transports/http-stream.ts'

const TYPES: Readonly<Record<string, string>> = {
  sse: 'text/event-stream; charset=utf-8',
  multipart: `multipart/x-mixed-replace; boundary=${BOUNDARY}`,
}

/**
 * Answers HEAD of a stream as GET would begin, without a client: health checks, players and `wget --spider` ask for no
 * more.
 */
export function answerHead(
  reply: FastifyReply,
  transport: string,
  contentType = 'application/octet-stream',
  headers: Readonly<Record<string, string>> = {},
): void {
  reply
    .headers({ ...STREAM_HEADERS, ...headers, 'content-type': TYPES[transport] ?? contentType })
    .code(200)
    .send()
}
