import { HubError } from '../core/errors.ts'
import { parseTopicName, type TopicName } from '../core/ids.ts'
import { callable, checkValue, object, oneOf, type Rules, readOptions } from '../core/options.ts'
import { PatternTrie } from '../core/pattern-trie.ts'
import { isPattern, parsePattern, type TopicPattern } from '../core/patterns.ts'
import { tooMany } from '../core/refusals.ts'
import type { TopicDefaults, TopicRegistry, TopicSpec } from '../core/topics.ts'
import { type NamelessSpec, readDefaults, readRule, specOf, type TopicRule } from './rule.ts'

export const MAX_RULES = 10_000

export interface TopicRulesOptions {
  /** Of what no rule says. */
  readonly defaults?: TopicDefaults | undefined
  /** By name or pattern. */
  readonly rules?: Readonly<Record<string, TopicRule>> | undefined
  /**
   * Topics that no rule names. allow (default): they are as the defaults say. refuse: there are none, TOPIC_UNKNOWN.
   */
  readonly unknownTopics?: 'allow' | 'refuse' | undefined
}

const OPTIONS: Rules<TopicRulesOptions> = { defaults: object, rules: object, unknownTopics: oneOf('allow', 'refuse') }

interface Entry {
  readonly pattern: TopicPattern
  readonly rule: TopicRule
  readonly spec: NamelessSpec
}

/**
 * Which topics there are, and what they are like, by rules that can change at any time. Of the rules that match a topic
 * one holds, and that as a whole: the one of its own name, else that of the most specific pattern (`bySpecificity`).
 */
export class TopicRules implements TopicRegistry {
  readonly unknownTopics: 'allow' | 'refuse'
  readonly #defaults: TopicDefaults
  readonly #fallback: NamelessSpec
  readonly #entries = new Map<TopicPattern, Entry>()
  /** Of those among them that are patterns. */
  readonly #patterns = new PatternTrie<Entry>()
  readonly #listeners = new Set<(pattern: TopicPattern) => void>()

  /** Throws as `set` does. */
  constructor(options: TopicRulesOptions = {}) {
    const { defaults = {}, rules = {}, unknownTopics = 'allow' } = readOptions(options, OPTIONS, 'topicRules: ')
    this.unknownTopics = unknownTopics
    this.#defaults = readDefaults(defaults)
    this.#fallback = specOf({}, this.#defaults, 'default')
    for (const [pattern, rule] of Object.entries(rules)) this.set(pattern, rule)
  }

  /** Throws TOPIC_INVALID, TOPIC_UNKNOWN. */
  resolve(input: string): TopicSpec {
    const name = parseTopicName(input)
    const spec = this.#entryOf(name)?.spec
    if (spec === undefined && this.unknownTopics === 'refuse') {
      throw new HubError('TOPIC_UNKNOWN', `topic: there is no ${name} here; only topics that a rule names are known`)
    }
    return named(spec ?? this.#fallback, name)
  }

  /**
   * Makes a rule, or puts another in its place; answers the pattern without a leading slash. Throws TOPIC_INVALID,
   * POLICY_INVALID, REQUEST_INVALID where an option is unknown or wrong or a schema does not compile, LIMIT_EXCEEDED
   * beyond MAX_RULES; then nothing has changed.
   */
  set(input: string, given: TopicRule): TopicPattern {
    const pattern = parsePattern(input)
    const rule = readRule(given, pattern)
    if (!this.#entries.has(pattern) && this.#entries.size >= MAX_RULES) throw tooMany('rules of topics', MAX_RULES)
    const entry = { pattern, rule, spec: specOf(rule, this.#defaults, pattern) }
    this.#entries.set(pattern, entry)
    if (isPattern(pattern)) this.#patterns.set(pattern, entry)
    this.#changed(pattern)
    return pattern
  }

  /** False: there is no such rule. Throws TOPIC_INVALID. */
  delete(input: string): boolean {
    const pattern = parsePattern(input)
    if (!this.#entries.delete(pattern)) return false
    if (isPattern(pattern)) this.#patterns.delete(pattern)
    this.#changed(pattern)
    return true
  }

  /** As it was set. Throws TOPIC_INVALID. */
  get(input: string): TopicRule | undefined {
    return this.#entries.get(parsePattern(input))?.rule
  }

  /** What a rule makes of its topics, with the defaults. Undefined: there is no such rule. Throws TOPIC_INVALID. */
  specOf(input: string): NamelessSpec | undefined {
    return this.#entries.get(parsePattern(input))?.spec
  }

  /** In the order in which they were first set. */
  list(): { readonly pattern: TopicPattern; readonly rule: TopicRule }[] {
    return [...this.#entries.values()].map(({ pattern, rule }) => ({ pattern, rule }))
  }

  /** All rules that match a topic; the first of them holds. Throws TOPIC_INVALID. */
  candidates(input: string): TopicPattern[] {
    const name = parseTopicName(input)
    const own = this.#entries.get(name as string as TopicPattern)
    return [...(own ? [own] : []), ...this.#patterns.all(name)].map(({ pattern }) => pattern)
  }

  /** Called after each change, with the pattern of the rule: topics in use must be resolved again. */
  onChange(listener: (pattern: TopicPattern) => void): Disposable {
    checkValue(listener, callable, 'listener')
    this.#listeners.add(listener)
    return { [Symbol.dispose]: () => this.#listeners.delete(listener) }
  }

  #entryOf(name: TopicName): Entry | undefined {
    const own = this.#entries.get(name as string as TopicPattern)
    return own ?? (this.#entries.size > 0 ? this.#patterns.find(name) : undefined)
  }

  #changed(pattern: TopicPattern): void {
    for (const listener of [...this.#listeners]) listener(pattern)
  }
}

/**
 * Called for each new topic, and for each publication to a topic that is not in use. A copy of an object
 * whose field is overwritten is made twenty times as fast as one that gets a field more, so a rule's spec has the name
 * of no topic.
 */
function named(spec: NamelessSpec, name: TopicName): TopicSpec {
  return { ...(spec as TopicSpec), name }
}

/**
 * Topics by rules: for `createHub({ topics })`, which has to be told of changes:
 * `rules.onChange(pattern => hub.refreshTopics(pattern))`.
 */
export function topicRules(options?: TopicRulesOptions): TopicRules {
  return new TopicRules(options)
}
