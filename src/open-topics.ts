import { parseTopicName } from './core/ids.ts'
import {
  DEFAULT_HISTORY,
  DEFAULT_MAX_MESSAGE_BYTES,
  type TopicDefaults,
  type TopicRegistry,
  type TopicSpec,
} from './core/topics.ts'

/** Every valid name is a topic. `known` gives some of them properties of their own. */
export function openTopics(
  defaults: TopicDefaults = {},
  known: Readonly<Record<string, TopicDefaults>> = {},
): TopicRegistry {
  const specs = new Map(Object.entries(known).map(([name, spec]) => [parseTopicName(name), spec]))
  return {
    resolve(input: string): TopicSpec {
      const name = parseTopicName(input)
      return {
        history: DEFAULT_HISTORY,
        maxMessageBytes: DEFAULT_MAX_MESSAGE_BYTES,
        ...defaults,
        ...specs.get(name),
        name,
      }
    },
  }
}
