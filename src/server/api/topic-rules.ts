import { z } from 'zod'
import { HubError } from '../../core/errors.ts'
import type { TopicName } from '../../core/ids.ts'
import { matcherOf } from '../../core/pattern-index.ts'
import { parsePattern, type TopicPattern } from '../../core/patterns.ts'
import type { Hub } from '../../hub.ts'
import { describeRule } from '../../topics/describe.ts'
import type { TopicRules } from '../../topics/registry.ts'
import { topicRule, toTopicRule } from '../config/topics.ts'
import type { HubContext } from '../context.ts'
import { Turn } from '../turn.ts'
import type { Api } from './route.ts'
import { count, topicPattern } from './schemas.ts'

/** Names of topics in one answer; `matched` counts all. */
const MAX_NAMES = 1000
/** Names of topics that one turn of the event loop looks at. */
const NAMES_PER_TURN = 1024

const rule = z
  .looseObject({})
  .meta({ description: 'As it can be set again, but for what only code can say (docs/topics.md).' })
const rulePath = z.strictObject({
  pattern: topicPattern.meta({
    description: 'A name or a pattern. Slashes and asterisks stand as they are, or percent-encoded.',
  }),
})
const ruleAnswer = z.object({ pattern: z.string(), rule, matched: count, topics: z.array(z.string()) })

/** What topics of one name or pattern are like. What is changed holds at once, until the process ends. */
export function topicRuleRoutes(api: Api, { hub, topicRules: rules }: HubContext): void {
  if (rules === undefined) return
  const tag = 'Topics'

  api.add({
    method: 'GET',
    path: '/api/topic-rules',
    tag,
    summary: 'The rules of topics',
    answers: {
      200: {
        description: 'All of them.',
        schema: z.object({
          unknownTopics: z.enum(['allow', 'refuse']),
          rules: z.array(z.object({ pattern: z.string(), rule })),
        }),
      },
    },
    handler: () => ({
      unknownTopics: rules.unknownTopics,
      rules: rules.list().map(({ pattern, rule }) => ({ pattern, rule: describeRule(rule) })),
    }),
  })

  api.add({
    method: 'GET',
    path: '/api/topic-rules/{pattern}',
    tag,
    summary: 'One of them, and the topics in use that it holds for',
    params: rulePath,
    answers: { 200: { description: 'At most 1,000 names; `matched` counts all.', schema: ruleAnswer } },
    errors: ['TOPIC_INVALID', 'NOT_FOUND'],
    handler: ({ params }) => answer(hub, rules, params.pattern),
  })

  api.add({
    method: 'PUT',
    path: '/api/topic-rules/{pattern}',
    tag,
    summary: 'Sets one, at once, until the process ends',
    audit: 'set-topic-rule',
    params: rulePath,
    body: topicRule.default({}),
    answers: {
      200: { description: 'It was there before.', schema: ruleAnswer },
      201: { description: 'It is new.', schema: ruleAnswer },
    },
    errors: ['TOPIC_INVALID', 'POLICY_INVALID', 'LIMIT_EXCEEDED'],
    handler: ({ params: { pattern }, body, reply }) => {
      const isNew = rules.get(pattern) === undefined
      rules.set(pattern, toTopicRule(body))
      reply.code(isNew ? 201 : 200)
      return answer(hub, rules, pattern)
    },
  })

  api.add({
    method: 'DELETE',
    path: '/api/topic-rules/{pattern}',
    tag,
    summary: 'Takes one back',
    audit: 'delete-topic-rule',
    params: rulePath,
    answers: { 204: { description: 'The next rule that matches holds.' } },
    errors: ['TOPIC_INVALID', 'NOT_FOUND'],
    handler: ({ params }) => {
      if (!rules.delete(params.pattern)) throw noRule(params.pattern)
    },
  })
}

async function answer(hub: Hub, rules: TopicRules, input: string): Promise<Record<string, unknown>> {
  const pattern = parsePattern(input)
  const rule = rules.get(pattern)
  if (rule === undefined) throw noRule(pattern)
  const topics = await topicsOf(hub, rules, pattern)
  return { pattern, rule: describeRule(rule), matched: topics.length, topics: topics.slice(0, MAX_NAMES) }
}

/** Topics in use for which this rule holds. */
async function topicsOf(hub: Hub, rules: TopicRules, pattern: TopicPattern): Promise<TopicName[]> {
  const isMatch = matcherOf(pattern)
  const found: TopicName[] = []
  const turn = new Turn(NAMES_PER_TURN)
  for (const name of hub.getTopicNames()) {
    if (isMatch(name) && rules.candidates(name)[0] === pattern) found.push(name)
    const rest = turn.after(0)
    if (rest !== undefined) await rest
  }
  return found
}

function noRule(pattern: string): HubError {
  return new HubError(
    'NOT_FOUND',
    `pattern: there is no rule ${JSON.stringify(pattern)}; GET /api/topic-rules has them all`,
  )
}
