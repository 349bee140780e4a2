import { closest } from 'fastest-levenshtein'
import type { FastifyInstance } from 'fastify'
import type { z } from 'zod'
import { HubError } from '../../core/errors.ts'
import type { TopicName } from '../../core/ids.ts'
import { matches, parsePattern, type TopicPattern } from '../../core/patterns.ts'
import type { Hub } from '../../hub.ts'
import { describeRule } from '../../topics/describe.ts'
import type { TopicRules } from '../../topics/registry.ts'
import { topicRule, toTopicRule } from '../config/topics.ts'
import type { HubContext } from '../context.ts'

/** Of `PUT /api/topic-rules/{pattern}`. */
export const topicRuleBody = topicRule

/** A topic's name or a pattern, whose slashes and asterisks stand as they are or percent-encoded. */
interface RulePath {
  Params: { '*': string }
}

/** Names of topics in one answer; `matched` counts all. */
const MAX_NAMES = 1000

/** `GET /api/topic-rules`, `GET|PUT|DELETE /api/topic-rules/{pattern}`: what is changed holds at once, until the process ends. */
export function topicRuleRoutes(app: FastifyInstance, { hub, topicRules: rules }: HubContext): void {
  if (rules === undefined) return

  app.get('/api/topic-rules', () => ({
    unknownTopics: rules.unknownTopics,
    rules: rules.list().map(({ pattern, rule }) => ({ pattern, rule: describeRule(rule) })),
  }))

  app.get<RulePath>('/api/topic-rules/*', ({ params }) => answer(hub, rules, params['*']))

  app.put<RulePath>('/api/topic-rules/*', ({ params, body }, reply) => {
    const pattern = params['*']
    const isNew = rules.get(pattern) === undefined
    rules.set(pattern, toTopicRule(readRule(body)))
    reply.code(isNew ? 201 : 200)
    return answer(hub, rules, pattern)
  })

  app.delete<RulePath>('/api/topic-rules/*', ({ params }, reply) => {
    if (!rules.delete(params['*'])) throw noRule(params['*'])
    reply.code(204).send()
  })
}

function answer(hub: Hub, rules: TopicRules, input: string): Record<string, unknown> {
  const pattern = parsePattern(input)
  const rule = rules.get(pattern)
  if (rule === undefined) throw noRule(pattern)
  const topics = topicsOf(hub, rules, pattern)
  return { pattern, rule: describeRule(rule), matched: topics.length, topics: topics.slice(0, MAX_NAMES) }
}

/** Topics in use for which this rule holds. */
function topicsOf(hub: Hub, rules: TopicRules, pattern: TopicPattern): TopicName[] {
  return [...hub.getTopics()]
    .map(({ name }) => name as TopicName)
    .filter(name => matches(pattern, name) && rules.candidates(name)[0] === pattern)
}

function noRule(pattern: string): HubError {
  return new HubError(
    'NOT_FOUND',
    `pattern: there is no rule ${JSON.stringify(pattern)}; GET /api/topic-rules has them all`,
  )
}

/** Throws REQUEST_INVALID, with the nearest name of a field that there is not. */
function readRule(body: unknown): z.infer<typeof topicRuleBody> {
  const result = topicRuleBody.safeParse(body ?? {})
  if (result.success) return result.data
  const [issue] = result.error.issues as [z.core.$ZodIssue]
  if (issue.code !== 'unrecognized_keys') throw result.error
  const inner = (topicRuleBody.shape as Record<string, { unwrap(): { shape?: object } }>)[String(issue.path[0])]
  const known = Object.keys(inner?.unwrap().shape ?? topicRuleBody.shape)
  const [key] = issue.keys as [string]
  const place = issue.path.map(part => `${String(part)}.`).join('')
  throw new HubError('REQUEST_INVALID', `unknown key "${place}${key}": did you mean "${place}${closest(key, known)}"?`)
}
