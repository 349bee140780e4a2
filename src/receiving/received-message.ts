import { HubError } from '../core/errors.ts'
import type { Position, TopicName } from '../core/ids.ts'
import type { Message, PublishedBy } from '../core/message.ts'
import { decodeUtf8 } from '../wire/content-type.ts'

/**
 * A message inside the program. One object for all that receive it: it is frozen, and its bytes must not be changed
 * (I5).
 */
export class ReceivedMessage {
  readonly topic: TopicName
  /** To go on after it: `hub.stream(topic, { after: message.position })`. */
  readonly position: Position
  /** Shared with every other receiver and with the topic's history: read-only. */
  readonly data: Uint8Array
  readonly contentType: string
  readonly key: string | undefined
  readonly correlationId: string | undefined
  /** Who published it; only on topics whose rule says `publisher: true`. */
  readonly publisher: PublishedBy | undefined

  constructor({ topic, epoch, seq, payload, contentType, key, correlationId, publisher }: Message) {
    this.topic = topic
    this.position = Object.freeze({ epoch, seq })
    this.data = payload
    this.contentType = contentType
    this.key = key
    this.correlationId = correlationId
    this.publisher = publisher
    Object.freeze(this)
  }

  /** The data as text. Throws INVALID_MESSAGE where it is not UTF-8. */
  text(): string {
    const text = decodeUtf8(this.data)
    if (text !== null) return text
    throw new HubError('INVALID_MESSAGE', `data: message ${this.position.seq} of ${this.topic} is not UTF-8; read data`)
  }

  /** The data as a value, parsed anew at each call. Throws INVALID_MESSAGE where it is not JSON. */
  json(): unknown {
    try {
      return JSON.parse(this.text())
    } catch (cause) {
      if (cause instanceof HubError) throw cause
      throw new HubError('INVALID_MESSAGE', `data: message ${this.position.seq} of ${this.topic} is not JSON`, {
        cause,
      })
    }
  }
}
