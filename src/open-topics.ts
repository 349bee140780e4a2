import type { TopicDefaults, TopicRegistry } from './core/topics.ts'
import { TopicRules } from './topics/registry.ts'
import type { TopicRule } from './topics/rule.ts'

/** Every valid name is a topic. `known` gives some of them, by name or pattern, properties of their own. */
export function openTopics(
  defaults: TopicDefaults = {},
  known: Readonly<Record<string, TopicRule>> = {},
): TopicRegistry {
  return new TopicRules({ defaults, rules: known })
}
