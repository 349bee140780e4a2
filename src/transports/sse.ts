import type { ServerResponse } from 'node:http'
import type { CloseReason } from '../core/connection.ts'
import type { Position } from '../core/ids.ts'
import { httpChunk } from '../wire/http-framing.ts'
import { sseComment, sseEvent, sseId, sseRetry } from '../wire/sse-event.ts'
import { httpCodecs, type SseEncoding, type SseNaming } from './codecs.ts'
import type { Heartbeat } from './heartbeat.ts'
import { isChunked, type OpenStream, openStream } from './http-stream.ts'
import { watchHost } from './liveness.ts'
import {
  type Beginning,
  heartbeatOf,
  type Opening,
  parsePosition,
  positionNotice,
  type Transport,
  unknownGap,
} from './transport.ts'

/**
 * How long a browser waits before it connects again, in ms: between this and twice as long, so that not all come back
 * at once.
 */
const RETRY_MS = 1500
/** The same for a client that shall not come back: EventSource has no other way to be told. A day. */
const NEVER_MS = 24 * 60 * 60 * 1000
/** Why a stream ends for good: coming back by itself would undo what was decided. */
const FINAL: ReadonlySet<CloseReason> = new Set(['replaced', 'ended', 'denied'])

/** Reads an id that we gave (`epoch-seq`) back into a position; undefined where it is none of ours. */
export const parseEventId: (id: string) => Position | undefined = parsePosition

const PING = sseComment('ping')
const CHUNKED_PING = httpChunk(PING)

function spread(ms: number): number {
  return Math.ceil(ms * (1 + Math.random()))
}

/** The end of a stream: when EventSource comes back, which it does by itself, and an event that says why. */
export function sseClose(why: object, retryMs = 0): Uint8Array {
  // A rate limit has room for one more client after a few ms. All refused clients would come back for that one place.
  const reconnectMs = spread(Math.max(RETRY_MS, retryMs))
  return Buffer.concat([
    sseRetry(reconnectMs),
    sseEvent({ event: 'close', data: JSON.stringify({ ...why, reconnectMs }) }),
  ])
}

/** `reconnectMs`: as the hub has spread it already. */
function farewell(reason: CloseReason, reconnectMs: number | undefined): Uint8Array {
  if (reconnectMs === undefined && !FINAL.has(reason)) return sseClose({ reason })
  const close = sseEvent({ event: 'close', data: JSON.stringify({ reason, reconnectMs }) })
  return Buffer.concat([sseRetry(reconnectMs ?? spread(NEVER_MS)), close])
}

function keepOpen(response: ServerResponse, { client, connection }: OpenStream, heartbeat: Heartbeat): void {
  const ping = isChunked(response) ? CHUNKED_PING : PING
  response.on('close', watchHost(connection, client, heartbeat, ping))
}

/**
 * One topic: an id alone, which makes no event, and is all that a reader which got nothing yet needs to resume.
 * Several: an event for each, for the id that a reader remembers is one topic's alone.
 */
function beginningOf(naming: SseNaming, { topics }: Opening): Beginning['begun'] {
  return subscription => {
    const asked = topics.find(({ name }) => name === subscription.topic)?.options?.after !== undefined
    const told = positionNotice(subscription, asked)
    const begins =
      naming === 'single' ? sseId(told.position) : sseEvent({ event: 'position', data: JSON.stringify(told) })
    const gap = unknownGap(subscription, asked)
    return gap ? Buffer.concat([begins, sseEvent({ event: 'gap', data: JSON.stringify(gap) })]) : begins
  }
}

/** Server-Sent Events (HTML Standard, section 9.2), for EventSource. Tells gaps, and why it ends. */
export function sse(naming: SseNaming, encoding: SseEncoding): Transport<ServerResponse> {
  return {
    name: 'sse',
    open(response, opening) {
      const heartbeat = heartbeatOf(opening)
      const stream = openStream(response, opening, {
        protocol: 'sse',
        codecs: httpCodecs.sse[naming][encoding],
        headers: {
          'content-type': 'text/event-stream; charset=utf-8',
          ...(heartbeat && { 'hubline-ping': `${heartbeat.everyMs}` }),
        },
        first: sseRetry(spread(RETRY_MS)),
        begun: beginningOf(naming, opening),
        last: farewell,
      })
      if (heartbeat) keepOpen(response, stream, heartbeat)
      return stream.client
    },
  }
}
