import { z } from 'zod'
import type { ErrorCode } from '../../core/errors.ts'
import { publishQuery, sourceQuery } from '../routes/publishing.ts'
import { connectionQuery, subscriberQuery } from '../subscriber.ts'
import type { Api } from './route.ts'
import { count, errorSchema, published, publisher, topicPathSchema } from './schemas.ts'

const STREAM = 'text/event-stream'
const SUBSCRIBING: readonly ErrorCode[] = [
  'TOPIC_INVALID',
  'TOPIC_UNKNOWN',
  'CLIENT_ID_INVALID',
  'POLICY_INVALID',
  'POLICY_DENIED',
  'UPGRADE_INVALID',
  'SHUTTING_DOWN',
]
const PUBLISHING: readonly ErrorCode[] = ['TOPIC_INVALID', 'TOPIC_UNKNOWN', 'SCHEMA_MISMATCH', 'SHUTTING_DOWN']

const topicDescription = z.object({
  topic: z.string(),
  contentType: z.string().optional(),
  schema: z.unknown().optional(),
  metadata: z.unknown().optional(),
  history: z.object({ messages: count, bytes: count, ageMs: count }),
  maxMessageBytes: count,
  presence: z.boolean(),
  publisher: z.boolean(),
})
const historyPage = z.object({
  topic: z.string(),
  position: z.string().optional().meta({ description: 'Of its last message.' }),
  recovered: z.boolean().optional().meta({ description: 'With `since`: nothing after it is missing.' }),
  messages: z.array(
    z.object({
      position: z.string(),
      contentType: z.string(),
      key: z.string().optional(),
      publisher: publisher.optional(),
      text: z.string().optional(),
      base64: z.string().optional(),
    }),
  ),
  next: z.string().optional().meta({ description: 'Give it as `since` for the next page; absent on the last.' }),
})

/** Describes the routes that are registered elsewhere, by what checks their requests. */
export function publicRoutes(api: Api): void {
  topics(api)
  sockets(api)
  probes(api)
  connections(api)
}

function topics(api: Api): void {
  const tag = 'Clients subscribe and publish'
  const access = 'session'
  api.describe({
    method: 'GET',
    path: '/topics/{topic}',
    operationId: 'subscribe',
    tag,
    access,
    summary: 'Subscribes to a topic; or with describe or history, tells of it',
    description:
      'A stream without an end: server-sent events where `Accept` says so, a WebSocket where it is asked for, else the messages as they are (docs/protocols.md). A header Last-Event-ID goes on after an event. With `describe` what the topic is like, with `history` a page of what it keeps, both as JSON.',
    params: topicPathSchema,
    query: subscriberQuery.omit({ topic: true }),
    answers: {
      101: { description: 'A WebSocket: a frame is a message.' },
      200: {
        description: 'JSON for `describe` and `history`; else the stream, of the type that its topic has.',
        schema: z.union([topicDescription, historyPage]),
        otherTypes: [STREAM, 'multipart/x-mixed-replace', '*/*'],
      },
    },
    errors: SUBSCRIBING,
  })
  api.describe({
    method: 'POST',
    path: '/topics/{topic}',
    operationId: 'publishMessage',
    tag,
    access,
    summary: 'Publishes one message',
    description:
      'With a header idempotency-key the same request within five minutes is answered as the first was, and publishes nothing.',
    params: topicPathSchema,
    query: publishQuery,
    rawBody: 'The message as it is, of any type but multipart/form-data.',
    answers: { 202: { description: 'It is published. `epoch` and `seq` are its position.', schema: published } },
    errors: [...PUBLISHING, 'IDEMPOTENCY_CONFLICT'],
  })
  api.describe({
    method: 'PUT',
    path: '/topics/{topic}',
    operationId: 'publishSource',
    tag,
    access,
    summary: 'Publishes a live source',
    description: 'The body is published as it comes, each piece or, with `split=lines`, each line as a message.',
    params: topicPathSchema,
    query: sourceQuery,
    rawBody: 'The source, of any length and of any type but multipart/form-data.',
    answers: {
      200: {
        description: 'It has ended.',
        schema: z.object({
          topic: z.string(),
          messages: count,
          bytes: count,
          refused: count
            .optional()
            .meta({ description: 'Messages that `beforePublish` refused, where there are any.' }),
          unsupported: count.optional().meta({
            description: 'Over all messages, the subscribers whose protocol cannot carry them, where there are any.',
          }),
        }),
      },
    },
    errors: PUBLISHING,
  })
  api.describe({
    method: 'GET',
    path: '/events',
    operationId: 'subscribeToSeveral',
    tag,
    access,
    summary: 'Subscribes to several topics and patterns, on one stream of events',
    description: 'Each event has the name of its topic. A header Last-Event-ID goes on after an event.',
    query: subscriberQuery
      .omit({ role: true, gaps: true, describe: true, history: true, limit: true })
      .required({ topic: true }),
    answers: { 200: { description: 'A stream without an end.', type: STREAM } },
    errors: SUBSCRIBING,
  })
}

function sockets(api: Api): void {
  api.describe({
    method: 'GET',
    path: '/connection/websocket',
    operationId: 'connect',
    tag: 'Clients subscribe and publish',
    access: 'session',
    summary: 'Opens a WebSocket of the client protocol',
    description: 'Many topics on one socket, changed at run time (docs/client-protocol.md).',
    query: connectionQuery,
    answers: { 101: { description: 'The WebSocket.' } },
    errors: ['CLIENT_ID_INVALID', 'UPGRADE_INVALID', 'UPGRADE_REQUIRED', 'SHUTTING_DOWN'],
  })
}

function probes(api: Api): void {
  const tag = 'Operation'
  api.describe({
    method: 'GET',
    path: '/health/live',
    tag,
    access: 'open',
    summary: 'Does the process run',
    answers: { 200: { description: 'It does.', schema: z.object({ status: z.literal('ok') }) } },
  })
  api.describe({
    method: 'GET',
    path: '/health/ready',
    tag,
    access: 'open',
    summary: 'Does the hub take work',
    answers: {
      200: {
        description: 'It does. `degraded`: something that it uses does not work.',
        schema: z.object({ status: z.enum(['ok', 'degraded']), why: z.string().optional() }),
      },
      503: {
        description: 'It drains. Or LIMIT_EXCEEDED.',
        schema: z.union([z.object({ status: z.literal('draining') }), errorSchema]),
      },
    },
  })
  api.describe({
    method: 'GET',
    path: '/metrics',
    operationId: 'scrape',
    tag: 'Monitoring',
    access: 'metrics',
    summary: 'Counters and gauges, for Prometheus',
    answers: { 200: { description: 'docs/metrics.md says what each is.', type: 'text/plain' } },
  })
}

/** AWS's own names of errors, in a header. */
const EXCEPTIONS: Readonly<Record<number, string>> = {
  400: 'BadRequestException',
  401: 'The key is missing, or nobody has it.',
  403: 'ForbiddenException',
  405: 'The path has other methods.',
  408: 'The body did not come in time.',
  410: 'GoneException',
  413: 'PayloadTooLargeException',
  421: 'The hub does not have this name.',
  429: 'LimitExceededException',
  431: 'There are too many headers.',
  502: 'The client did not take it.',
  503: 'ServiceUnavailableException',
  504: 'The client did not take it in time.',
}

function connections(api: Api): void {
  const schema = z.object({ message: z.string() })
  const refused = Object.entries(EXCEPTIONS).map(([status, description]) => [status, { description, schema }])
  const common = {
    path: '/@connections/{id}',
    tag: 'As AWS API Gateway',
    description: 'The same at /{stage}/@connections/{id}, with any name of a stage.',
    // Of an id that no client can have the answer is 410, as of any that is not connected.
    params: z.strictObject({ id: z.string().min(1) }),
    errorAnswers: Object.fromEntries(refused),
  } as const
  api.describe({
    ...common,
    method: 'POST',
    operationId: 'postToConnection',
    access: 'publish',
    summary: 'Sends to one client',
    rawBody: 'The message as it is, at most 128 KiB.',
    answers: { 200: { description: 'Its transport took it.' } },
  })
  api.describe({
    ...common,
    method: 'GET',
    operationId: 'getConnection',
    summary: 'Since when a client is there',
    answers: {
      200: {
        description: 'As AWS has it.',
        schema: z.object({
          connectedAt: z.iso.datetime(),
          identity: z.object({ sourceIp: z.string(), userAgent: z.string() }),
          lastActiveAt: z.iso.datetime(),
        }),
      },
    },
  })
  api.describe({
    ...common,
    method: 'DELETE',
    operationId: 'deleteConnection',
    summary: 'Disconnects a client',
    answers: { 204: { description: 'It is gone.' } },
  })
}
