import type { FastifyInstance } from 'fastify'
import type { HubContext } from '../context.ts'
import { createMetrics } from '../metrics.ts'

/** For probes and scrapers. */
export function healthRoutes(app: FastifyInstance, { hub, closing }: HubContext): void {
  app.get('/health/live', () => ({ status: 'ok' }))
  app.get('/health/ready', (_request, reply) => {
    reply.code(closing.aborted ? 503 : 200).send({ status: closing.aborted ? 'draining' : 'ok' })
  })

  const metrics = createMetrics(hub)
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.metrics()))
}
