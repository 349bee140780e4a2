import { distance } from 'fastest-levenshtein'
import type { z } from 'zod'
import { HubError } from '../core/errors.ts'
import { sentence, UNKNOWN, wording, worst } from './issue-words.ts'

/** How much of an input an error repeats, in characters. */
const MAX_SHOWN = 60
/** How much of the field's path an error repeats, in characters. */
const MAX_PATH = 300

/** The names that people give to credentials in a query. */
const LOOKS_SECRET = /token|jwt|auth|api.?key|secret|password|^key$/i
const NOT_IN_A_URL =
  'a token or key has no place in a URL; send it as "Authorization: Bearer", or have a ticket of POST /api/tickets'

/**
 * Checks the input of a request. Throws REQUEST_INVALID with the field, its limit, and the nearest name where one was
 * misspelt. `where` is told when the whole is no object: body, query.
 */
export function readInput<T extends z.ZodType>(schema: T, value: unknown, where: string): z.output<T> {
  // zod cannot see an own key of this name, and no schema has one.
  if (typeof value === 'object' && value !== null && Object.hasOwn(value, '__proto__')) {
    throw new HubError('REQUEST_INVALID', `${where}: unknown key "__proto__"`)
  }
  const result = schema.safeParse(value, { error: issue => wording(issue) })
  if (result.success) return result.data
  const { path, message } = worst(result.error.issues)
  const at = path.map(String).join('.').slice(0, MAX_PATH)
  if (message.startsWith(UNKNOWN)) {
    const [key = ''] = message.slice(UNKNOWN.length).split('"')
    if (where === 'query' && LOOKS_SECRET.test(key)) throw new HubError('REQUEST_INVALID', `query: ${NOT_IN_A_URL}`)
  }
  throw new HubError('REQUEST_INVALID', sentence(at, message, where))
}

/**
 * A query without the keys that resemble none of the schema's, such as the `_` and `t` by which players and panels keep
 * a URL out of caches. A key that may be a misspelt one of ours stays, and is refused; so is one that may be a
 * credential.
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

/**
 * Case and separators aside: the same word, the beginning of one in the other, or a third of the letters wrong at most.
 */
function resembles(key: string, known: string): boolean {
  const [a, b] = [plain(key), plain(known)]
  if (a.startsWith(b) || (a.length >= 3 && b.startsWith(a))) return true
  return a.length >= 3 && distance(a.slice(0, MAX_SHOWN), b) <= Math.max(1, Math.floor(b.length / 3))
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, '')
}
