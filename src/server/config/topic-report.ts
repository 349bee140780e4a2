import type { z } from 'zod'
import { parseTopicName } from '../../core/ids.ts'
import { isPattern } from '../../core/patterns.ts'
import { parsePolicy } from '../../policies/catalog.ts'
import { describeSpec } from '../../topics/describe.ts'
import type { TopicRules } from '../../topics/registry.ts'
import type { Config } from '../config.ts'
import type { topicRule } from './topics.ts'

/** What is shown of a field whose value may be long, or nobody's business on a terminal. */
const LONG_FIELDS = ['schema', 'metadata', 'preamble']

/** The fields that a rule sets, on one line. */
export function summarizeRule(rule: z.infer<typeof topicRule>): string {
  const fields = Object.entries(rule).map(([field, value]) =>
    LONG_FIELDS.includes(field) ? field : `${field} ${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  return fields.join(', ') || 'as the defaults say'
}

/** Which rule applies to a topic and why, and what the topic is then like. Throws TOPIC_INVALID. */
export function explainTopic(config: Config, rules: TopicRules, input: string): string[] {
  const name = parseTopicName(input)
  const candidates = rules.candidates(name)
  const [winner] = candidates
  const heading = `topic ${name}: ${winner === undefined ? 'no rule names it' : reasonOf(winner, candidates.length)}`
  const order = candidates.map((pattern, index) => `  ${index + 1}. ${pattern}${index === 0 ? '  <- applies' : ''}`)
  if (winner === undefined && config.unknownTopics === 'refuse') {
    return [heading, '  it is refused with TOPIC_UNKNOWN (unknownTopics: refuse)']
  }
  const { name: _, rule: __, ...spec } = describeSpec(rules.resolve(name), parsePolicy(config.policy))
  const said: object = winner === undefined ? {} : rules.get(winner)!
  const fields = Object.entries(spec).flatMap(([field, value]) => {
    if (value === undefined) return []
    const shown = LONG_FIELDS.includes(field) ? '(set)' : typeof value === 'string' ? value : JSON.stringify(value)
    return [`  ${field}: ${shown}${Object.hasOwn(said, field) ? '' : '  (default)'}`]
  })
  return [heading, ...order, ...fields]
}

function reasonOf(winner: string, count: number): string {
  const why = isPattern(winner) ? 'the most specific pattern that matches' : 'the rule of its own name'
  return `"${winner}" applies, ${count === 1 ? 'the only rule that matches' : `${why}; it alone, the others add nothing`}`
}
