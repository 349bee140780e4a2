import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { HubError } from '../../core/errors.ts'
import { type Position, parseTopicName } from '../../core/ids.ts'
import { parsePolicy } from '../../policies/catalog.ts'
import { parseEventId } from '../../transports/sse.ts'
import { newClientId } from '../../transports/transport.ts'
import type { HubContext } from '../context.ts'
import { goneSignal } from '../gone.ts'

interface ClientPath {
  Params: { id: string }
}
interface SubscriptionPath {
  Params: { id: string; '*': string }
}

const topicWish = z.union([
  z.string().transform(name => ({ name, policy: undefined })),
  z.strictObject({ name: z.string(), policy: z.unknown().optional() }),
])
const registration = z.strictObject({
  id: z.string().optional(),
  url: z.string().optional(),
  secret: z.string().optional(),
  endpoint: z.string().optional(),
  connectionId: z.string().optional(),
  topics: z.array(topicWish).optional(),
  user: z.string().min(1).max(255).optional(),
  ifExists: z.enum(['keep', 'replace']).default('keep'),
})
const subscription = z.strictObject({ topic: z.string(), policy: z.unknown().optional() })
const seq = z.int().min(0)
const confirmation = z.union(
  [
    z.strictObject({ topic: z.string(), epoch: z.string().max(64), seq }),
    z.strictObject({ topic: z.string(), position: z.string().transform(readPosition) }),
  ],
  'give topic, epoch and seq, or topic and position (epoch-seq)',
)
const activeQuery = z.strictObject({ timeoutMs: z.coerce.number().int().min(1).max(60_000).optional() })

/** What a backend does with single clients, but for sending. All bodies are JSON. */
export function clientRoutes(app: FastifyInstance, context: HubContext): void {
  const { hub, receivers } = context

  app.post('/api/clients', (request, reply) => {
    const { id = newClientId(), ...wanted } = registration.parse(request.body)
    const created = context.opening(request, id, () => receivers.register(id, wanted))
    if (!created) context.forget(id, request.log)
    const { protocol, subscriptions } = hub.getClient(id)
    reply.code(created ? 201 : 200).send({ id, protocol, topics: subscriptions.map(({ topic }) => topic) })
  })

  app.delete<ClientPath>('/api/clients/:id', ({ params }, reply) => {
    if (!hub.unregisterClient(params.id, 'ended')) throw notConnected(params.id)
    reply.code(204).send()
  })

  app.post<ClientPath>('/api/clients/:id/subscriptions', ({ params, body }) => {
    const { topic, policy } = subscription.parse(body)
    return hub.subscribe(params.id, topic, { policy: policy === undefined ? undefined : parsePolicy(policy) })
  })

  app.delete<SubscriptionPath>('/api/clients/:id/subscriptions/*', ({ params }, reply) => {
    const { id, '*': topic } = params
    hub.getClient(id)
    if (!hub.unsubscribe(id, topic)) {
      throw new HubError('NOT_SUBSCRIBED', `topic: ${id} is not subscribed to ${parseTopicName(topic)}`)
    }
    reply.code(204).send()
  })

  app.get<ClientPath>('/api/clients/:id/active', async ({ params, query }, reply) => {
    const { timeoutMs } = activeQuery.parse(query)
    return { active: await hub.isActive(params.id, { timeoutMs, signal: goneSignal(reply) }) }
  })

  app.post<ClientPath>('/api/clients/:id/ack', ({ params, body }) => {
    const said = confirmation.parse(body)
    const position = 'position' in said ? said.position : { epoch: said.epoch, seq: said.seq }
    return { confirmed: hub.acknowledge(params.id, said.topic, position) }
  })
}

function readPosition(text: string): Position {
  const position = parseEventId(text)
  if (position === undefined)
    throw new HubError('REQUEST_INVALID', 'position: it is the epoch, a hyphen and the seq of a message')
  return position
}

function notConnected(id: string): HubError {
  return new HubError('CONNECTION_NOT_FOUND', `client: no client ${JSON.stringify(id)} is connected`)
}
