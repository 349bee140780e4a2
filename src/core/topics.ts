import type { TopicName } from './ids.ts'
import type { LogBounds } from './log.ts'
import type { DeliveryPolicy } from './policy.ts'

/** What is known of a topic before anything is published to it. */
export interface TopicSpec {
  readonly name: TopicName
  /** Undefined: the hub's default. */
  readonly policy?: DeliveryPolicy | undefined
  /** Names of the policies that a subscriber may wish for; undefined: any. */
  readonly allowedPolicies?: readonly string[] | undefined
  /** Undefined: that of the last message. */
  readonly contentType?: string | undefined
  /** What is kept for those who resume. */
  readonly history: LogBounds
  /** Largest payload, in bytes. */
  readonly maxMessageBytes: number
  /** How long a message may wait for others to share a write with, in ms. Default 0: it goes at once. */
  readonly lingerMs?: number | undefined
  /** Bytes that a plain stream starts with for whoever joins late, such as the header of an audio file. */
  readonly preamble?: Uint8Array | undefined
}

/** Says which topics there are. `resolve` throws TOPIC_INVALID or TOPIC_UNKNOWN. */
export interface TopicRegistry {
  resolve(name: string): TopicSpec
}

export const DEFAULT_HISTORY: LogBounds = { messages: 256, bytes: 256 * 1024, ageMs: 60_000 }
export const DEFAULT_MAX_MESSAGE_BYTES = 1024 * 1024

export type TopicDefaults = Partial<Omit<TopicSpec, 'name'>>
