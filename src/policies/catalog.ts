import { z } from 'zod'
import { HubError } from '../core/errors.ts'
import { anything, fieldOf, type Rule, readOptions, suggestion, withSchema } from '../core/options.ts'
import type { DeliveryPolicy, PolicyDescription } from '../core/policy.ts'
import { bestEffort } from './best-effort.ts'
import { BUFFERED_OPTIONS, buffered } from './buffered.ts'
import { DROP_SLOW_OPTIONS, dropSlow } from './drop-slow.ts'
import { latest } from './latest.ts'
import { PRIORITY_OPTIONS, priority } from './priority.ts'
import { RATE_LIMIT_OPTIONS, rateLimit } from './rate-limit.ts'
import { RELIABLE_OPTIONS, reliable } from './reliable.ts'

/** The inner policy of a decorator is read after its own options. */
const INNER = { inner: anything }

/** The options of each policy as its description has them, in the API, the configuration and a subscriber's query. */
const OPTIONS = {
  'best-effort': {},
  latest: {},
  buffered: BUFFERED_OPTIONS,
  'drop-slow': {
    ...DROP_SLOW_OPTIONS,
    // JSON has no Infinity.
    floorRate: withSchema({ anyOf: [DROP_SLOW_OPTIONS.floorRate.schema, { const: 'none' }] }, (value, field) =>
      value === 'none' ? undefined : DROP_SLOW_OPTIONS.floorRate(value, field),
    ),
  },
  reliable: RELIABLE_OPTIONS,
  priority: { ...PRIORITY_OPTIONS, ...INNER },
  'rate-limit': { ...RATE_LIMIT_OPTIONS, ...INNER },
} satisfies Readonly<Record<string, Readonly<Record<string, Rule>>>>

type PolicyName = keyof typeof OPTIONS
export const POLICY_NAMES = Object.keys(OPTIONS) as PolicyName[]

/**
 * A policy's description within a larger schema. An issue has the path of the field, as those of the schema around it
 * have.
 */
export const policySchema = z.custom<string | PolicyDescription>().superRefine((value, context) => {
  try {
    parsePolicy(value)
  } catch (error) {
    const [, place, message] = /^policy((?:\.\w+)*):? (.*)$/s.exec((error as Error).message)!
    context.addIssue({ code: 'custom', path: place!.split('.').slice(1), message: message! })
  }
})

/**
 * Makes a policy of its JSON form, the one that `describe()` gives, or of its name alone. Throws POLICY_INVALID with
 * the field, its limit, and the nearest name where one was misspelt.
 */
export function parsePolicy(input: unknown): DeliveryPolicy {
  return parse(typeof input === 'string' ? { name: input } : input, 'policy')
}

function parse(given: unknown, path: string): DeliveryPolicy {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw new HubError('POLICY_INVALID', `${path}: give a name, such as "latest", or an object with a name`)
  }
  const input = given as Record<string, unknown>
  const name = fieldOf(input, 'name', `${path}.name`, 'POLICY_INVALID')
  if (typeof name !== 'string' || !Object.hasOwn(OPTIONS, name)) throw unknownName(name, path)
  const keys = Object.keys(input).filter(key => key !== 'name')
  const rest = Object.fromEntries(keys.map(key => [key, fieldOf(input, key, `${path}.${key}`, 'POLICY_INVALID')]))
  const rules: Readonly<Record<string, Rule>> = OPTIONS[name as PolicyName]
  const options = readOptions<Record<string, unknown>>(rest, rules, `${path}.`, 'POLICY_INVALID')
  return make(name as PolicyName, options, path)
}

function make(name: PolicyName, options: Readonly<Record<string, unknown>>, path: string): DeliveryPolicy {
  const { inner, floorRate, ...rest } = options
  switch (name) {
    case 'best-effort':
      return bestEffort()
    case 'latest':
      return latest()
    case 'buffered':
      return buffered(options)
    case 'drop-slow':
      return dropSlow(floorRate === 'none' ? { ...rest, floorRate: Number.POSITIVE_INFINITY } : options)
    case 'reliable':
      return reliable(options)
    case 'priority':
      return priority(rest, inner === undefined ? undefined : parse(plain(inner, `${path}.inner`), `${path}.inner`))
    case 'rate-limit':
      if (rest.messages === undefined && rest.bytes === undefined) {
        throw new HubError('POLICY_INVALID', `${path}.messages: say how many messages or bytes a second`)
      }
      return rateLimit(rest, parse(limited(inner, `${path}.inner`), `${path}.inner`))
  }
}

/** Refuses a second decorator before it is looked into: what is nested a thousand times must not be walked. */
function limited(inner: unknown, path: string): unknown {
  if (inner === undefined) throw new HubError('POLICY_INVALID', `${path}: say what is limited, such as "latest"`)
  return plain(inner, path)
}

function plain(inner: unknown, path: string): unknown {
  const description = typeof inner === 'string' ? { name: inner } : inner
  const name = (description as { name?: unknown } | null)?.name
  if (name !== 'rate-limit' && name !== 'priority') return description
  throw new HubError('POLICY_INVALID', `${path}: ${name} cannot be inside of another policy`)
}

function unknownName(name: unknown, path: string): HubError {
  const hint =
    typeof name === 'string' && name !== ''
      ? `unknown name ${JSON.stringify(name.slice(0, 60))}: ${suggestion(name, POLICY_NAMES)}`
      : `a name is missing; there are ${POLICY_NAMES.join(', ')}`
  return new HubError('POLICY_INVALID', `${path}: ${hint}`)
}

/** What parsePolicy accepts, as a JSON Schema. */
export function policyJsonSchema(): { readonly anyOf: readonly object[] } {
  const plain = POLICY_NAMES.filter(name => !('inner' in OPTIONS[name]))
  const inner = { anyOf: [{ enum: plain }, ...plain.map(name => jsonSchemaOf(name))] }
  const limited = { required: ['name', 'inner'], anyOf: [{ required: ['messages'] }, { required: ['bytes'] }] }
  return {
    anyOf: [
      { enum: [...plain, 'priority'] },
      ...plain.map(name => jsonSchemaOf(name)),
      jsonSchemaOf('priority', inner),
      { ...jsonSchemaOf('rate-limit', inner), ...limited },
    ],
  }
}

function jsonSchemaOf(name: PolicyName, inner?: object): object {
  const options = Object.entries<Rule>(OPTIONS[name]).map(([key, { schema = {} }]) => [key, schema])
  const properties = { name: { const: name }, ...Object.fromEntries(options), ...(inner && { inner }) }
  return { type: 'object', properties, required: ['name'], additionalProperties: false }
}
