import type { z } from 'zod'
import { nearest, shown, suggestion } from '../core/options.ts'

type Issue = z.core.$ZodIssue
type RawIssue = z.core.$ZodRawIssue

/** What of an unknown key an error repeats, in characters. */
const MAX_SHOWN = 60
export const UNKNOWN = 'unknown key "'
const ALTERNATIVES = 'must have one of the forms that it may have'
/** As the rules of options in the core name them. */
const KINDS: Readonly<Record<string, string>> = {
  int: 'an integer',
  number: 'a number',
  string: 'a string',
  boolean: 'true or false',
  array: 'an array',
  object: 'an object',
  record: 'an object',
}

/**
 * What is wrong with a value, for `safeParse`: zod's own sentences speak of "Invalid input". A message that a schema
 * has of its own wins over these. `got` is what a wrong value is called. Default: where there is a choice its value,
 * else its kind, for what a peer sent may be a secret.
 */
export function wording(issue: RawIssue, got?: (value: unknown) => string): string {
  const { input } = issue
  const called = got ?? kindOf
  switch (issue.code) {
    case 'invalid_type':
      return input === undefined
        ? 'it is missing'
        : `must be ${KINDS[issue.expected] ?? issue.expected}, got ${called(input)}`
    case 'too_big':
      return bound(input, 'at most', issue.maximum)
    case 'too_small':
      return bound(input, issue.inclusive === false ? 'more than' : 'at least', issue.minimum)
    case 'invalid_value':
      return choice(input, issue.values, got ?? shown)
    case 'unrecognized_keys':
      return unknownKey(issue.keys[0]!, issue.inst)
    case 'invalid_union':
      return input === undefined ? 'it is missing' : `${ALTERNATIVES}, got ${called(input)}`
    default:
      return 'it does not have the form that it must have'
  }
}

/**
 * A field and what is wrong with it. An unknown key and its nearest are told with where they stand. `whole`: the name
 * where there is no field.
 */
export function sentence(field: string, message: string, whole: string): string {
  if (message.startsWith(UNKNOWN)) {
    const within = field === '' ? '' : `${field}.`
    return message.replace(UNKNOWN, UNKNOWN + within).replace('did you mean "', `did you mean "${within}`)
  }
  return `${field || whole}${message.startsWith('must ') ? '' : ':'} ${message}`
}

/** A misspelt key explains the one that is missing. Of alternatives, the one that comes nearest is told. */
export function worst(
  issues: readonly Issue[],
  at: readonly PropertyKey[] = [],
): { readonly path: PropertyKey[]; readonly message: string } {
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0]!
  const path = [...at, ...issue.path]
  if (issue.code !== 'invalid_union' || !issue.message.startsWith(ALTERNATIVES)) return { path, message: issue.message }
  const next = issue.errors.find(errors => !errors.some(({ code, path }) => code === 'invalid_type' && !path.length))
  return next ? worst(next, path) : { path, message: issue.message }
}

/** Of a number its value, of anything else its length. */
function bound(input: unknown, words: string, limit: number | bigint): string {
  if (typeof input === 'number') return `must be ${words} ${limit}, got ${input}`
  const unit = typeof input === 'string' ? 'characters' : 'entries'
  return `must have ${words} ${limit} ${unit}, got ${sizeOf(input)}`
}

function sizeOf(input: unknown): number {
  return typeof input === 'string' || Array.isArray(input) ? input.length : Object.keys(input as object).length
}

function choice(input: unknown, values: readonly unknown[], got: (value: unknown) => string): string {
  const words = `must be one of ${values.map(shown).join(', ')}, got ${got(input)}`
  const near = typeof input === 'string' && values.length > 1 ? nearest(input, values.map(String)) : undefined
  return near === undefined ? words : `${words}; did you mean "${near}"?`
}

function unknownKey(key: string, schema: unknown): string {
  const { shape = {} } = (schema as { shape?: object } | undefined) ?? {}
  const known = Object.keys(shape)
  const hint = known.length > 0 ? suggestion(key, known) : 'there may be none here'
  return `${UNKNOWN}${JSON.stringify(key.slice(0, MAX_SHOWN)).slice(1)}: ${hint}`
}

/** What a value is, without what it says. */
export function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  // No secret is one.
  if (typeof value === 'number' && !Number.isInteger(value)) return String(value)
  return KINDS[typeof value] ?? typeof value
}
