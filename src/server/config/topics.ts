import { z } from 'zod'
import { HubError } from '../../core/errors.ts'
import { MOST_MESSAGE_BYTES } from '../../core/topics.ts'
import { POLICY_NAMES, parsePolicy, policySchema } from '../../policies/catalog.ts'
import { excess, MAX_JSON_BYTES } from '../../topics/json-bounds.ts'
import { compileJsonSchema, type JsonSchema } from '../../topics/json-schema.ts'
import { MAX_RULES } from '../../topics/registry.ts'
import type { TopicRule } from '../../topics/rule.ts'
import { isJson } from '../../wire/content-type.ts'

const MIB = 1024 * 1024

export const history = z.strictObject({
  messages: z.int().min(0).max(1_000_000).default(256),
  bytes: z
    .int()
    .min(0)
    .max(256 * MIB)
    .default(256 * 1024),
  ageMs: z.int().min(0).max(86_400_000).default(60_000),
})
/** Of one rule: what it does not say is as the hub's. */
export const ruleHistory = z.strictObject({
  messages: history.shape.messages.unwrap().optional(),
  bytes: history.shape.bytes.unwrap().optional(),
  ageMs: history.shape.ageMs.unwrap().optional(),
})

export const maxMessageBytes = z.int().min(1).max(MOST_MESSAGE_BYTES)
/** How long a message may wait for others to share a write with, in ms. */
export const lingerMs = z.int().min(0).max(1000)

const access = z.enum(['anyone', 'users', 'nobody'])
const perSecond = z.number().positive().max(1_000_000_000).optional()

/** An object of any JSON, bounded: it is kept, and told in answers. */
const jsonObject = z.record(z.string(), z.unknown()).superRefine((value, context) => {
  const message = excess(value)
  if (message !== undefined) context.addIssue({ code: 'custom', message })
})

const schema = z.union([z.boolean(), jsonObject]).superRefine((value, context) => {
  // What is too large was told already.
  if (typeof value === 'object' && excess(value) !== undefined) return
  try {
    compileJsonSchema(value)
  } catch (error) {
    if (!(error instanceof HubError)) throw error
    context.addIssue({ code: 'custom', message: error.message.replace(/^schema: /, '') })
  }
})

/**
 * What topics of one name or pattern are like: an entry of `topics`, and the body of `PUT /api/topic-rules/{pattern}`.
 */
export const topicRule = z
  .strictObject({
    policy: policySchema.optional(),
    allowedPolicies: z.array(z.enum(POLICY_NAMES)).optional(),
    /** It goes into a response's head as it is. */
    contentType: z
      .string()
      .max(255)
      .regex(/^[\x20-\x7e]+$/, 'it must be printable ASCII, such as text/plain')
      .optional(),
    history: ruleHistory.optional(),
    schema: schema.optional(),
    maxMessageBytes: maxMessageBytes.optional(),
    maxSubscribers: z.int().min(0).max(10_000_000).optional(),
    publishRate: z
      .strictObject({ messages: perSecond, bytes: perSecond })
      .refine(({ messages, bytes }) => messages !== undefined || bytes !== undefined, 'give messages, bytes or both')
      .meta({ minProperties: 1 })
      .optional(),
    priority: z.enum(['high', 'normal', 'bulk']).optional(),
    presence: z.boolean().optional(),
    publisher: z.boolean().optional(),
    subscribe: access.optional(),
    publish: access.optional(),
    wildcards: z.boolean().optional(),
    metadata: jsonObject.optional(),
    lingerMs: lingerMs.optional(),
    /** base64 */
    preamble: z
      .base64('it is not base64')
      .max(Math.ceil(MAX_JSON_BYTES / 3) * 4)
      .optional(),
  })
  .superRefine(({ schema, contentType }, context) => {
    if (schema === undefined || contentType === undefined || isJson(contentType)) return
    context.addIssue({
      code: 'custom',
      path: ['schema'],
      message: `it is for JSON, and contentType says ${contentType}`,
    })
  })

/** By name or pattern. */
export const topics = z
  .record(z.string(), topicRule)
  .refine(rules => Object.keys(rules).length <= MAX_RULES, `there may be at most ${MAX_RULES} rules`)
  .default({})
export const unknownTopics = z.enum(['allow', 'refuse']).default('allow')

/** Fields whose values are one thing: what a source says of one replaces what another said. */
export const WHOLE_FIELDS: readonly string[] = ['policy', 'schema', 'metadata']

export function toTopicRule({ policy, preamble, schema, ...rest }: z.infer<typeof topicRule>): TopicRule {
  return {
    ...rest,
    ...(policy !== undefined && { policy: parsePolicy(policy) }),
    ...(preamble !== undefined && { preamble: Buffer.from(preamble, 'base64') }),
    ...(schema !== undefined && { schema: schema as JsonSchema }),
  }
}
