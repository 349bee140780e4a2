import { HubError } from './errors.ts'
import { type Rule, shown } from './options.ts'
import { ownText } from './texts.ts'

declare const brand: unique symbol
type Brand<T, Name> = T & { readonly [brand]: Name }

/** A brand has exactly one parser, below; everything behind it trusts the type. */
export type ClientId = Brand<string, 'ClientId'>
export type TopicName = Brand<string, 'TopicName'>

/** Sequence number of a message in its topic: gapless, from 1, until the topic's epoch ends. */
export type Seq = number

/**
 * Where a reader is in a topic: the last message it has. An epoch ends when the topic is forgotten or the hub restarts.
 */
export interface Position {
  readonly epoch: string
  readonly seq: Seq
}

/** Of an option that is a position. */
export const positionRule: Rule = value => {
  const { epoch, seq } = (value ?? {}) as Partial<Position>
  const isSeq = Number.isSafeInteger(seq) && seq! >= 0
  return typeof epoch === 'string' && isSeq ? undefined : 'a position { epoch, seq }, seq an integer of at least 0'
}

export const MAX_TOPIC_LENGTH = 255
export const MAX_CLIENT_ID_LENGTH = 128
/** One segment of a topic name: it is not empty, "." or "..". */
export const TOPIC_SEGMENT = '(?:\\.{0,2}[A-Za-z0-9_:-]|\\.{3})[A-Za-z0-9_.:-]*'
export const TOPIC_NAME = new RegExp(`^/?${TOPIC_SEGMENT}(?:/${TOPIC_SEGMENT})*$`)
export const CLIENT_ID = /^[A-Za-z0-9_.:@-]+$/

export const TOPIC_RULE = `a topic name is 1 to ${MAX_TOPIC_LENGTH} characters of A-Z a-z 0-9 _ . : / - without an empty, "." or ".." segment`

/**
 * Checks a topic name and drops one leading slash: `/video/main` and `video/main` are the same topic. Throws
 * TOPIC_INVALID.
 */
export function parseTopicName(input: string): TopicName {
  if (typeof input !== 'string') throw topicError(input)
  const name = input.startsWith('/') ? input.slice(1) : input
  if (name.length > MAX_TOPIC_LENGTH || !TOPIC_NAME.test(input)) throw topicError(name)
  return name as TopicName
}

function topicError(name: unknown): HubError {
  const tooLong = typeof name === 'string' && name.length > MAX_TOPIC_LENGTH
  const what = tooLong ? `${name.length} characters` : typeof name === 'string' ? JSON.stringify(name) : shown(name)
  return new HubError('TOPIC_INVALID', `topic: ${what} is not a topic name: ${TOPIC_RULE}`)
}

/**
 * Checks a client id. A connection keeps it, so it has memory of its own: a part of a URL would keep the URL. Throws
 * CLIENT_ID_INVALID.
 */
export function parseClientId(input: string): ClientId {
  if (typeof input !== 'string' || input.length > MAX_CLIENT_ID_LENGTH || !CLIENT_ID.test(input)) {
    throw new HubError(
      'CLIENT_ID_INVALID',
      `client: a client id is 1 to ${MAX_CLIENT_ID_LENGTH} characters of A-Z a-z 0-9 _ . : @ -`,
    )
  }
  return ownText(input) as ClientId
}
