import type { FastifyInstance } from 'fastify'
import type { HubContext } from '../context.ts'
import { createMetrics } from '../metrics.ts'

/** For probes: they have no key. */
export function healthRoutes(app: FastifyInstance, { closing, degraded }: HubContext): void {
  app.get('/health/live', () => ({ status: 'ok' }))
  app.get('/health/ready', (_request, reply) => {
    if (closing.aborted) return reply.code(503).send({ status: 'draining' })
    const why = degraded()
    // Still ready: what is missing is missing on every node, and no balancer should take them all away.
    return reply.send(why === undefined ? { status: 'ok' } : { status: 'degraded', why })
  })
}

/** For scrapers. */
export function metricsRoute(app: FastifyInstance, { hub, edge, rejections, processMetrics }: HubContext): void {
  const metrics = createMetrics(hub, edge, rejections, processMetrics)
  app.get('/metrics', { config: { access: 'metrics' } }, async (_request, reply) =>
    reply.type(metrics.contentType).send(await metrics.metrics()),
  )
}
