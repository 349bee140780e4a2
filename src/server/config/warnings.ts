import { bySpecificity, covers, MAX_PATTERN_DEPTH, parsePattern, type TopicPattern } from '../../core/patterns.ts'
import type { DeliveryPolicy } from '../../core/policy.ts'
import type { TopicSpec } from '../../core/topics.ts'
import { parsePolicy } from '../../policies/catalog.ts'
import type { TopicRules } from '../../topics/registry.ts'
import { type Config, isLoopback } from '../config.ts'

/** What is allowed, and yet dangerous, or says two things at once: `place: sentence`. */
export function warningsOf(config: Config, rules: TopicRules): string[] {
  const patterns = rules.list().map(({ pattern }) => pattern)
  return [
    ...hubWarnings(config, patterns.length),
    ...policyWarnings('policy', parsePolicy(config.policy), config.maxMessageBytes),
    ...patterns.flatMap(pattern => ruleWarnings(config, rules, pattern)),
  ]
}

function hubWarnings({ host, insecure, unknownTopics }: Config, rules: number): string[] {
  const found: string[] = []
  if (insecure && !isLoopback(host)) {
    found.push(`insecure: whoever reaches ${host} may publish, subscribe and use /api, without a login`)
  }
  if (unknownTopics === 'refuse' && rules === 0)
    found.push('unknownTopics: refuse, and no rule names a topic: there are none')
  return found
}

function ruleWarnings(config: Config, rules: TopicRules, pattern: TopicPattern): string[] {
  const place = `topics.${pattern}`
  const spec = rules.specOf(pattern)!
  const policy = spec.policy ?? parsePolicy(config.policy)
  const own = rules.get(pattern)!
  const found: string[] = []
  const others = rules.list().map(({ pattern: other }) => other)
  if (isShadowed(pattern, others))
    found.push(`${place}: it never applies: other rules are more specific for every topic`)
  if (own.policy !== undefined || own.maxMessageBytes !== undefined) {
    found.push(...policyWarnings(`${place}.policy`, policy, spec.maxMessageBytes))
  }
  if (spec.maxMessageBytes > config.maxMessageBytes) {
    found.push(
      `${place}.maxMessageBytes: ${spec.maxMessageBytes} is more than the server's own ${config.maxMessageBytes}, ` +
        'which ends larger bodies and frames before',
    )
  }
  return [...found, ...contradictions(place, spec, policy, config), ...schemaWarnings(`${place}.schema`, spec.schema)]
}

function contradictions(
  place: string,
  spec: Omit<TopicSpec, 'name'>,
  policy: DeliveryPolicy,
  config: Config,
): string[] {
  const { subscribe = 'anyone', wildcards, allowedPolicies, history, lingerMs = 0 } = spec
  const found: string[] = []
  if (wildcards && subscribe !== 'anyone') {
    found.push(
      `${place}.wildcards: patterns match it, though not everybody may subscribe: who may use a pattern is not asked topic by topic`,
    )
  }
  if (allowedPolicies && !allowedPolicies.includes(policy.name)) {
    found.push(
      `${place}.allowedPolicies: its own policy ${policy.name} is not among them: nobody may wish for what everybody gets`,
    )
  }
  if (history.bytes > config.limits.maxRetainedBytes) {
    found.push(`${place}.history.bytes: ${history.bytes} for each topic is more than limits.maxRetainedBytes for all`)
  }
  if (lingerMs > 0 && lingerMs >= history.ageMs && history.messages > 0) {
    found.push(
      `${place}.lingerMs: messages are too old to be kept (history.ageMs ${history.ageMs}) before they are sent`,
    )
  }
  return found
}

/** One message that is larger than all that may wait. */
function policyWarnings(place: string, { name, backlog }: DeliveryPolicy, maxMessageBytes: number): string[] {
  if (backlog.kind !== 'log' || backlog.bytes >= maxMessageBytes) return []
  const end = backlog.overflow === 'close' ? 'closes whoever is behind' : 'is dropped for whoever is behind'
  return [
    `${place}: ${name} lets ${backlog.bytes} bytes wait, and maxMessageBytes is ${maxMessageBytes}: one such message ${end}`,
  ]
}

/**
 * Is every topic of a pattern one of a more specific rule? Only what ends with `**` can be: the others have topics
 * without end of their own.
 */
export function isShadowed(pattern: TopicPattern, all: readonly TopicPattern[]): boolean {
  const stronger = all.filter(other => other !== pattern && bySpecificity(other, pattern) < 0)
  const taken = (part: string): boolean => {
    const segments = part.split('/')
    if (stronger.some(other => covers(other, part as TopicPattern))) return true
    if (segments.at(-1) !== '**' || segments.length >= MAX_PATTERN_DEPTH) return false
    const stem = segments.slice(0, -1)
    return taken([...stem, '*'].join('/')) && taken([...stem, '*', '**'].join('/'))
  }
  return taken(parsePattern(pattern))
}

/** What a publisher could make dear: checks that cost more than the message is long. */
function schemaWarnings(place: string, schema: unknown): string[] {
  const found: string[] = []
  const waiting: { value: unknown; path: string }[] = [{ value: schema, path: '' }]
  for (const { value, path } of waiting) {
    if (typeof value !== 'object' || value === null) continue
    const { pattern, maxLength, uniqueItems, maxItems } = value as Record<string, unknown>
    if (typeof pattern === 'string' && maxLength === undefined) {
      found.push(`${place}: ${path}/pattern: without maxLength beside it, an expression may take long over a long text`)
    }
    if (uniqueItems === true && maxItems === undefined) {
      found.push(`${place}: ${path}/uniqueItems: without maxItems beside it, it compares each item with each other`)
    }
    for (const [key, inner] of Object.entries(value)) waiting.push({ value: inner, path: `${path}/${key}` })
  }
  return found
}
