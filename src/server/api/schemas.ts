import { z } from 'zod'
import { type ErrorCode, HTTP_STATUS } from '../../core/errors.ts'
import { CLIENT_ID, MAX_CLIENT_ID_LENGTH, MAX_TOPIC_LENGTH, TOPIC_NAME, TOPIC_SEGMENT } from '../../core/ids.ts'
import { shown } from '../../core/options.ts'
import { TOPIC_PATTERN } from '../../core/patterns.ts'
import { POSITION } from '../../transports/transport.ts'
import { BASE64_PATTERN, isBase64 } from '../../wire/base64.ts'

/** What the API answers, and the fields that several operations take. Docs of a field are in its description. */

export const count = z.int().min(0)
export const ms = z.number().min(0)
const counts = z.record(z.string(), count)

/** Forms that the core checks, with errors of its own: the document states them, and these schemas take any string. */
const clientIdForm = { minLength: 1, maxLength: MAX_CLIENT_ID_LENGTH, pattern: CLIENT_ID.source }
const topicForm = { minLength: 1, maxLength: MAX_TOPIC_LENGTH, pattern: TOPIC_NAME.source }
const patternForm = { minLength: 1, maxLength: MAX_TOPIC_LENGTH, pattern: TOPIC_PATTERN.source }
const positionForm = { pattern: POSITION.source }

export const clientId = z
  .string()
  .min(1)
  .meta({ ...clientIdForm, description: 'Id of a client.' })
/** The id of a client that need not be there, and may be left out. */
export const anyClientId = z.string().meta(clientIdForm)
export const topicName = z
  .string()
  .min(1)
  .meta({ ...topicForm, description: 'Name of a topic; in a path with %2F for its slashes.' })
/** The id of a message, as the header idempotency-key has it. */
export const messageKey = z.string().meta({ minLength: 1, maxLength: 255, pattern: '^[!-~]+$' })
export const anyTopicName = z.string().meta(topicForm)
export const topicPattern = z.string().min(1).meta(patternForm)
/** A segment may be `{user}`. */
export const grantedPattern = topicPattern.meta({
  ...patternForm,
  pattern: patternForm.pattern.replaceAll(TOPIC_SEGMENT, `(?:${TOPIC_SEGMENT}|\\{user\\})`),
})
export const positionText = z.string().meta(positionForm)
export const userName = z.string().min(1).max(255).meta({ description: 'A user: one may have many clients.' })
export const clientPath = z.strictObject({ id: clientId })
export const topicPathSchema = z.strictObject({ topic: topicName })
export const userPath = z.strictObject({ user: userName })

export const position = z.object({ epoch: z.string(), seq: count })
/** A policy's JSON form: parsePolicy checks it, and says POLICY_INVALID. */
export const policy = z.any().refine(value => value !== undefined, 'it is missing')
export const policyDescription = z.looseObject({ name: z.string() })

export const publisher = z
  .object({ client: z.string().optional(), user: z.string().optional(), info: z.unknown().optional() })
  .meta({ description: 'Who published it, where the rule of the topic says `publisher: true`.' })

/** What became of one message that was published. */
export const published = z.object({
  topic: z.string(),
  epoch: z.string().optional(),
  seq: count.optional(),
  matched: count.optional().meta({ description: 'Subscriptions that it is for.' }),
  behind: count.optional().meta({ description: 'Those of them that were behind.' }),
  unsupported: count
    .optional()
    .meta({ description: 'Subscribers whose protocol cannot carry it: they are told a gap.' }),
})

const drop = z.object({ policy: z.string(), reason: z.string(), count })

export const subscriptionInfo = z.object({
  topic: z.string(),
  policy: policyDescription,
  wish: policyDescription.optional(),
  decidedBy: z.enum(['wish', 'class', 'topic', 'rule', 'default']).meta({
    description: "Whose policy governs: the subscription's, the client's, the topic's, its rule's, or the hub's.",
  }),
  pattern: z.string().optional().meta({ description: 'It is on the topic by this pattern.' }),
  priority: z.enum(['high', 'normal', 'bulk']),
  state: z.enum(['live', 'behind']),
  published: count,
  delivered: count,
  dropped: count,
  pending: count,
  unconfirmed: count,
  pendingBytes: count,
  measured: z.enum(['queue', 'wire']),
})

export const clientInfo = z.object({
  id: z.string(),
  protocol: z.string(),
  protocols: z.array(z.string()),
  user: z.string().optional(),
  expiresAt: z.number().optional().meta({ description: 'When its session ends, in ms since 1970.' }),
  address: z.string().optional(),
  connectedMs: ms,
  writable: z.boolean(),
  queuedBytes: count.meta({ description: 'In this process, waiting for it.' }),
  waitedMs: ms.meta({ description: 'How long its oldest message has waited.' }),
  unacknowledged: count
    .optional()
    .meta({ description: 'Bytes that its host has not confirmed, where that can be told.' }),
  circuit: z.enum(['closed', 'open', 'half-open']).optional(),
  sinceSendMs: ms.optional(),
  drops: counts.meta({ description: 'Messages that it lost, by reason.' }),
  subscriptions: z.array(subscriptionInfo),
  patterns: z.array(z.object({ pattern: z.string(), wish: policyDescription.optional(), topics: count })),
})

/** With which rule won, and over which. */
export const inspectedClient = clientInfo.extend({
  subscriptions: z.array(
    subscriptionInfo.extend({
      rule: z.string().optional().meta({ description: 'The rule of the topic.' }),
      candidates: z
        .array(z.object({ origin: z.string(), policy: policyDescription }))
        .meta({ description: 'Every policy that could govern, the strongest first.' }),
    }),
  ),
})

export const topicInfo = z.object({
  name: z.string(),
  position,
  contentType: z.string().optional(),
  lingerMs: ms,
  policy: policyDescription,
  rule: z.string().optional(),
  priority: z.enum(['high', 'normal', 'bulk']),
  presence: z.boolean(),
  subscribers: count,
  behind: count,
  published: count,
  delivered: count,
  drops: z.array(drop),
  retained: z.object({
    messages: count,
    bytes: count.meta({ description: 'Memory of the messages that are kept: payloads and objects.' }),
  }),
})

export const connectionStats = z.object({
  clients: count,
  clientsByProtocol: counts,
  clientsTotal: count,
  users: count,
  patterns: count,
  positions: count,
  topics: count,
  subscriptions: count,
  behind: count,
  published: count,
  publishedBytes: count,
  delivered: count,
  dropped: count,
  pending: count,
  unconfirmed: count,
  circuits: counts,
  queuedBytes: count,
  retainedBytes: count.meta({ description: 'Memory of the messages that topics keep, and of remembered positions.' }),
  keptBytes: count.meta({
    description:
      'Memory held for topics and clients, which limits.maxRetainedBytes bounds. A message or a frame counts once.',
  }),
  drops: z.array(drop),
  closes: counts,
  refused: counts.meta({ description: 'What each limit has refused.' }),
  uptimeMs: ms,
})

const operation = z.object({
  count,
  active: count,
  retries: count,
  errors: counts,
  p50: ms.optional(),
  p95: ms.optional(),
  p99: ms.optional(),
  max: ms.optional(),
})
export const hubMetrics = z.object({
  operations: z.object({ send: operation, broadcast: operation, route: operation, callback: operation }),
  circuits: counts,
  queues: z.object({ pending: count, unconfirmed: count, bytes: count }),
})

export const subscription = z.object({ topic: z.string(), position, recovered: z.boolean() })

export const failure = z.object({ code: z.string(), message: z.string() })
const outcome = z.object({
  clientId: z.string(),
  ok: z.boolean(),
  confirmed: z.boolean().optional(),
  ms: ms.optional(),
  error: failure.optional(),
})
export const broadcastResult = z.object({
  error: failure.optional(),
  id: z.string(),
  sent: count,
  failed: count,
  results: z.array(outcome),
})

/** A message in JSON: one of data, text and base64. */
export const content = {
  data: z.unknown().optional().meta({ description: 'The message, as any JSON.' }),
  text: z.string().optional().meta({ description: 'The message, as a text.' }),
  base64: z.string().refine(isBase64, 'it is not base64').optional().meta({
    pattern: BASE64_PATTERN,
    contentEncoding: 'base64',
    format: 'base64',
    description: 'The message, as bytes.',
  }),
  contentType: z
    .string()
    .min(1)
    .max(255)
    .regex(/^[\x20-\x7e]+$/, 'it must be printable ASCII')
    .optional()
    .meta({
      description:
        'Default: of a publication the type of its topic; else application/json for data, text/plain; charset=utf-8 for text, application/octet-stream for base64. The bytes are not looked at.',
    }),
}

/** The content type of a message whose sender says none. */
export function defaultType({ text, base64 }: { readonly text?: unknown; readonly base64?: unknown }): string {
  if (base64 !== undefined) return 'application/octet-stream'
  return text === undefined ? 'application/json' : 'text/plain; charset=utf-8'
}

/** For `refine`: exactly one of the three is there. */
export function saysWhatOnce(body: object): boolean {
  return ['data', 'text', 'base64'].filter(key => Object.hasOwn(body, key)).length === 1
}
/** The same, as JSON Schema has it. */
export const SAY_WHAT_FORMS = { oneOf: formsWith('data', 'text', 'base64') }
export function formsWith(...names: readonly string[]): { required: [string] }[] {
  return names.map(name => ({ required: [name] }))
}
export const SAY_WHAT = { path: ['data'], error: 'say what, once: data (any JSON), text or base64' }

/** The refusals of whatever sends to single clients. */
export const SENDING_ERRORS: readonly ErrorCode[] = [
  'INVALID_MESSAGE',
  'MESSAGE_TOO_LARGE',
  'UNSUPPORTED_PAYLOAD',
  'SHUTTING_DOWN',
]

/** A number in a query, which is a text. The document tells it as the number that it is. */
export function queryNumber(schema: z.ZodInt) {
  const { $schema: _, ...described } = z.toJSONSchema(schema)
  return z
    .string()
    .refine(isNumber, { error: ({ input }) => `must be a number, got ${shown(input)}` })
    .transform(Number)
    .pipe(schema)
    .meta(described)
}

function isNumber(text: string): boolean {
  return text.trim() !== '' && Number.isFinite(Number(text))
}

export const queryBoolean = z.enum(['true', 'false']).transform(text => text === 'true')

/** A list in a query: `?a=1&a=2`. */
export function queryList(max: number) {
  return z.union([z.string(), z.array(z.string()).min(1).max(max)]).transform(value => [value].flat())
}

/** The body of an error. */
export const errorSchema = z
  .object({
    error: z.object({
      code: z.enum(Object.keys(HTTP_STATUS) as [ErrorCode, ...ErrorCode[]]),
      reason: z.string().optional().meta({ description: 'Of UNAUTHENTICATED: its class.' }),
      message: z.string().meta({ description: 'One sentence for people.' }),
    }),
  })
  // Some errors tell more: which of many items failed.
  .loose()
