import { nameOf } from '../core/guarded-codec.ts'
import type { DeliveryPolicy, PolicyDescription } from '../core/policy.ts'
import { descriptionOf } from '../core/terms.ts'
import { type TopicSpec, takesWildcards } from '../core/topics.ts'
import type { TopicRule } from './rule.ts'
import { isStandardSchema } from './schema.ts'

/** Its name where it cannot be described. The hub tells the fault where it describes its topics and clients. */
export function described(policy: DeliveryPolicy): PolicyDescription {
  try {
    return descriptionOf(policy)
  } catch {
    return { name: nameOf(policy) }
  }
}

/**
 * A rule as JSON has it, in the form in which it can be set again, but for what only code can say: `check` and Standard
 * Schemas.
 */
export function describeRule({ policy, preamble, check, schema, ...rest }: TopicRule): Record<string, unknown> {
  const inCode = check !== undefined || (schema !== undefined && isStandardSchema(schema))
  return {
    ...rest,
    policy: policy && described(policy),
    preamble: preamble && Buffer.from(preamble).toString('base64'),
    schema: inCode ? undefined : schema,
    /** Something is checked that JSON cannot say. */
    checkedInCode: inCode || undefined,
  }
}

/** All of a topic, for operators. `policy`: the hub's, for topics that have none of their own. */
export function describeSpec(spec: TopicSpec, policy: DeliveryPolicy): Record<string, unknown> {
  const { check, preamble, ...rest } = spec
  return {
    ...rest,
    policy: described(spec.policy ?? policy),
    checked: check !== undefined,
    preambleBytes: preamble?.byteLength ?? 0,
    ...accessOf(spec),
  }
}

/** What a client that may subscribe to the topic may know of it. */
export function describePublicly(spec: TopicSpec): Record<string, unknown> {
  const { name, contentType, schema, metadata, history, maxMessageBytes, presence = false, publisher = false } = spec
  return { topic: name, contentType, schema, metadata, history, maxMessageBytes, presence, publisher }
}

function accessOf(spec: TopicSpec): Record<string, unknown> {
  const { priority = 'normal', presence = false, publisher = false, subscribe = 'anyone', publish = 'anyone' } = spec
  return { priority, presence, publisher, subscribe, publish, wildcards: takesWildcards(spec) }
}
