import type { TopicName } from './ids.ts'
import type { LogBounds } from './log.ts'
import type { DeliveryPolicy } from './policy.ts'
import type { Session } from './sessions.ts'

/**
 * When a client is behind, what is high goes before what is normal, and that before bulk. The protocol's own frames go
 * before all.
 */
export type Priority = 'high' | 'normal' | 'bulk'

/** users: whoever has a session with a user. nobody: backends alone. */
export type Access = 'anyone' | 'users' | 'nobody'

/** What is known of a topic before anything is published to it. */
export interface TopicSpec {
  readonly name: TopicName
  /** The rule that it comes from: its own name, a pattern, or `default`. */
  readonly rule?: string | undefined
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
  /** Default: as many as there are clients. A pattern passes over a topic that is full. */
  readonly maxSubscribers?: number | undefined
  /** What may be published, from all sides together: messages and payload bytes a second. */
  readonly publishRate?: PublishRate | undefined
  /** Default normal. */
  readonly priority?: Priority | undefined
  /** May be asked who is on it, and tells those who want to know who comes and goes. Default false. */
  readonly presence?: boolean | undefined
  /** true: messages say who published them (PublishedBy). Default false, since this reveals the users' names. */
  readonly publisher?: boolean | undefined
  /** Default anyone. What a session may do beyond it is its SessionManager's business. */
  readonly subscribe?: Access | undefined
  readonly publish?: Access | undefined
  /** May patterns match it? Default: where anyone may subscribe. */
  readonly wildcards?: boolean | undefined
  /**
   * Says what is wrong with a payload, or nothing: `place: what`. Synchronous; a throw is a fault and refuses the
   * message.
   */
  readonly check?: ((payload: Uint8Array, contentType: string) => string | undefined) | undefined
  /** For people and programs to read: the JSON Schema that `check` goes by, if it has one. */
  readonly schema?: unknown
  /** For people and programs to read: any JSON object. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined
}

export interface PublishRate {
  readonly messages?: number | undefined
  readonly bytes?: number | undefined
}

/** Says which topics there are. `resolve` throws TOPIC_INVALID or TOPIC_UNKNOWN. */
export interface TopicRegistry {
  resolve(name: string): TopicSpec
}

/** May this session do it, as far as the topic itself is concerned? */
export function isOpenTo(access: Access | undefined, session: Session): boolean {
  if (access === undefined || access === 'anyone' || session.backend) return true
  return access === 'users' && session.user !== undefined
}

/** May a pattern match it? */
export function takesWildcards({ wildcards, subscribe = 'anyone' }: TopicSpec): boolean {
  return wildcards ?? subscribe === 'anyone'
}

export const DEFAULT_HISTORY: LogBounds = { messages: 256, bytes: 256 * 1024, ageMs: 60_000 }
export const DEFAULT_MAX_MESSAGE_BYTES = 1024 * 1024
/** No setting may allow more. */
export const MOST_MESSAGE_BYTES = 64 * 1024 * 1024

export type TopicDefaults = Partial<Omit<TopicSpec, 'name'>>
