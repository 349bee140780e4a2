import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { HubError } from '../core/errors.ts'
import {
  CLIENT_ID,
  type ClientId,
  MAX_CLIENT_ID_LENGTH,
  type Position,
  parseClientId,
  parseTopicName,
  type TopicName,
} from '../core/ids.ts'
import { isPattern, parsePattern, type TopicPattern } from '../core/patterns.ts'
import type { DeliveryPolicy } from '../core/policy.ts'
import { parsePolicy } from '../policies/catalog.ts'
import { newClientId, parsePosition } from '../transports/transport.ts'
import { readInput, withoutStrange } from './read-input.ts'

const one = z.string().max(4096)
const client = one.meta({ pattern: CLIENT_ID.source, maxLength: MAX_CLIENT_ID_LENGTH, description: 'Default: random.' })

/** Most messages that one answer with a history has. */
const MAX_HISTORY = 1000

/** The query of every subscriber URL. */
export const subscriberQuery = z.strictObject({
  client: client.optional(),
  policy: one.optional().meta({ description: 'The name of a policy, or a policy as JSON (docs/policies.md).' }),
  encoding: z
    .enum(['text', 'base64'])
    .default('text')
    .meta({ description: 'Of server-sent events: how a payload is written.' }),
  role: z.enum(['subscriber', 'publisher', 'both']).default('subscriber').meta({ description: 'Of a WebSocket.' }),
  gaps: z
    .enum(['', 'true', '1'])
    .optional()
    .meta({ description: 'Of a WebSocket: messages are binary frames, and losses are told in text frames.' }),
  lastEventId: one.optional().meta({ description: 'The same as the header Last-Event-ID.' }),
  describe: z
    .enum(['', 'true', '1'])
    .optional()
    .meta({ description: 'What the topic is like, instead of its messages.' }),
  since: z
    .union([one, z.array(one)])
    .optional()
    .meta({ description: 'Begins after this position (epoch-seq), or with the oldest message that is kept (oldest).' }),
  history: z.enum(['', 'true']).optional().meta({ description: 'A page of what is kept, instead of a stream.' }),
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(MAX_HISTORY)
    .optional()
    .meta({ description: 'Of `history`: the most messages of the page.' }),
  topic: z
    .union([one, z.array(one)])
    .optional()
    .meta({ description: 'A topic, or a pattern. May be repeated.' }),
  ticket: one.optional().meta({ description: 'A ticket of POST /api/tickets, instead of a token.' }),
})

/** Of most requests. */
const NO_QUERY = subscriberQuery.parse({})

export interface SubscriberRequest {
  readonly clientId: ClientId
  /** It said so itself. */
  readonly named: boolean
  readonly policy: DeliveryPolicy | undefined
  readonly encoding: 'text' | 'base64'
  readonly role: 'subscriber' | 'publisher' | 'both'
  /** Of a WebSocket: messages are binary frames, and losses are told in text frames. */
  readonly gaps: boolean
  /** The last event that a stream of ours gave it. */
  readonly lastEvent: Position | undefined
  /** Everything that is kept comes first, of what patterns match as well. */
  readonly fromOldest: boolean
  /** Where it wants to begin, by topic. */
  readonly since: ReadonlyMap<TopicName, Position | 'oldest'>
  readonly topics: readonly TopicName[]
  /** On a URL of several topics: those that match come along, now and later. */
  readonly patterns: readonly TopicPattern[]
  /** Wants to know what the topic is like, and not its messages. */
  readonly describe: boolean
  /** It wants an answer that ends, with at most so many messages. */
  readonly history: number | undefined
}

/** A position that no topic has: whoever asks for it is told that what it missed is unknown. */
const NOWHERE: Position = { epoch: '-', seq: 0 }

/** Reads a subscriber's request. `path`: the topic in the URL; without one, the topics are in the query. */
export function readSubscriber(request: FastifyRequest, path?: string): SubscriberRequest {
  const given = request.query as Readonly<Record<string, unknown>>
  const query =
    Object.keys(given).length > 0
      ? readInput(subscriberQuery, withoutStrange(subscriberQuery, given), 'query')
      : NO_QUERY
  if (path !== undefined && query.topic !== undefined) {
    throw new HubError('REQUEST_INVALID', 'topic: it is in the path already; /events takes several in the query')
  }
  const names = path !== undefined ? [path] : [query.topic ?? []].flat()
  if (names.length === 0) {
    throw new HubError('REQUEST_INVALID', 'topic: name at least one, as in /events?topic=a&topic=b')
  }
  if (query.describe !== undefined && (path === undefined || request.ws)) {
    throw new HubError('REQUEST_INVALID', 'describe: it is for a plain GET of one topic, as in /topics/a?describe')
  }
  if (query.role !== 'subscriber' && !request.ws) {
    throw new HubError('REQUEST_INVALID', `role: ${query.role} is for a WebSocket; over HTTP publish with POST or PUT`)
  }
  const { topics, patterns } = readNames(names, path === undefined)
  const since = query.since === undefined ? [] : [query.since].flat()
  const lastId = request.headers['last-event-id'] ?? query.lastEventId
  return {
    clientId: readClientId(query.client),
    named: query.client !== undefined,
    policy: query.policy === undefined ? undefined : readPolicy(query.policy),
    encoding: query.encoding,
    role: query.role,
    gaps: readGaps(query, request),
    describe: query.describe !== undefined,
    lastEvent: typeof lastId === 'string' && lastId !== '' ? (parsePosition(lastId) ?? NOWHERE) : undefined,
    since: since.length === 0 ? NO_SINCE : readSince(since, topics, path !== undefined),
    fromOldest: since.includes('oldest'),
    topics,
    patterns,
    history: readHistory(query, path),
  }
}

function readClientId(given: string | undefined): ClientId {
  return given === undefined ? newClientId() : parseClientId(given)
}

function readGaps({ gaps, role }: z.infer<typeof subscriberQuery>, { ws }: FastifyRequest): boolean {
  if (gaps !== undefined && (!ws || role === 'publisher')) {
    throw new HubError(
      'REQUEST_INVALID',
      'gaps is for a WebSocket that subscribes; SSE tells losses without being asked',
    )
  }
  return gaps !== undefined
}

const NO_PATTERNS: readonly TopicPattern[] = []

function readNames(names: readonly string[], several: boolean): Pick<SubscriberRequest, 'topics' | 'patterns'> {
  // A name with an asterisk is refused by its parser, where one topic is meant.
  const patterns = several && names.some(isPattern) ? names.filter(isPattern).map(parsePattern) : NO_PATTERNS
  const named = patterns.length === 0 ? names : names.filter(name => !isPattern(name))
  return {
    topics: named.length === 1 ? [parseTopicName(named[0]!)] : [...new Set(named.map(parseTopicName))],
    patterns,
  }
}

const NO_SINCE: ReadonlyMap<TopicName, Position> = new Map()

function readHistory(
  { history, limit }: z.infer<typeof subscriberQuery>,
  path: string | undefined,
): number | undefined {
  if (history !== undefined && path !== undefined) return limit ?? MAX_HISTORY
  if (history !== undefined || limit !== undefined) {
    throw new HubError('REQUEST_INVALID', 'history: it is asked of one topic, as in /topics/a?history&limit=100')
  }
  return undefined
}

/** `oldest`, `epoch-seq`, and on a URL of several topics `topic@epoch-seq`, once for each. */
function readSince(
  values: readonly string[],
  topics: readonly TopicName[],
  single: boolean,
): ReadonlyMap<TopicName, Position | 'oldest'> {
  const since = new Map<TopicName, Position | 'oldest'>()
  for (const value of values) {
    if (value === 'oldest') {
      for (const topic of topics) if (!since.has(topic)) since.set(topic, 'oldest')
      continue
    }
    const at = value.lastIndexOf('@')
    const topic = at === -1 ? (single ? topics[0] : undefined) : parseTopicName(value.slice(0, at))
    const position = parsePosition(value.slice(at + 1))
    if (topic === undefined || !topics.includes(topic) || position === undefined) throw badSince(value, single)
    since.set(topic, position)
  }
  return since
}

function badSince(value: string, single: boolean): HubError {
  const form = single ? 'epoch-seq' : 'topic@epoch-seq, once for each topic of the request'
  return new HubError('REQUEST_INVALID', `since: ${JSON.stringify(value.slice(0, 100))} is neither oldest nor ${form}`)
}

/**
 * Where a topic begins. An event's id is one topic's, which the epoch shows; of several topics the others begin where
 * `since` says, or are told that what they missed is unknown.
 *
 * @param epoch the topic's own; undefined where nobody has used it
 */
export function startOf(
  { lastEvent, since, topics, patterns }: SubscriberRequest,
  topic: TopicName,
  epoch: string | undefined,
): Position | 'oldest' | undefined {
  if (lastEvent !== undefined && (topics.length + patterns.length === 1 || lastEvent.epoch === epoch)) return lastEvent
  return since.get(topic) ?? lastEvent
}

/** A policy's name, or its JSON form: `latest`, `{"name":"drop-slow","timeoutMs":100}`. */
function readPolicy(text: string): DeliveryPolicy {
  if (!text.startsWith('{')) return parsePolicy(text)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new HubError('POLICY_INVALID', 'policy: give a name, such as latest, or valid JSON')
  }
  return parsePolicy(value)
}

/** SDKs add keys of their own, such as `cf_protocol_version`: those are ignored, and a misspelt key of ours is not. */
export const connectionQuery = z.strictObject({ client: client.optional(), ticket: one.optional() })

/** Reads the request that opens a socket of the client protocol: topics come later, as commands. */
export function readConnection(request: FastifyRequest): { readonly clientId: ClientId; readonly named: boolean } {
  const { client } = readInput(
    connectionQuery,
    withoutStrange(connectionQuery, request.query as Record<string, unknown>),
    'query',
  )
  return { clientId: readClientId(client), named: client !== undefined }
}
