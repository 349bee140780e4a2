import { HubError } from './errors.ts'
import { MAX_TOPIC_LENGTH, TOPIC_NAME, TOPIC_RULE, TOPIC_SEGMENT, type TopicName } from './ids.ts'
import { shown } from './options.ts'
import { ownText } from './texts.ts'

declare const brand: unique symbol

/** Names many topics. Made by `parsePattern` alone. */
export type TopicPattern = string & { readonly [brand]: 'TopicPattern' }

/** Segments that a pattern may have: what matching costs grows with them. */
export const MAX_PATTERN_DEPTH = 8

const PATTERN_RULE =
  `in a pattern a segment may be "*" (any one segment), and the last one "**" (one or more segments); it has at most ` +
  `${MAX_PATTERN_DEPTH} segments, and else is as a topic name`

/** Does it name many topics? A topic's name has no asterisk. */
export function isPattern(name: string): boolean {
  // A value that is not a string is refused later, as the name of a topic.
  return typeof name === 'string' && name.includes('*')
}

const WILDCARDS = `(?:(?:${TOPIC_SEGMENT}|\\*)/){0,${MAX_PATTERN_DEPTH - 1}}(?:${TOPIC_SEGMENT}|\\*\\*?)`
export const TOPIC_PATTERN = new RegExp(`${TOPIC_NAME.source}|^/?${WILDCARDS}$`)

/**
 * Checks a pattern and drops one leading slash. It has memory of its own, as a client id has. A topic's name is a
 * pattern that matches itself. Throws TOPIC_INVALID.
 */
export function parsePattern(input: string): TopicPattern {
  if (typeof input !== 'string') throw patternError(input)
  const pattern = input.startsWith('/') ? input.slice(1) : input
  if (pattern.length > MAX_TOPIC_LENGTH || !TOPIC_PATTERN.test(input)) throw patternError(pattern)
  return ownText(pattern) as TopicPattern
}

function patternError(pattern: unknown): HubError {
  const what = typeof pattern === 'string' ? JSON.stringify(pattern.slice(0, 300)) : shown(pattern)
  return new HubError('TOPIC_INVALID', `topic: ${what} is no pattern: ${PATTERN_RULE}; ${TOPIC_RULE}`)
}

/** One look at each segment, no backtracking. */
export function matches(pattern: TopicPattern, topic: TopicName): boolean {
  return covers(pattern, topic as string as TopicPattern)
}

/** Does `wide` match every topic that `narrow` matches? */
export function covers(wide: TopicPattern, narrow: TopicPattern): boolean {
  if (wide === narrow) return true
  if (!isPattern(wide)) return false
  const wanted = wide.split('/')
  const given = narrow.split('/')
  for (const [at, segment] of wanted.entries()) {
    const other = given[at]
    if (other === undefined) return false
    if (segment === '**') return true
    if (other === '**' || (segment !== '*' && segment !== other)) return false
  }
  return wanted.length === given.length
}

/** Which of two patterns that match the same topic says more of it: negative, if `a` does. */
export function bySpecificity(a: TopicPattern, b: TopicPattern): number {
  const left = a.split('/')
  const right = b.split('/')
  for (let at = 0; at < Math.max(left.length, right.length); at++) {
    const difference = rank(left[at]) - rank(right[at])
    if (difference !== 0) return difference
  }
  return a < b ? -1 : a > b ? 1 : 0
}

/** A word says more than `*`, which says more than `**`. */
function rank(segment: string | undefined): number {
  if (segment === '**') return 2
  return segment === '*' ? 1 : 0
}
