import { hubMetrics } from '../../sending/metrics.ts'
import type { HubContext } from '../context.ts'
import type { Api } from './route.ts'
import { connectionStats, hubMetrics as hubMetricsSchema } from './schemas.ts'

/** Figures of the whole hub. */
export function monitoringRoutes(api: Api, { hub }: HubContext): void {
  api.add({
    method: 'GET',
    path: '/api/stats',
    tag: 'Monitoring',
    summary: 'Counters of the hub',
    answers: { 200: { description: 'Since the hub began; a count once per subscription.', schema: connectionStats } },
    handler: () => hub.countConnectionStats(),
  })
  api.add({
    method: 'GET',
    path: '/api/metrics',
    access: 'metrics',
    tag: 'Monitoring',
    summary: 'Counts and times of each kind of work',
    answers: { 200: { description: 'Times in ms.', schema: hubMetricsSchema } },
    handler: async () => hubMetrics(hub.operations, await hub.countConnectionStats()),
  })
}
