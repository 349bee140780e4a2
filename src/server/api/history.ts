import { z } from 'zod'
import { parseTopicName } from '../../core/ids.ts'
import type { Message } from '../../core/message.ts'
import { stringifyRaw } from '../../wire/raw-json.ts'
import type { HubContext } from '../context.ts'
import { answerHead } from '../stream-head.ts'
import { readPosition } from './clients.ts'
import { streamHead } from './event-stream.ts'
import { payloadOf } from './payload.ts'
import { PresenceStreams } from './presence-streams.ts'
import type { Api } from './route.ts'
import { count, position, positionText, publisher, queryBoolean, queryNumber, topicPathSchema } from './schemas.ts'

const DEFAULT_LIMIT = 100
const MAX_LIMIT = 1000
/** Payloads of one answer, in bytes. */
const MAX_BYTES = 8 * 1024 * 1024

const historyQuery = z.strictObject({
  since: positionText.optional().meta({ description: 'Only what came after this position (epoch-seq).' }),
  limit: queryNumber(z.int().min(0).max(MAX_LIMIT))
    .optional()
    .meta({ description: `0 to ${MAX_LIMIT}; default ${DEFAULT_LIMIT}. 0: the position alone.` }),
  reverse: queryBoolean.optional().meta({ description: 'true: the newest first.' }),
})

const keptMessage = z.object({
  seq: count,
  contentType: z.string(),
  key: z.string().optional(),
  publisher: publisher.optional(),
  data: z.unknown().optional().meta({ description: 'Of a message that is JSON.' }),
  text: z.string().optional().meta({ description: 'Of one that is text.' }),
  base64: z.string().optional().meta({ description: 'Of any other.' }),
})

const presenceQuery = z.strictObject({
  follow: queryBoolean.default(false).meta({ description: 'true: a stream of who comes and goes.' }),
})
const presence = z.object({ client: z.string(), user: z.string().optional(), info: z.unknown().optional() })

/** What a topic keeps, and who is on it. */
export function historyRoutes(api: Api, { hub, heartbeat, closing }: HubContext): void {
  const tag = 'Topics'
  const streams = new PresenceStreams(hub, heartbeat, closing)

  api.add({
    method: 'GET',
    path: '/api/topics/{topic}/history',
    tag,
    summary: 'The messages that it keeps',
    params: topicPathSchema,
    query: historyQuery,
    answers: {
      200: {
        description:
          '`position`: of its last message. `recovered`: nothing after `since` is missing, but for what the limit leaves out.',
        schema: z.object({
          topic: z.string(),
          position,
          recovered: z.boolean(),
          more: z.boolean().meta({ description: 'There are more than this answer has room for.' }),
          messages: z.array(keptMessage),
        }),
      },
    },
    errors: ['TOPIC_INVALID', 'TOPIC_UNKNOWN'],
    handler: ({ params: { topic }, query: { since, limit = DEFAULT_LIMIT, reverse }, reply }) => {
      const after = since === undefined ? undefined : readPosition(since)
      const { position, messages, recovered } = hub.kept(topic, { after, limit: limit + 1, reverse })
      const fitting = messages.slice(0, Math.min(limit, fits(messages)))
      const more = fitting.length < messages.length
      reply.type('application/json; charset=utf-8')
      return stringifyRaw({ topic: parseTopicName(topic), position, recovered, more, messages: fitting.map(shown) })
    },
  })

  api.add({
    method: 'GET',
    path: '/api/topics/{topic}/presence',
    tag,
    summary: 'Who is on it, where the topic tells it',
    description:
      'With `follow=true` a stream of events (text/event-stream): `state` once, then `join` and `leave` for each client that comes or goes, `end` with a reason where this reader is too slow, presence is turned off, or the hub shuts down.',
    params: topicPathSchema,
    query: presenceQuery,
    streamsEvents: true,
    answers: { 200: { description: 'One entry for each client.', schema: z.object({ clients: z.array(presence) }) } },
    errors: ['TOPIC_INVALID', 'TOPIC_UNKNOWN', 'PRESENCE_OFF', 'LIMIT_EXCEEDED'],
    handler: ({ params: { topic }, query: { follow }, request, reply }) => {
      if (!follow) return { clients: hub.presence(topic) }
      if (request.method === 'HEAD') {
        hub.presence(topic)
        return answerHead(reply, 'sse')
      }
      streams.open(parseTopicName(topic), reply.raw, streamHead(reply))
      return reply.hijack()
    },
  })

  api.add({
    method: 'GET',
    path: '/api/topics/{topic}/presence-stats',
    tag,
    summary: 'How many are on it, where the topic tells it',
    params: topicPathSchema,
    answers: {
      200: { description: 'A user on two devices counts once.', schema: z.object({ clients: count, users: count }) },
    },
    errors: ['TOPIC_INVALID', 'TOPIC_UNKNOWN', 'PRESENCE_OFF'],
    handler: ({ params }) => hub.presenceStats(params.topic),
  })
}

/** How many of them have room in one answer: one, however large it is. */
function fits(messages: readonly Message[]): number {
  let bytes = 0
  const beyond = messages.findIndex(({ payload }, index) => {
    bytes += payload.byteLength
    return index > 0 && bytes > MAX_BYTES
  })
  return beyond === -1 ? messages.length : beyond
}

function shown({ seq, contentType, key, publisher, payload }: Message) {
  return { seq, contentType, key, publisher, ...payloadOf(contentType, payload) }
}
