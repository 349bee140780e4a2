import type { Message } from '../core/message.ts'
import type { Hub } from '../hub.ts'
import { formatPosition } from '../transports/transport.ts'
import { decodeUtf8, isText } from '../wire/content-type.ts'
import type { SubscriberRequest } from './subscriber.ts'

/** Payload bytes in one answer, but for a message that is larger alone. */
const MAX_BYTES = 1024 * 1024

/**
 * `GET /topics/{topic}?history`: a page of what the topic keeps, oldest first. `next` is where the next page begins;
 * without it the page ends with the topic's last message. Throws TOPIC_UNKNOWN.
 */
export function historyOf(hub: Hub, { topics, since }: SubscriberRequest, limit: number) {
  const topic = topics[0]!
  const start = since.get(topic)
  const after = start === 'oldest' ? undefined : start
  const { position, messages, recovered } = hub.kept(topic, { after, limit })
  const page = pageOf(messages)
  const last = page.at(-1)
  const more = last !== undefined && last.seq < position.seq
  return {
    topic,
    ...(position.epoch !== '' && { position: formatPosition(position) }),
    ...(after && { recovered }),
    messages: page.map(entryOf),
    ...(more && { next: formatPosition(last) }),
  }
}

function pageOf(messages: readonly Message[]): readonly Message[] {
  let bytes = 0
  const end = messages.findIndex(({ payload }, index) => {
    bytes += payload.byteLength
    return index > 0 && bytes > MAX_BYTES
  })
  return end === -1 ? messages : messages.slice(0, end)
}

function entryOf({ epoch, seq, payload, contentType, key, publisher }: Message) {
  const text = isText(contentType) ? decodeUtf8(payload) : null
  return {
    position: formatPosition({ epoch, seq }),
    contentType,
    ...(key !== undefined && { key }),
    ...(publisher !== undefined && { publisher }),
    ...(text === null ? { base64: Buffer.from(payload).toString('base64') } : { text }),
  }
}
