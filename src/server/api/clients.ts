import { z } from 'zod'
import type { CloseReason } from '../../core/connection.ts'
import { HubError } from '../../core/errors.ts'
import { type Position, parseTopicName } from '../../core/ids.ts'
import type { Hub } from '../../hub.ts'
import { parsePolicy } from '../../policies/catalog.ts'
import { parseEventId } from '../../transports/sse.ts'
import { newClientId } from '../../transports/transport.ts'
import type { HubContext } from '../context.ts'
import { goneSignal } from '../gone.ts'
import { listClients, SORTS } from './client-list.ts'
import type { Api } from './route.ts'
import {
  anyClientId,
  anyTopicName,
  clientId,
  clientInfo,
  clientPath,
  count,
  inspectedClient,
  policy,
  policyDescription,
  positionText,
  queryBoolean,
  queryNumber,
  subscription,
  topicName,
  userName,
} from './schemas.ts'

/** Clients that one answer lists. */
const DEFAULT_LIMIT = 100
const MAX_LIMIT = 1000

const listQuery = z.strictObject({
  topic: anyTopicName.optional().meta({ description: 'Only those on this topic.' }),
  user: z.string().optional().meta({ description: 'Only those of this user.' }),
  protocol: z.string().optional().meta({ description: 'Only those that speak this protocol.' }),
  behind: queryBoolean
    .optional()
    .meta({ description: 'true: only those that are behind on a topic; false: only the others.' }),
  limit: queryNumber(z.int().min(1).max(MAX_LIMIT))
    .optional()
    .meta({ description: `1 to ${MAX_LIMIT}; default ${DEFAULT_LIMIT}.` }),
  after: z.string().optional().meta({ description: 'Only ids behind this one: what `next` of the page before said.' }),
  sort: z
    .enum(SORTS)
    .default('id')
    .meta({ description: 'By id, in pages; or those with most of something, the first page alone.' }),
})

/** What an operator may say of why; the others are what happened. */
const REASONS = [
  'ended',
  'denied',
  'revoked',
  'expired',
  'flooding',
  'overloaded',
  'protocol',
] as const satisfies CloseReason[]
const endQuery = z.strictObject({
  reason: z
    .enum(REASONS)
    .default('ended')
    .meta({ description: 'Each protocol has its close code for it (docs/protocols.md).' }),
})

const topicWish = z.union([anyTopicName, z.strictObject({ name: anyTopicName, policy: policy.optional() })])
const registration = z
  .strictObject({
    id: anyClientId.optional().meta({ description: 'Default: random.' }),
    url: z.string().optional().meta({ description: 'Messages are posted there.' }),
    secret: z.string().optional().meta({ description: 'whsec_ and base64: signs the requests.' }),
    endpoint: z.string().optional().meta({ description: 'Of an AWS API Gateway, with connectionId.' }),
    connectionId: z.string().optional(),
    topics: z.array(topicWish).optional(),
    user: userName.optional(),
    ifExists: z.enum(['keep', 'replace']).default('keep'),
  })
  .meta({ oneOf: [{ required: ['url'] }, { required: ['endpoint', 'connectionId'] }] })
const registered = z.object({ id: z.string(), protocol: z.string(), topics: z.array(z.string()) })
const subscribeBody = z.strictObject({ topic: topicName, policy: policy.optional() })
const seq = z.int().min(0)
const confirmation = z.union(
  [
    z.strictObject({ topic: anyTopicName, epoch: z.string().max(64), seq }),
    z.strictObject({ topic: anyTopicName, position: positionText }),
  ],
  'give topic, epoch and seq, or topic and position (epoch-seq)',
)
const activeQuery = z.strictObject({
  timeoutMs: queryNumber(z.int().min(1).max(60_000)).optional().meta({ description: 'Default 5000.' }),
})

/** Who is connected: to see, to end, and to give topics and policies to. */
export function clientRoutes(api: Api, context: HubContext): void {
  const { hub, receivers } = context
  const tag = 'Clients'

  api.add({
    method: 'GET',
    path: '/api/clients',
    tag,
    summary: 'Those who are connected',
    description: 'Pages go by id: who comes or goes meanwhile disturbs no page.',
    query: listQuery,
    answers: {
      200: {
        description: '`next`: give it as `after` for the next page; absent on the last.',
        schema: z.object({ clients: z.array(clientInfo), total: count, next: z.string().optional() }),
      },
    },
    errors: ['TOPIC_INVALID'],
    handler: ({ query }) => listClients(hub, { ...query, limit: query.limit ?? DEFAULT_LIMIT }),
  })

  api.add({
    method: 'POST',
    path: '/api/clients',
    tag,
    summary: 'Registers a client that is a URL',
    description:
      'For admins: such a client hears whatever is published to its topics. With the same id, receiver and user it is kept, with all that waits for it.',
    audit: 'register',
    body: registration,
    answers: {
      201: { description: 'It is new.', schema: registered },
      200: { description: 'It was there already, and is kept.', schema: registered },
    },
    errors: [
      'CLIENT_ID_INVALID',
      'CALLBACK_URL_INVALID',
      'CLIENT_EXISTS',
      'POLICY_INVALID',
      'POLICY_DENIED',
      'LIMIT_EXCEEDED',
      'SHUTTING_DOWN',
    ],
    handler: ({ body: { id = newClientId(), topics, ...wanted }, request, reply, note }) => {
      note({ id, user: wanted.user })
      const wishes = topics?.map(topic => (typeof topic === 'string' ? { name: topic } : topic))
      const created = context.opening(request, id, () => receivers.register(id, { ...wanted, topics: wishes }))
      if (!created) context.forget(id, request.log)
      const { protocol, subscriptions } = hub.getClient(id)
      reply.code(created ? 201 : 200)
      return { id, protocol, topics: subscriptions.map(({ topic }) => topic) }
    },
  })

  api.add({
    method: 'GET',
    path: '/api/clients/{id}',
    tag,
    summary: 'One of them',
    params: clientPath,
    answers: {
      200: { description: 'What waits for it, what it lost, and each subscription.', schema: inspectedClient },
    },
    errors: ['CONNECTION_NOT_FOUND'],
    handler: ({ params }) => inspect(hub, params.id),
  })

  api.add({
    method: 'DELETE',
    path: '/api/clients/{id}',
    tag,
    summary: 'Disconnects it',
    audit: 'disconnect',
    params: clientPath,
    query: endQuery,
    answers: { 204: { description: 'It is gone, and was told why.' } },
    errors: ['CONNECTION_NOT_FOUND'],
    handler: ({ params, query: { reason }, note }) => {
      note({ reason })
      if (!hub.unregisterClient(params.id, reason)) throw notConnected(params.id)
    },
  })

  api.add({
    method: 'PUT',
    path: '/api/clients/{id}/policy',
    tag,
    summary: 'Gives it a class: a policy that wins over those of its topics',
    audit: 'set-client-policy',
    params: clientPath,
    body: policy,
    answers: { 200: { description: 'The policy, with all its options.', schema: policyDescription } },
    errors: ['CONNECTION_NOT_FOUND', 'POLICY_INVALID', 'POLICY_DENIED'],
    handler: ({ params, body, note }) => {
      const policy = parsePolicy(body)
      note({ policy: policy.describe() })
      hub.setClientPolicy(params.id, policy)
      return policy.describe()
    },
  })

  api.add({
    method: 'DELETE',
    path: '/api/clients/{id}/policy',
    tag,
    summary: 'Takes its class back',
    audit: 'clear-client-policy',
    params: clientPath,
    answers: { 204: { description: 'Its topics decide again.' } },
    errors: ['CONNECTION_NOT_FOUND'],
    handler: ({ params }) => hub.setClientPolicy(params.id, null),
  })

  api.add({
    method: 'POST',
    path: '/api/clients/{id}/subscriptions',
    tag,
    summary: 'Subscribes it',
    description: 'A second subscription to a topic changes its policy.',
    audit: 'subscribe',
    params: clientPath,
    body: subscribeBody,
    answers: { 200: { description: 'Everything after `position` comes.', schema: subscription } },
    errors: [
      'TOPIC_INVALID',
      'TOPIC_UNKNOWN',
      'CONNECTION_NOT_FOUND',
      'POLICY_INVALID',
      'POLICY_DENIED',
      'LIMIT_EXCEEDED',
      'SHUTTING_DOWN',
    ],
    handler: ({ params, body: { topic, policy }, note }) => {
      note({ topic })
      return hub.subscribe(params.id, topic, { policy: policy === undefined ? undefined : parsePolicy(policy) })
    },
  })

  api.add({
    method: 'DELETE',
    path: '/api/clients/{id}/subscriptions/{topic}',
    tag,
    summary: 'Unsubscribes it',
    audit: 'unsubscribe',
    params: z.strictObject({ id: clientId, topic: topicName }),
    answers: { 204: { description: 'What was published before is still delivered.' } },
    errors: ['TOPIC_INVALID', 'CONNECTION_NOT_FOUND', 'NOT_SUBSCRIBED'],
    handler: ({ params: { id, topic } }) => {
      hub.getClient(id)
      if (!hub.unsubscribe(id, topic)) {
        throw new HubError('NOT_SUBSCRIBED', `topic: ${id} is not subscribed to ${parseTopicName(topic)}`)
      }
    },
  })

  api.add({
    method: 'GET',
    path: '/api/clients/{id}/active',
    tag,
    access: 'publish',
    summary: 'Asks its peer whether it is there',
    // Of an id that no client can have the answer is false.
    params: z.strictObject({ id: z.string().min(1) }),
    query: activeQuery,
    answers: {
      200: { description: 'false: it is not, or did not answer in time.', schema: z.object({ active: z.boolean() }) },
    },
    handler: async ({ params, query: { timeoutMs }, reply }) => ({
      active: await hub.isActive(params.id, { timeoutMs, signal: goneSignal(reply) }),
    }),
  })

  api.add({
    method: 'POST',
    path: '/api/clients/{id}/ack',
    tag,
    summary: 'Says that it has everything up to a position (policy reliable)',
    params: clientPath,
    body: confirmation,
    answers: { 200: { description: 'How many messages that settles.', schema: z.object({ confirmed: count }) } },
    errors: ['TOPIC_INVALID', 'CONNECTION_NOT_FOUND', 'NOT_SUBSCRIBED', 'POSITION_INVALID'],
    handler: ({ params, body: said }) => {
      const position = 'position' in said ? readPosition(said.position) : { epoch: said.epoch, seq: said.seq }
      return { confirmed: hub.acknowledge(params.id, said.topic, position) }
    },
  })
}

/** With why each subscription has the policy that it has. */
function inspect(hub: Hub, id: string) {
  const client = hub.getClient(id)
  const subscriptions = client.subscriptions.map(subscription => {
    const { rule, candidates } = hub.explainPolicy(id, subscription.topic)
    return { ...subscription, rule, candidates }
  })
  return { ...client, subscriptions }
}

export function readPosition(text: string): Position {
  const position = parseEventId(text)
  if (position === undefined)
    throw new HubError('REQUEST_INVALID', 'position: it is the epoch, a hyphen and the seq of a message')
  return position
}

export function notConnected(id: string): HubError {
  return new HubError('CONNECTION_NOT_FOUND', `client: no client ${JSON.stringify(id)} is connected`)
}
