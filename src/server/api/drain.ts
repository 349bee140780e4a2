import { z } from 'zod'
import type { HubContext } from '../context.ts'
import type { Api } from './route.ts'
import { count, ms } from './schemas.ts'

const report = z.object({
  outcome: z.enum(['drained', 'deadline', 'aborted']),
  ms,
  sends: z.object({ finished: count, abandoned: count }),
  messages: z.object({ settled: count, abandoned: count }),
  clients: z.object({ closed: count, behind: count }),
})
const state = z.object({ state: z.enum(['serving', 'draining', 'drained']), report: report.optional() })

/** The end of the hub, but not of its process. */
export function drainRoutes(api: Api, context: HubContext): void {
  const now = () => {
    const { report } = context
    return { state: report ? 'drained' : context.closing.aborted ? 'draining' : 'serving', report }
  }

  api.add({
    method: 'GET',
    path: '/api/drain',
    tag: 'Operation',
    summary: 'Does the hub drain, and what came of it',
    answers: { 200: { description: '`report` once it is drained.', schema: state } },
    handler: now,
  })

  api.add({
    method: 'POST',
    path: '/api/drain',
    tag: 'Operation',
    summary: 'Drains: what SIGTERM does, but for the end of the process',
    description:
      'New work is refused with SHUTTING_DOWN, /health/ready says 503, what waits is handed over, the clients are closed one after the other. It cannot be taken back; the process stays until it is stopped, and so do monitoring and this API. A second request changes nothing.',
    audit: 'drain',
    answers: { 202: { description: 'It has begun: look with GET.', schema: state } },
    handler: () => {
      context.close().catch(error => context.hub.events.emit('fault', { error, where: 'drain' }))
      return now()
    },
  })
}
