import type { z } from 'zod'
import { nearest, shown, suggestion } from '../core/options.ts'

type Issue = z.core.$ZodIssue
type RawIssue = z.core.$ZodRawIssue

/** How much of an unknown key an error repeats, in characters. */
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
 * Says what is wrong with a value, for `safeParse`, in place of zod's own sentences. A message in the schema wins over
 * these. `got` names a wrong value. Default: the value itself for a choice, else its kind, because an input may hold a
 * secret.
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
 * Joins a field and what is wrong with it. An unknown key, and the one that is nearest, get the path of their object.
 * `whole` is the name where the field is empty.
 */
export function sentence(field: string, message: string, whole: string): string {
  if (message.startsWith(UNKNOWN)) {
    const within = field === '' ? '' : `${field}.`
    // Functions, because "$" in a replacement text has a meaning, and a field may have any name.
    return message.replace(UNKNOWN, () => UNKNOWN + within).replace('did you mean "', near => near + within)
  }
  return `${field || whole}${message.startsWith('must ') ? '' : ':'} ${message}`
}

/**
 * The issue to tell. An unknown key comes first: it may be the misspelt name of a missing one. Of a union it is the
 * issue of the first alternative that has the kind of the value.
 */
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

/** The bound of a number, or of the length of anything else. */
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
  const hint = known.length > 0 ? suggestion(key, known) : 'no key is allowed here'
  return `${UNKNOWN}${JSON.stringify(key.slice(0, MAX_SHOWN)).slice(1)}: ${hint}`
}

/** Names the kind of a value, without the value itself. */
export function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  // A fraction is no secret.
  if (typeof value === 'number' && !Number.isInteger(value)) return String(value)
  return KINDS[typeof value] ?? typeof value
}
