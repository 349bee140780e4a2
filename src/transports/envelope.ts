import { randomUUID } from 'node:crypto'
import type { Codec, Gap, Message, PublishedBy } from '../core/message.ts'
import { concat } from './codecs.ts'

/**
 * One request's worth for a client that is a URL: a message of a topic, a notice of loss, or something sent to this
 * client alone.
 */
export interface Envelope {
  readonly kind: 'message' | 'gap' | 'send'
  /** The same whenever the same thing is sent again: the receiver's key against duplicates. */
  readonly id: string
  /** Undefined for what was sent to this client alone. */
  readonly topic?: string | undefined
  readonly epoch?: string | undefined
  readonly seq?: number | undefined
  readonly contentType: string
  /** What the publisher calls the work that this belongs to: in the request, its retries and their log lines. */
  readonly correlationId?: string | undefined
  /** Who published it, where the topic's rule says so. */
  readonly publisher?: PublishedBy | undefined
  readonly payload: Uint8Array
}

/**
 * What became of one attempt. retry: it may succeed later (5xx, 429, a network error); `afterMs` where the receiver
 * said when. gone: there is no such receiver any more (410). refused: it will not have this one, however often (other
 * 4xx, 3xx). `why` is one phrase for a log and an error: it names the status, never a body.
 */
export type Outcome =
  | { readonly kind: 'ok' }
  | { readonly kind: 'retry'; readonly why: string; readonly afterMs?: number | undefined; readonly timedOut?: boolean }
  | { readonly kind: 'gone'; readonly why: string }
  | { readonly kind: 'refused'; readonly why: string }

/** Whoever traces an attempt: what it adds to the request, and what it hears of it. */
export interface AttemptTrace {
  /** Tell the receiver which trace the request is part of. */
  readonly headers: Readonly<Record<string, string>>
  /** An answer came with this status. */
  answered(status: number): void
  /** No answer came, or not all of one. */
  failed(error: unknown): void
}

/** Makes one attempt. Resolves whatever happens, within its own time limit; after `signal` nothing of it may go on. */
export type Attempt = (envelope: Envelope, signal: AbortSignal, trace?: AttemptTrace) => Promise<Outcome>

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const LENGTH_BYTES = 4

/**
 * Frames of the process itself: nobody outside sees them. They carry what a request needs beside the payload, so that a
 * batch is made ready once for all clients that are URLs. Length of the head, head (JSON), length of the payload,
 * payload.
 */
export const envelopeCodec: Codec = {
  name: 'envelope',
  encode: ({ topic, epoch, seq, contentType, correlationId, publisher, payload }: Message) =>
    frame(
      { kind: 'message', id: messageId(epoch, seq), topic, epoch, seq, contentType, correlationId, publisher },
      payload,
    ),
  gap(gap: Gap) {
    const { topic, from, to, count, reason } = gap
    // Not made of the gap: after a restart the same numbers are another loss.
    const id = `gap-${randomUUID()}`
    const payload = encoder.encode(JSON.stringify({ topic, from, to, count, reason }))
    return frame({ kind: 'gap', id, topic, contentType: 'application/json' }, payload)
  },
  concat,
}

/** The notice in an envelope that `envelopeCodec.gap` made. */
export function gapOf({ payload }: Envelope): Gap {
  return JSON.parse(decoder.decode(payload)) as Gap
}

/** Epochs are unique, so this is too, over all topics. */
export function messageId(epoch: string, seq: number): string {
  return `${epoch}-${seq}`
}

/** Reads the first of one or more frames; `rest` are the others. The payload is a view, not a copy. */
export function firstEnvelope(frames: Uint8Array): { readonly envelope: Envelope; readonly rest: Uint8Array } {
  const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength)
  const headEnd = LENGTH_BYTES + view.getUint32(0)
  const payload = headEnd + LENGTH_BYTES
  const end = payload + view.getUint32(headEnd)
  const head = JSON.parse(decoder.decode(frames.subarray(LENGTH_BYTES, headEnd)))
  return { envelope: { ...head, payload: frames.subarray(payload, end) }, rest: frames.subarray(end) }
}

function frame(head: Omit<Envelope, 'payload'>, payload: Uint8Array): Uint8Array {
  const text = encoder.encode(JSON.stringify(head))
  const bytes = new Uint8Array(2 * LENGTH_BYTES + text.byteLength + payload.byteLength)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, text.byteLength)
  bytes.set(text, LENGTH_BYTES)
  view.setUint32(LENGTH_BYTES + text.byteLength, payload.byteLength)
  bytes.set(payload, 2 * LENGTH_BYTES + text.byteLength)
  return bytes
}
