import type { ServerResponse } from 'node:http'
import type { CloseReason } from '../core/connection.ts'
import type { Position } from '../core/ids.ts'
import { sseComment, sseEvent, sseRetry } from '../wire/sse-event.ts'
import { httpCodecs, type SseEncoding, type SseNaming } from './codecs.ts'
import { openStream } from './http-stream.ts'
import type { Transport } from './transport.ts'

/** How long a browser waits before it connects again, in ms. */
const RETRY_MS = 2000

/** Reads an id that we gave (`epoch-seq`) back into a position; undefined where it is none of ours. */
export function parseEventId(id: string): Position | undefined {
  const match = /^([0-9a-z]{1,64})-(\d{1,15})$/.exec(id)
  return match ? { epoch: match[1]!, seq: Number(match[2]) } : undefined
}

/** Server-Sent Events (HTML Standard, section 9.2), for EventSource. Tells gaps, and why it ends. */
export function sse(naming: SseNaming, encoding: SseEncoding): Transport<ServerResponse> {
  return {
    name: 'sse',
    open(response, opening) {
      const { client, frame } = openStream(response, opening, {
        protocol: 'sse',
        codecs: httpCodecs.sse[naming][encoding],
        headers: { 'content-type': 'text/event-stream; charset=utf-8' },
        first: sseRetry(RETRY_MS),
        last: (reason: CloseReason) => sseEvent({ event: 'close', data: JSON.stringify({ reason }) }),
      })
      const stop = opening.heartbeat?.add(() => client.send(frame(sseComment('ping'))))
      if (stop) response.once('close', stop)
      return client
    },
  }
}
