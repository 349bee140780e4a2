import { MAX_TOPIC_LENGTH, type TopicName } from '../core/ids.ts'
import { checkValue, type Rules, text, texts } from '../core/options.ts'
import { covers, isPattern, parsePattern, type TopicPattern } from '../core/patterns.ts'
import type { Action, Grants } from '../core/sessions.ts'

/** What every permission costs to look up is bounded by this. */
export const MAX_GRANTED_PATTERNS = 128

/** A whole segment of a granted pattern that stands for the session's user: see `userSegment`. */
const USER = '{user}'

/** Patterns as people and tokens write them. A segment may be `{user}`. */
export interface GrantPatterns {
  readonly subscribe?: readonly string[] | undefined
  readonly publish?: readonly string[] | undefined
}

export const GRANTS: Rules<GrantPatterns> = { subscribe: texts, publish: texts }
export const NO_GRANTS: Grants = Object.freeze({ subscribe: [], publish: [] })

/**
 * Without a user, a pattern that has `{user}` grants nothing. Throws TOPIC_INVALID for what is no pattern, and
 * RangeError for more than 128 of them.
 */
export function parseGrants({ subscribe = [], publish = [] }: GrantPatterns, user?: string): Grants {
  return { subscribe: parseAll(subscribe, user), publish: parseAll(publish, user) }
}

/**
 * The grants of each user. All users share one object unless a pattern has `{user}`. Throws as `parseGrants`, at once.
 */
export function grantsByUser(patterns: GrantPatterns): (user: string) => Grants {
  const shared = parseGrants(patterns)
  return namesUser(patterns) ? user => parseGrants(patterns, user) : () => shared
}

/** Does a pattern have the segment `{user}`? */
export function namesUser({ subscribe = [], publish = [] }: GrantPatterns): boolean {
  return [...subscribe, ...publish].some(pattern => pattern.split('/').includes(USER))
}

/**
 * The topic segment of a user, as `{user}` in a granted pattern becomes. Letters, digits, "_" and "-" stay, and so do
 * dots unless the id is "." or "..". Any other character becomes its code point in hex between colons: `auth0|7` is
 * `auth0:7c:7`. Two users never share one. Throws REQUEST_INVALID where the user is no string.
 */
export function userSegment(user: string): string {
  checkValue(user, text, 'user')
  const other = /^\.{1,2}$/.test(user) ? /\./g : /[^A-Za-z0-9_.-]/gu
  return user.replace(other, character => `:${character.codePointAt(0)!.toString(16)}:`)
}

function parseAll(patterns: readonly string[], user: string | undefined): TopicPattern[] {
  if (patterns.length > MAX_GRANTED_PATTERNS) {
    throw new RangeError(`topics: ${MAX_GRANTED_PATTERNS} patterns at most may be granted`)
  }
  return patterns.flatMap(pattern => parseOne(pattern, user))
}

function parseOne(pattern: string, user: string | undefined): TopicPattern[] {
  const segments = pattern.split('/')
  if (!segments.includes(USER)) return [parsePattern(pattern)]
  const of = (segment: string): string => segments.map(each => (each === USER ? segment : each)).join('/')
  // The pattern is checked whatever the user is called, so that a mistake in it shows at once.
  parsePattern(of('x'))
  const own = user === undefined ? '' : of(userSegment(user))
  return own === '' || own.length > MAX_TOPIC_LENGTH ? [] : [parsePattern(own)]
}

/** A pattern is allowed only as a whole. Presence and history are for whoever may subscribe. */
export function allows(grants: Grants, action: Action, topic: TopicName | TopicPattern): boolean {
  const asked = topic as TopicPattern
  if (action === 'publish') return !isPattern(asked) && grants.publish.some(pattern => covers(pattern, asked))
  return grants.subscribe.some(pattern => covers(pattern, asked))
}
