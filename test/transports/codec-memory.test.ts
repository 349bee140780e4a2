import { describe, expect, it } from 'vitest'
import { parseTopicName } from '../../src/core/ids.ts'
import type { Codec, Gap, Message } from '../../src/core/message.ts'
import { clientCodec } from '../../src/transports/client-codec.ts'
import { httpCodecs, wsCodec, wsGapsCodec } from '../../src/transports/codecs.ts'
import { envelopeCodec } from '../../src/transports/envelope.ts'

const { raw, multipart, multipartImage, sse } = httpCodecs
const PAIRS = [raw, multipart, multipartImage, sse.single.text, sse.single.base64, sse.named.text, sse.named.base64]
const CODECS: readonly Codec[] = [
  ...[wsCodec, wsGapsCodec, clientCodec, envelopeCodec],
  ...PAIRS.flatMap(({ chunked, bare }) => [chunked, bare]),
]

const topic = parseTopicName('t')
const gap: Gap = { topic, from: 1, to: 2, count: 2, reason: 'overflow' }

function message(payload: Uint8Array): Message {
  const fields = { topic, epoch: 'e', seq: 3, key: undefined, correlationId: undefined, at: 0 }
  return { ...fields, payload, contentType: 'application/json', bytes: payload.byteLength, held: 0 }
}

/** A frame that is a part of a pool keeps the pool in memory while a client is stalled, and the hub counts the frame. */
function expectOwn(frame: Uint8Array | null | undefined): void {
  expect(frame).toBeInstanceOf(Uint8Array)
  expect(frame!.buffer.byteLength).toBe(frame!.byteLength)
}

describe.each(CODECS.map(codec => [codec.name, codec] as const))('frames of %s', (_, codec) => {
  // As the hub has them: in a buffer of their own.
  const payload = new Uint8Array(Buffer.from('{"a":"some text"}'))
  const frame = codec.encode(message(payload))!

  it('have memory of their own, or are the payload itself', () => {
    if (frame.buffer !== payload.buffer) expectOwn(frame)
    const direct = codec.direct?.({ id: 'd', payload, contentType: 'application/json', correlationId: undefined })
    if (direct && direct.buffer !== payload.buffer) expectOwn(direct)
    if (codec.gap) expectOwn(codec.gap(gap))
  })

  it('joined have memory of their own, and are the frames one after the other', () => {
    const frames = [frame, codec.encode(message(new Uint8Array(Buffer.from('[1,2]'))))!, frame]
    const bytes = frames.reduce((sum, { byteLength }) => sum + byteLength, 0)
    const joined = codec.concat(frames, bytes)
    expectOwn(joined)
    expect(Buffer.from(joined)).toEqual(Buffer.concat(frames))
  })
})
