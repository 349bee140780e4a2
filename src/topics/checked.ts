import { contentTypeRule } from '../core/arguments.ts'
import { atOnce } from '../core/attempt.ts'
import { HubError } from '../core/errors.ts'
import { parseTopicName } from '../core/ids.ts'
import { callable, checkValue, fieldOf, flag, number, object, oneOf, type Rule, texts } from '../core/options.ts'
import { policyRule } from '../core/policy-check.ts'
import type { TopicRegistry, TopicSpec } from '../core/topics.ts'
import { TopicRules } from './registry.ts'

const amount = number(0, Number.POSITIVE_INFINITY)
const access = oneOf('anyone', 'users', 'nobody')

const NEEDED = { maxMessageBytes: amount, history: object }
const BOUNDS = { messages: amount, bytes: amount, ageMs: amount }
const OPTIONAL: { readonly [Name in keyof TopicSpec]?: Rule } = {
  policy: policyRule,
  allowedPolicies: texts,
  contentType: contentTypeRule,
  lingerMs: amount,
  preamble: value => (value instanceof Uint8Array ? undefined : 'a Uint8Array or Buffer'),
  maxSubscribers: amount,
  publishRate: object,
  priority: oneOf('high', 'normal', 'bulk'),
  presence: flag,
  publisher: flag,
  subscribe: access,
  publish: access,
  wildcards: flag,
  check: callable,
}

/**
 * Checks each answer of an application's own registry. Throws INTERNAL, with the field, where that is no TopicSpec.
 * TopicRules need no check: they check each rule when it is set.
 */
export function checkedTopics(registry: TopicRegistry): TopicRegistry {
  if (registry instanceof TopicRules) return registry
  return {
    resolve(name) {
      const spec = registry.resolve(name)
      try {
        checkSpec(atOnce(spec, 'resolve'), name)
      } catch (error) {
        throw new HubError(
          'INTERNAL',
          `topic registry: the answer for ${JSON.stringify(name)}: ${(error as Error).message}`,
        )
      }
      return spec
    },
  }
}

function checkSpec(spec: TopicSpec, name: string): void {
  checkValue(spec, object, 'it')
  const own = parseTopicName(name)
  checkValue(fieldOf(spec, 'name', 'name', 'INTERNAL'), value => (value === own ? undefined : `"${own}"`), 'name')
  checkFields(spec, NEEDED)
  checkFields(spec.history, BOUNDS, 'history.')
  checkFields(spec, OPTIONAL, '', true)
}

function checkFields(given: object, rules: Readonly<Record<string, Rule>>, prefix = '', isOptional = false): void {
  for (const [key, rule] of Object.entries(rules)) {
    const value = fieldOf(given, key, prefix + key, 'INTERNAL')
    if (value !== undefined || !isOptional) checkValue(value, rule, prefix + key)
  }
}
