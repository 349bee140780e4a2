import type { FastifyInstance } from 'fastify'
import type { HubContext } from '../context.ts'
import { createMetrics } from '../metrics.ts'

/** For probes and scrapers. */
export function healthRoutes(app: FastifyInstance, { hub, edge, closing, degraded }: HubContext): void {
  app.get('/health/live', () => ({ status: 'ok' }))
  app.get('/health/ready', (_request, reply) => {
    if (closing.aborted) return reply.code(503).send({ status: 'draining' })
    const why = degraded()
    // Still ready: what is missing is missing on every node, and no balancer should take them all away.
    return reply.send(why === undefined ? { status: 'ok' } : { status: 'degraded', why })
  })

  const metrics = createMetrics(hub, edge)
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.metrics()))
}
