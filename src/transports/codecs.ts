import { isUtf8 } from 'node:buffer'
import type { Codec, Gap, Message } from '../core/message.ts'
import { decodeUtf8, isText } from '../wire/content-type.ts'
import { httpChunk, multipartNext, multipartPart } from '../wire/http-framing.ts'
import { sseEvent } from '../wire/sse-event.ts'
import { WS_BINARY, WS_TEXT, wsFrame } from '../wire/ws-frame.ts'

/** Separates the pictures of a multipart stream. */
export const BOUNDARY = 'hubline-frame'

/** What a message of a topic and one for a single client have in common. */
type Data = Pick<Message, 'payload' | 'contentType'>

/**
 * Joins frames in a buffer of its own. A part of one of Node's pools would keep the pool in memory while a client is
 * stalled.
 */
export function concat(frames: readonly Uint8Array[], bytes: number): Uint8Array {
  const joined = Buffer.allocUnsafeSlow(bytes)
  let at = 0
  for (const frame of frames) {
    joined.set(frame, at)
    at += frame.byteLength
  }
  return joined
}

/** Node's streams wrap any other Uint8Array in a Buffer at every write: once here is once for all connections. */
function buffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** The messages as published: text frames for text, binary frames for the rest (and for text that is not UTF-8). */
export const wsCodec: Codec = {
  name: 'websocket',
  encode: message => wsDataFrame(message),
  direct: message => wsDataFrame(message),
  concat,
}

/**
 * The same, for a peer that wants to know what it lost: every binary frame is a message of the topic, and every text
 * frame is a notice, a JSON object with one member. `direct` is a message for this client alone, which has no position.
 */
export const wsGapsCodec: Codec = {
  name: 'websocket-gaps',
  encode: ({ payload }) => buffer(wsFrame(WS_BINARY, payload)),
  direct({ payload, contentType }) {
    const text = isText(contentType) ? decodeUtf8(payload) : null
    return wsNotice(
      'direct',
      text === null ? { contentType, base64: buffer(payload).toString('base64') } : { contentType, text },
    )
  },
  gap: gap => wsNotice('gap', gap),
  concat,
}

/** A text frame of `wsGapsCodec`: `{"gap": ...}`, `{"position": ...}`, `{"direct": ...}`. */
export function wsNotice(name: 'gap' | 'position' | 'direct', value: object): Uint8Array {
  return buffer(wsFrame(WS_TEXT, Buffer.from(JSON.stringify({ [name]: value }))))
}

function wsDataFrame({ payload, contentType }: Data): Uint8Array {
  // Looked at, not decoded: the text itself is nobody's business, and a string of each message would be garbage.
  const text = isText(contentType) && isUtf8(payload)
  return buffer(wsFrame(text ? WS_TEXT : WS_BINARY, payload))
}

/** The bytes as published and nothing else. */
export const rawCodec: Codec = {
  name: 'raw',
  encode: ({ payload }) => buffer(payload),
  direct: ({ payload }) => buffer(payload),
  concat,
}

/** One picture after the other, each replacing the one before. */
export const multipartCodec: Codec = {
  name: 'multipart',
  encode: message => part(message),
  direct: message => part(message),
  concat,
}

function part({ payload, contentType }: Data): Uint8Array {
  return buffer(multipartPart(BOUNDARY, contentType, payload))
}

/** The same for a browser's `<img>`, which shows the picture at once. */
const multipartImageCodec: Codec = {
  name: 'multipart-image',
  encode: message => shownPart(message),
  direct: message => shownPart(message),
  concat,
}

function shownPart({ payload, contentType }: Data): Uint8Array {
  return buffer(multipartNext(BOUNDARY, contentType, payload))
}

export type SseNaming = 'single' | 'named'
export type SseEncoding = 'text' | 'base64'

/**
 * single: one topic a stream, the events are `message`. named: each event is named `/` + topic, which cannot be
 * mistaken for one of ours. What is not text comes as base64: under the event `base64` (named: topic + `;base64`), or,
 * where the reader asked for base64 throughout, under the plain name. What is for one client alone is `direct` or
 * `direct;base64`, without an id: to resume after it means nothing.
 */
function sseCodec(naming: SseNaming, encoding: SseEncoding): Codec {
  const plain = (message: Message) => (naming === 'named' ? { event: `/${message.topic}` } : {})
  return {
    name: `sse-${naming}-${encoding}`,
    encode(message) {
      const id = `${message.epoch}-${message.seq}`
      const text = encoding === 'text' && isText(message.contentType) ? decodeUtf8(message.payload) : null
      if (text !== null) return buffer(sseEvent({ id, ...plain(message), data: text }))
      const data = buffer(message.payload).toString('base64')
      if (encoding === 'base64') return buffer(sseEvent({ id, ...plain(message), data }))
      return buffer(sseEvent({ id, event: naming === 'named' ? `/${message.topic};base64` : 'base64', data }))
    },
    direct({ payload, contentType }) {
      const text = encoding === 'text' && isText(contentType) ? decodeUtf8(payload) : null
      if (text !== null) return buffer(sseEvent({ event: 'direct', data: text }))
      const event = encoding === 'base64' ? 'direct' : 'direct;base64'
      return buffer(sseEvent({ event, data: buffer(payload).toString('base64') }))
    },
    gap: (gap: Gap) => buffer(sseEvent({ event: 'gap', data: JSON.stringify(gap) })),
    concat,
  }
}

/** The same, as chunks of an HTTP/1.1 body. The framing is shared with the message: one buffer serves all readers. */
export function chunked(codec: Codec): Codec {
  const { gap, direct, carries } = codec
  const chunk = (frame: Uint8Array | null): Uint8Array | null => frame && buffer(httpChunk(frame))
  return {
    name: `${codec.name}-chunked`,
    encode: message => chunk(codec.encode(message)),
    ...(carries && { carries }),
    ...(direct && { direct: message => chunk(direct(message)) }),
    ...(gap && { gap: (loss: Gap) => buffer(httpChunk(gap(loss))) }),
    concat,
  }
}

interface Pair {
  /** For HTTP/1.1: chunks. */
  readonly chunked: Codec
  /** For HTTP/1.0: bare, until the connection closes. */
  readonly bare: Codec
}

function pair(codec: Codec): Pair {
  return { bare: codec, chunked: chunked(codec) }
}

/** The codecs of the HTTP protocols. Made once: their identity is the key of the encode-once cache. */
export const httpCodecs = {
  raw: pair(rawCodec),
  multipart: pair(multipartCodec),
  multipartImage: pair(multipartImageCodec),
  sse: {
    single: { text: pair(sseCodec('single', 'text')), base64: pair(sseCodec('single', 'base64')) },
    named: { text: pair(sseCodec('named', 'text')), base64: pair(sseCodec('named', 'base64')) },
  },
} as const
