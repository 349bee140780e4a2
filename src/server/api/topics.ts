import { z } from 'zod'
import type { Hub } from '../../hub.ts'
import { parsePolicy } from '../../policies/catalog.ts'
import { described, describeSpec } from '../../topics/describe.ts'
import type { HubContext } from '../context.ts'
import { Turn } from '../turn.ts'
import { compare, First } from './first.ts'
import { moveClients } from './move.ts'
import type { Api } from './route.ts'
import {
  count,
  failure,
  policy,
  policyDescription,
  queryNumber,
  topicInfo,
  topicName,
  topicPathSchema,
} from './schemas.ts'

const DEFAULT_LIMIT = 100
const MAX_LIMIT = 1000
/** Names of topics that one turn of the event loop looks at. */
const NAMES_PER_TURN = 1024

const listQuery = z.strictObject({
  limit: queryNumber(z.int().min(1).max(MAX_LIMIT))
    .optional()
    .meta({ description: `1 to ${MAX_LIMIT}; default ${DEFAULT_LIMIT}.` }),
  after: z
    .string()
    .optional()
    .meta({ description: 'Only names behind this one: what `next` of the page before said.' }),
})
const moveBody = z.strictObject({ to: topicName })

/**
 * A page of topics by name, made in several turns of the event loop. A topic that comes or goes meanwhile may be on it
 * or not.
 */
async function listTopics(hub: Hub, limit: number, after: string) {
  const names = new First<string>(limit + 1, compare)
  let total = 0
  const looks = new Turn(NAMES_PER_TURN)
  for (const name of hub.getTopicNames()) {
    total++
    if (name > after) names.add(name)
    const rest = looks.after(0)
    if (rest !== undefined) await rest
  }
  const page = names.all.slice(0, limit)
  const topics = []
  const infos = new Turn()
  for (const name of page) {
    const info = hub.getTopic(name)
    if (info !== null) topics.push(info)
    await infos.after(0)
  }
  return { topics, total, ...(names.all.length > limit && { next: page.at(-1)! }) }
}

/** Topics that somebody uses, and what is decided for each at run time. */
export function topicRoutes(api: Api, { hub }: HubContext): void {
  const tag = 'Topics'

  api.add({
    method: 'GET',
    path: '/api/topics',
    tag,
    summary: 'Those that somebody uses, in pages by name',
    query: listQuery,
    answers: {
      200: {
        description: '`next`: give it as `after` for the next page; absent on the last.',
        schema: z.object({ topics: z.array(topicInfo), total: count, next: z.string().optional() }),
      },
    },
    handler: ({ query: { limit = DEFAULT_LIMIT, after = '' } }) => listTopics(hub, limit, after),
  })

  api.add({
    method: 'GET',
    path: '/api/topics/{topic}',
    tag,
    summary: 'One of them, and what is set for it',
    params: topicPathSchema,
    answers: {
      200: {
        description: '`used` says whether somebody publishes or subscribes to it; the figures are there only then.',
        schema: topicInfo.partial().extend({
          name: z.string(),
          used: z.boolean(),
          spec: z.looseObject({ name: z.string() }).meta({ description: 'As its rule says (docs/topics.md).' }),
        }),
      },
    },
    errors: ['TOPIC_INVALID', 'TOPIC_UNKNOWN'],
    handler: ({ params: { topic } }) => {
      const spec = describeSpec(hub.resolveTopic(topic), hub.getDeliveryPolicy(topic))
      const info = hub.getTopic(topic)
      return info === null ? { name: spec.name, used: false, spec } : { ...info, used: true, spec }
    },
  })

  api.add({
    method: 'GET',
    path: '/api/topics/{topic}/policy',
    tag,
    summary: 'The policy of those who have no wish and no class of their own',
    params: topicPathSchema,
    answers: { 200: { description: 'With all its options.', schema: policyDescription } },
    errors: ['TOPIC_INVALID', 'TOPIC_UNKNOWN'],
    handler: ({ params }) => described(hub.getDeliveryPolicy(params.topic)),
  })

  api.add({
    method: 'PUT',
    path: '/api/topics/{topic}/policy',
    tag,
    summary: 'Sets it, at once and without a reconnect',
    audit: 'set-topic-policy',
    params: topicPathSchema,
    body: policy,
    answers: { 200: { description: 'With all its options.', schema: policyDescription } },
    errors: ['TOPIC_INVALID', 'POLICY_INVALID', 'LIMIT_EXCEEDED'],
    handler: ({ params, body, note }) => {
      const policy = parsePolicy(body)
      note({ policy: policy.describe() })
      hub.setDeliveryPolicy(params.topic, policy)
      return policy.describe()
    },
  })

  api.add({
    method: 'DELETE',
    path: '/api/topics/{topic}/policy',
    tag,
    summary: 'Takes it back: the configuration decides again',
    audit: 'clear-topic-policy',
    params: topicPathSchema,
    answers: { 204: { description: 'Taken back.' } },
    errors: ['TOPIC_INVALID'],
    handler: ({ params }) => hub.setDeliveryPolicy(params.topic, null),
  })

  api.add({
    method: 'POST',
    path: '/api/topics/{topic}/move',
    tag,
    summary: 'Moves all its clients to another topic',
    description:
      'Each client is moved whole or not at all: it is on the new topic before it leaves the old one. What was published to the old one before is still delivered; of the new one it gets what is published from now on. Its position on the old topic says nothing of the new.',
    audit: 'move',
    params: topicPathSchema,
    body: moveBody,
    answers: {
      200: {
        description: 'How many are on the new topic now, and who is not, at most 1,000 of them.',
        schema: z.object({
          moved: count,
          failed: count,
          failures: z.array(z.object({ client: z.string(), error: failure })),
        }),
      },
    },
    errors: ['TOPIC_INVALID', 'TOPIC_UNKNOWN', 'SHUTTING_DOWN'],
    handler: ({ params, body, note }) => {
      note({ to: body.to })
      return moveClients(hub, params.topic, body.to)
    },
  })
}
