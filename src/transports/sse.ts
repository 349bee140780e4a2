import type { ServerResponse } from 'node:http'
import type { Client, CloseReason } from '../core/connection.ts'
import type { Position } from '../core/ids.ts'
import { httpChunk } from '../wire/http-framing.ts'
import { sseComment, sseEvent, sseRetry } from '../wire/sse-event.ts'
import { httpCodecs, type SseEncoding, type SseNaming } from './codecs.ts'
import { isChunked, openStream } from './http-stream.ts'
import type { Heartbeat, Transport } from './transport.ts'

/** How long a browser waits before it connects again, in ms. */
const RETRY_MS = 2000

/** Reads an id that we gave (`epoch-seq`) back into a position; undefined where it is none of ours. */
export function parseEventId(id: string): Position | undefined {
  const match = /^([0-9a-z]{1,64})-(\d{1,15})$/.exec(id)
  return match ? { epoch: match[1]!, seq: Number(match[2]) } : undefined
}

const PING = sseComment('ping')
const CHUNKED_PING = httpChunk(PING)

/** The time to come back in replaces the one of the beginning: EventSource keeps to it by itself. */
function farewell(reason: CloseReason, reconnectMs: number | undefined): Uint8Array {
  const close = sseEvent({ event: 'close', data: JSON.stringify({ reason, reconnectMs }) })
  return reconnectMs === undefined ? close : Buffer.concat([sseRetry(reconnectMs), close])
}

/** In functions of their own: what stays for as long as the stream is open must not keep what opened it. */
function beatOf(client: Client, ping: Uint8Array): () => void {
  return () => void client.send(ping)
}

function keepOpen(response: ServerResponse, client: Client, heartbeat: Heartbeat): void {
  response.on('close', heartbeat.add(beatOf(client, isChunked(response) ? CHUNKED_PING : PING)))
}

/** Server-Sent Events (HTML Standard, section 9.2), for EventSource. Tells gaps, and why it ends. */
export function sse(naming: SseNaming, encoding: SseEncoding): Transport<ServerResponse> {
  return {
    name: 'sse',
    open(response, opening) {
      const { client } = openStream(response, opening, {
        protocol: 'sse',
        codecs: httpCodecs.sse[naming][encoding],
        headers: { 'content-type': 'text/event-stream; charset=utf-8' },
        first: sseRetry(RETRY_MS),
        last: farewell,
      })
      if (opening.heartbeat) keepOpen(response, client, opening.heartbeat)
      return client
    },
  }
}
