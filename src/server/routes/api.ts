import type { FastifyInstance } from 'fastify'
import { HubError } from '../../core/errors.ts'
import { parsePolicy } from '../../policies/catalog.ts'
import { describeSpec } from '../../topics/describe.ts'
import type { HubContext } from '../context.ts'

interface TopicPath {
  Params: { '*': string }
}
interface ClientPath {
  Params: { id: string }
}

/** What operators see and change. */
export function apiRoutes(app: FastifyInstance, { hub }: HubContext): void {
  app.get('/api/stats', () => hub.getConnectionStats())
  app.get('/api/metrics', () => hub.getMetrics())

  app.get('/api/clients', () => ({ clients: [...hub.getActiveClients()] }))
  app.get<ClientPath>('/api/clients/:id', ({ params }) => hub.getClient(params.id))
  app.put<ClientPath>('/api/clients/:id/policy', ({ params, body }) => {
    const policy = parsePolicy(body)
    hub.setClientPolicy(params.id, policy)
    return policy.describe()
  })
  app.delete<ClientPath>('/api/clients/:id/policy', ({ params }, reply) => {
    hub.setClientPolicy(params.id, null)
    reply.code(204).send()
  })

  app.get('/api/topics', () => ({ topics: [...hub.getTopics()] }))
  // A topic's name has slashes, so what follows it in the path is taken off by hand.
  app.get<TopicPath>('/api/topics/*', ({ params }) => {
    const topic = policyPath(params['*'])
    if (topic !== undefined) return hub.getDeliveryPolicy(topic).describe()
    const spec = describeSpec(hub.resolveTopic(params['*']), hub.getDeliveryPolicy(params['*']))
    const info = hub.getTopic(params['*'])
    return info === null ? { name: spec.name, used: false, spec } : { ...info, used: true, spec }
  })
  app.put<TopicPath>('/api/topics/*', ({ params, body }) => {
    const policy = parsePolicy(body)
    hub.setDeliveryPolicy(requirePolicyPath(params['*']), policy)
    return policy.describe()
  })
  app.delete<TopicPath>('/api/topics/*', ({ params }, reply) => {
    hub.setDeliveryPolicy(requirePolicyPath(params['*']), null)
    reply.code(204).send()
  })
}

/** The topic of `{topic}/policy`; undefined for any other path. */
function policyPath(path: string): string | undefined {
  return path.endsWith('/policy') ? path.slice(0, -'/policy'.length) : undefined
}

function requirePolicyPath(path: string): string {
  const topic = policyPath(path)
  if (topic === undefined) throw new HubError('NOT_FOUND', 'only /api/topics/{topic}/policy can be changed')
  return topic
}
