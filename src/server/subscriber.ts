import type { FastifyRequest } from 'fastify'
import { z } from 'zod'
import { HubError } from '../core/errors.ts'
import { type ClientId, type Position, parseClientId, parseTopicName, type TopicName } from '../core/ids.ts'
import type { DeliveryPolicy } from '../core/policy.ts'
import { parsePolicy } from '../policies/catalog.ts'
import { parseEventId } from '../transports/sse.ts'
import { newClientId } from '../transports/transport.ts'

const one = z.string().max(4096)

/** The query of every subscriber URL. */
const subscriberQuery = z.strictObject({
  client: one.optional(),
  policy: one.optional(),
  encoding: z.enum(['text', 'base64']).default('text'),
  role: z.enum(['subscriber', 'publisher', 'both']).default('subscriber'),
  lastEventId: one.optional(),
  /** What the topic is like, instead of its messages. */
  describe: z.enum(['', 'true', '1']).optional(),
  topic: z.union([one, z.array(one)]).optional(),
  ticket: one.optional(),
})

/** Of most requests. */
const NO_QUERY = subscriberQuery.parse({})

export interface SubscriberRequest {
  readonly clientId: ClientId
  readonly policy: DeliveryPolicy | undefined
  readonly encoding: 'text' | 'base64'
  readonly role: 'subscriber' | 'publisher' | 'both'
  readonly after: Position | undefined
  readonly topics: readonly TopicName[]
  /** Wants to know what the topic is like, and not its messages. */
  readonly describe: boolean
}

/** A position that no topic has: whoever asks for it is told that what it missed is unknown. */
const NOWHERE: Position = { epoch: '', seq: 0 }

/** Reads a subscriber's request. `path`: the topic in the URL; without one, the topics are in the query. */
export function readSubscriber(request: FastifyRequest, path?: string): SubscriberRequest {
  const query = Object.keys(request.query as object).length > 0 ? subscriberQuery.parse(request.query) : NO_QUERY
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
  const lastId = request.headers['last-event-id'] ?? query.lastEventId
  return {
    clientId: parseClientId(query.client ?? newClientId()),
    policy: query.policy === undefined ? undefined : readPolicy(query.policy),
    encoding: query.encoding,
    role: query.role,
    after: typeof lastId === 'string' && lastId !== '' ? (parseEventId(lastId) ?? NOWHERE) : undefined,
    topics: names.length === 1 ? [parseTopicName(names[0]!)] : [...new Set(names.map(parseTopicName))],
    describe: query.describe !== undefined,
  }
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

const connectionQuery = z.strictObject({
  client: one.optional(),
  ticket: one.optional(),
  cf_ws_frame_ping_pong: one.optional(),
})

/** Reads the request that opens a socket of the client protocol: topics come later, as commands. */
export function readConnection(request: FastifyRequest): ClientId {
  const { client } = connectionQuery.parse(request.query)
  return parseClientId(client ?? newClientId())
}
