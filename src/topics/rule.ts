import { contentTypeRule } from '../core/arguments.ts'
import { HubError } from '../core/errors.ts'
import type { LogBounds } from '../core/log.ts'
import {
  anything,
  callable,
  flag,
  integer,
  MAX_ENTRIES,
  nested,
  number,
  object,
  oneOf,
  positive,
  type Rule,
  type Rules,
  readOptions,
  text,
  texts,
} from '../core/options.ts'
import type { TopicPattern } from '../core/patterns.ts'
import { policyRule } from '../core/policy-check.ts'
import {
  DEFAULT_HISTORY,
  DEFAULT_MAX_MESSAGE_BYTES,
  MOST_MESSAGE_BYTES,
  type PublishRate,
  type TopicDefaults,
  type TopicSpec,
} from '../core/topics.ts'
import { isJson } from '../wire/content-type.ts'
import { excess, MAX_JSON_BYTES, MAX_JSON_DEPTH, plainJson } from './json-bounds.ts'
import { checkOf, isStandardSchema, type TopicSchema } from './schema.ts'

/** What topics of a name or a pattern are like. What it does not say is as the defaults have it. */
export interface TopicRule extends Omit<TopicDefaults, 'rule' | 'history' | 'maxMessageBytes' | 'schema'> {
  readonly maxMessageBytes?: number | undefined
  readonly history?: { readonly [Bound in keyof LogBounds]?: number | undefined } | undefined
  /**
   * What is published must be JSON that this takes: a JSON Schema (draft 2020-12; draft-07 where `$schema` says so), or
   * a Standard Schema (zod, valibot, arktype...), synchronous. Instead of `check`.
   */
  readonly schema?: TopicSchema | undefined
}

const JSON_TYPE = 'application/json'
const access = oneOf('anyone', 'users', 'nobody')
const perSecond = positive(1_000_000_000)
const PUBLISH_RATE: Rules<PublishRate> = { messages: perSecond, bytes: perSecond }
/** An application may have made policies of any name. */
const policyNames: Rule = (value, field) =>
  texts(value, field) ??
  ((value as string[]).every(name => name !== '' && name.trim() === name) ? undefined : 'an array of names of policies')
const publishRate: Rule = (value, field) => {
  const { messages, bytes } = readOptions(value as PublishRate, PUBLISH_RATE, `${field}.`)
  return messages === undefined && bytes === undefined ? 'a rate of messages, bytes or both' : undefined
}
const HISTORY: Rules<LogBounds> = {
  messages: integer(0, 1_000_000),
  bytes: integer(0, 256 * 1024 * 1024),
  ageMs: number(0, 86_400_000),
}
/** A circular value is not JSON, so `excess` is asked last: on a circular value it would run for long. */
const metadata: Rule = (value, field) =>
  object(value, field) ?? plainJson(value, field) ?? (excess(value) && BOUNDED_JSON)
const BOUNDED_JSON = `JSON of at most ${MAX_JSON_BYTES} bytes and ${MAX_JSON_DEPTH} levels`

const RULE: Rules<TopicRule> = {
  policy: policyRule,
  allowedPolicies: policyNames,
  contentType: contentTypeRule,
  history: nested(HISTORY),
  maxMessageBytes: integer(1, MOST_MESSAGE_BYTES),
  lingerMs: number(0, 1000),
  preamble: value => (value instanceof Uint8Array ? undefined : 'a Uint8Array or Buffer'),
  maxSubscribers: integer(0, MAX_ENTRIES),
  publishRate,
  priority: oneOf('high', 'normal', 'bulk'),
  presence: flag,
  publisher: flag,
  subscribe: access,
  publish: access,
  wildcards: flag,
  check: callable,
  // Compiling it says what is wrong with it.
  schema: anything,
  metadata,
}
const DEFAULTS: Rules<TopicDefaults> = { ...RULE, rule: text }

/** Without one of these a topic is open to more: one that is undefined by mistake must not open it. */
const RESTRICTIONS = [
  ...(['subscribe', 'publish', 'allowedPolicies', 'maxSubscribers', 'publishRate', 'maxMessageBytes'] as const),
  ...(['check', 'schema'] as const),
]

/**
 * Throws POLICY_INVALID, and REQUEST_INVALID for an option that is unknown, wrong, or a restriction that is undefined.
 */
export function readRule(rule: TopicRule, pattern: TopicPattern): TopicRule {
  return readRestricted(rule, RULE, `rule ${pattern}: `)
}

/** Throws as `readRule`. */
export function readDefaults(defaults: TopicDefaults): TopicDefaults {
  return readRestricted(defaults, DEFAULTS, 'topicRules: defaults.')
}

function readRestricted<T extends TopicRule | TopicDefaults>(given: T, rules: Rules<T>, prefix: string): T {
  const read = readOptions(given, rules, prefix)
  const missing = RESTRICTIONS.find(name => Object.hasOwn(given, name) && read[name] === undefined)
  if (missing === undefined) return read
  throw new HubError('REQUEST_INVALID', `${prefix}${missing} must not be undefined; leave it out for the default`)
}

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
