import { closest, distance } from 'fastest-levenshtein'
import type { z } from 'zod'
import { HubError } from '../core/errors.ts'

/** What of somebody's input an error repeats, in characters. */
const MAX_SHOWN = 60
/** Of its place. */
const MAX_PATH = 300

/** The names that people give to credentials in a query. */
const LOOKS_SECRET = /token|jwt|auth|api.?key|secret|password|^key$/i
const NOT_IN_A_URL =
  'a token or key has no place in a URL; send it as "Authorization: Bearer", or have a ticket of POST /api/tickets'

type Issue = z.core.$ZodIssue
type RawIssue = z.core.$ZodRawIssue

const KINDS: Readonly<Record<string, string>> = {
  int: 'a whole number',
  number: 'a number',
  string: 'a string',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
}

/**
 * Checks what somebody sent. Throws REQUEST_INVALID with the field, its limit, and the nearest name where one was misspelt. `where` is told
 * when the whole is no object: body, query.
 */
export function readInput<T extends z.ZodType>(schema: T, value: unknown, where: string): z.output<T> {
  // zod cannot see an own key of this name, and no schema has one.
  if (typeof value === 'object' && value !== null && Object.hasOwn(value, '__proto__')) {
    throw new HubError('REQUEST_INVALID', `${where}: unknown key "__proto__"`)
  }
  const result = schema.safeParse(value, { error: wording })
  if (result.success) return result.data
  const { path, message } = worst(result.error.issues)
  const at = path.map(String).join('.').slice(0, MAX_PATH)
  if (message.startsWith(UNKNOWN)) {
    const [key = ''] = message.slice(UNKNOWN.length).split('"')
    if (where === 'query' && LOOKS_SECRET.test(key)) throw new HubError('REQUEST_INVALID', `query: ${NOT_IN_A_URL}`)
    throw new HubError('REQUEST_INVALID', at === '' ? message : within(at, message))
  }
  throw new HubError('REQUEST_INVALID', `${at || where}: ${message}`)
}

/**
 * A query without the keys that resemble none of the schema's, such as the `_` and `t` by which players and panels keep a URL out of caches.
 * A key that may be a misspelt one of ours stays, and is refused; so is one that may be a credential.
 */
export function withoutStrange(
  { shape }: z.ZodObject,
  query: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const known = Object.keys(shape)
  const strange = (key: string): boolean => !LOOKS_SECRET.test(key) && !known.some(each => resembles(key, each))
  const kept = Object.entries(query).filter(([key]) => !strange(key))
  return Object.fromEntries(kept)
}

/** Case and separators aside: the same word, the beginning of one in the other, or a third of the letters wrong at most. */
function resembles(key: string, known: string): boolean {
  const [a, b] = [plain(key), plain(known)]
  if (a.startsWith(b) || (a.length >= 3 && b.startsWith(a))) return true
  return a.length >= 3 && distance(a.slice(0, MAX_SHOWN), b) <= Math.max(1, Math.floor(b.length / 3))
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '')
}

/** A misspelt key explains the one that is missing. Of alternatives, the one that comes nearest is told. */
function worst(issues: readonly Issue[], at: readonly PropertyKey[] = []): { path: PropertyKey[]; message: string } {
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0]!
  const path = [...at, ...issue.path]
  if (issue.code !== 'invalid_union' || issue.message !== ALTERNATIVES) return { path, message: issue.message }
  const nearest = issue.errors.find(errors => !errors.some(({ code, path }) => code === 'invalid_type' && !path.length))
  return nearest ? worst(nearest, path) : { path, message: ALTERNATIVES }
}

const UNKNOWN = 'unknown key "'
const ALTERNATIVES = 'it has none of the forms that it may have'

/** zod's own sentences speak of "Invalid input"; a message that a schema has of its own wins over these. */
function wording(issue: RawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      if (issue.input === undefined) return 'it is missing'
      return `it must be ${KINDS[issue.expected] ?? issue.expected}, not ${kindOf(issue.input)}`
    case 'too_big':
      return `it has at most ${issue.maximum}${unit(issue.origin)}`.replace(/has (at most \S+)$/, 'is $1')
    case 'too_small':
      return `it has at least ${issue.minimum}${unit(issue.origin)}`.replace(/has (at least \S+)$/, 'is $1')
    case 'invalid_value':
      return choice(issue.input, issue.values.map(String))
    case 'unrecognized_keys':
      return unknownKey(issue.keys[0]!, issue.inst)
    case 'invalid_union':
      return issue.input === undefined ? 'it is missing' : ALTERNATIVES
    default:
      return 'it does not have the form that it must have'
  }
}

/** A key and its nearest are told with where they stand, as in a configuration. */
function within(path: string, message: string): string {
  return message.replace(UNKNOWN, `${UNKNOWN}${path}.`).replace('did you mean "', `did you mean "${path}.`)
}

function unit(origin: string): string {
  if (origin === 'string') return ' characters'
  return origin === 'array' || origin === 'set' || origin === 'object' ? ' entries' : ''
}

function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'number' && !Number.isInteger(value)) return String(value)
  return KINDS[typeof value] ?? typeof value
}

function choice(input: unknown, values: readonly string[]): string {
  const all = `it is one of ${values.join(', ')}`
  return typeof input === 'string' && input !== '' && values.length > 1 ? `${all}; ${didYouMean(input, values)}` : all
}

function unknownKey(key: string, schema: unknown): string {
  const { shape = {} } = (schema as { shape?: object } | undefined) ?? {}
  const known = Object.keys(shape)
  const hint = known.length > 0 ? didYouMean(key, known) : 'there may be none here'
  return `unknown key ${JSON.stringify(key.slice(0, MAX_SHOWN))}: ${hint}`
}

function didYouMean(given: string, known: readonly string[]): string {
  return `did you mean "${closest(given.slice(0, MAX_SHOWN), [...known])}"?`
}
