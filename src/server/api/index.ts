import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import type { HubContext } from '../context.ts'
import { takeJsonOnly } from '../json-bodies.ts'
import { clientRoutes } from './clients.ts'
import { documentRoutes } from './document.ts'
import { drainRoutes } from './drain.ts'
import { historyRoutes } from './history.ts'
import { limitRoutes } from './limits.ts'
import { monitoringRoutes } from './monitoring.ts'
import { publicRoutes } from './public-routes.ts'
import { publishingRoutes } from './publishing.ts'
import { revocationRoutes } from './revocations.ts'
import { Api } from './route.ts'
import { sendingRoutes } from './sending.ts'
import { tailRoute } from './tail.ts'
import { ticketRoute } from './tickets.ts'
import { topicRuleRoutes } from './topic-rules.ts'
import { topicRoutes } from './topics.ts'
import { userRoutes } from './users.ts'

/** `/api`, in a scope of its own. */
export const apiRoutes: FastifyPluginAsync<{ context: HubContext }> = async (app: FastifyInstance, { context }) => {
  takeJsonOnly(app)
  const api = new Api(app)
  publicRoutes(api)
  monitoringRoutes(api, context)
  clientRoutes(api, context)
  tailRoute(api, context)
  topicRoutes(api, context)
  topicRuleRoutes(api, context)
  historyRoutes(api, context)
  userRoutes(api, context)
  publishingRoutes(api, context)
  await sendingRoutes(app, api, context)
  revocationRoutes(api, context)
  api.describe(ticketRoute(context))
  limitRoutes(api, context)
  drainRoutes(api, context)
  await documentRoutes(app, api)
}
