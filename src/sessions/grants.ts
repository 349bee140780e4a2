import type { TopicName } from '../core/ids.ts'
import { covers, isPattern, parsePattern, type TopicPattern } from '../core/patterns.ts'
import type { Action, Grants } from '../core/sessions.ts'

/** What every permission costs to look up is bounded by this. */
export const MAX_GRANTED_PATTERNS = 128

/** Patterns as people and tokens write them. */
export interface GrantPatterns {
  readonly subscribe?: readonly string[] | undefined
  readonly publish?: readonly string[] | undefined
}

export const NO_GRANTS: Grants = Object.freeze({ subscribe: [], publish: [] })

/** Throws TOPIC_INVALID for what is no pattern, and RangeError for more than 128 of them. */
export function parseGrants({ subscribe = [], publish = [] }: GrantPatterns): Grants {
  return { subscribe: parseAll(subscribe), publish: parseAll(publish) }
}

function parseAll(patterns: readonly string[]): TopicPattern[] {
  if (patterns.length > MAX_GRANTED_PATTERNS) {
    throw new RangeError(`topics: ${MAX_GRANTED_PATTERNS} patterns at most may be granted`)
  }
  return patterns.map(parsePattern)
}

/** A pattern is allowed only as a whole. Presence and history are for whoever may subscribe. */
export function allows(grants: Grants, action: Action, topic: TopicName | TopicPattern): boolean {
  const asked = topic as TopicPattern
  if (action === 'publish') return !isPattern(asked) && grants.publish.some(pattern => covers(pattern, asked))
  return grants.subscribe.some(pattern => covers(pattern, asked))
}
