import { z } from 'zod'
import { DEFAULT_LIMITS, type HubLimits } from '../../core/limits.ts'
import { edgeLimits } from '../config/edge.ts'
import type { HubContext } from '../context.ts'
import { DEFAULT_EDGE_LIMITS, type EdgeLimits } from '../edge/limits.ts'
import type { Api } from './route.ts'

const limit = z.int().min(1)
const hubNames = Object.keys(DEFAULT_LIMITS) as (keyof HubLimits)[]
const edgeNames = Object.keys(DEFAULT_EDGE_LIMITS) as (keyof EdgeLimits)[]
const limits = z.object({
  ...(Object.fromEntries(hubNames.map(name => [name, limit])) as Record<keyof HubLimits, typeof limit>),
  ...(Object.fromEntries(edgeNames.map(name => [name, edgeLimits[name].unwrap()])) as Record<
    keyof EdgeLimits,
    typeof limit
  >),
})
const changes = z
  .strictObject(limits.partial().shape)
  .refine(body => Object.keys(body).length > 0, 'name at least one limit')

/** The limits of the hub and of its edge, as they are now. */
export function limitRoutes(api: Api, { hub, edge }: HubContext): void {
  const inForce = () => ({ ...hub.limits, ...edge.limits })
  const tag = 'Operation'

  api.add({
    method: 'GET',
    path: '/api/limits',
    tag,
    summary: 'The limits in force',
    answers: { 200: { description: 'docs/configuration.md says what each is.', schema: limits } },
    handler: inForce,
  })

  api.add({
    method: 'PATCH',
    path: '/api/limits',
    tag,
    summary: 'Changes some of them until the next start',
    description: 'In force at once for what is new; nobody who is connected is ended for it.',
    audit: 'set-limits',
    body: changes,
    answers: { 200: { description: 'All limits, as they are now.', schema: limits } },
    handler: ({ body, note }) => {
      note(body)
      hub.setLimits(named(body, hubNames))
      edge.set(named(body, edgeNames))
      return inForce()
    },
  })
}

/** Of all that is said, what is said of these. */
function named<K extends string>(
  body: Partial<Record<K, number | undefined>>,
  names: readonly K[],
): Partial<Record<K, number>> {
  return Object.fromEntries(names.flatMap(name => (body[name] === undefined ? [] : [[name, body[name]]]))) as Partial<
    Record<K, number>
  >
}
