import { HubError } from '../core/errors.ts'
import type { LogBounds } from '../core/log.ts'
import type { TopicPattern } from '../core/patterns.ts'
import { DEFAULT_HISTORY, DEFAULT_MAX_MESSAGE_BYTES, type TopicDefaults, type TopicSpec } from '../core/topics.ts'
import { isJson } from '../wire/content-type.ts'
import { checkOf, isStandardSchema, type TopicSchema } from './schema.ts'

/** What topics of a name or a pattern are like. What it does not say is as the defaults have it. */
export interface TopicRule extends Omit<TopicDefaults, 'rule' | 'history' | 'maxMessageBytes' | 'schema'> {
  readonly maxMessageBytes?: number | undefined
  readonly history?: { readonly [Bound in keyof LogBounds]?: number | undefined } | undefined
  /**
   * What is published must be JSON that this takes: a JSON Schema (draft 2020-12; draft-07 where `$schema` says so), or a Standard Schema
   * (zod, valibot, arktype...), synchronous. Instead of `check`.
   */
  readonly schema?: TopicSchema | undefined
}

const JSON_TYPE = 'application/json'

/** All of a topic but its name. */
export type NamelessSpec = Omit<TopicSpec, 'name'>

/** A rule over the defaults. Throws REQUEST_INVALID where its schema does not compile, or contradicts the rest. */
export function specOf(rule: TopicRule, defaults: TopicDefaults, pattern: TopicPattern | 'default'): NamelessSpec {
  const { schema, history, ...said } = defined(rule)
  const spec: TopicSpec = {
    // Of no topic: to be overwritten.
    name: '' as TopicSpec['name'],
    maxMessageBytes: DEFAULT_MAX_MESSAGE_BYTES,
    ...defined(defaults),
    ...(said as TopicDefaults),
    history: { ...DEFAULT_HISTORY, ...defaults.history, ...(defined(history ?? {}) as Partial<LogBounds>) },
    rule: pattern,
  }
  if (schema === undefined) return spec
  if (said.check) throw new HubError('REQUEST_INVALID', 'schema: there is a check as well; one of them decides')
  const { contentType = JSON_TYPE } = spec
  if (!isJson(contentType)) {
    throw new HubError('REQUEST_INVALID', `schema: it is for JSON, and contentType says ${contentType}`)
  }
  return { ...spec, contentType, check: checkOf(schema), ...(!isStandardSchema(schema) && { schema }) }
}

/** What is undefined says nothing. */
function defined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as T
}
