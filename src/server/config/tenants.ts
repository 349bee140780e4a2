import { z } from 'zod'
import { policySchema } from '../../policies/catalog.ts'
import { origins } from './edge.ts'
import { limits } from './limits.ts'
import { sessionsConfig } from './sessions.ts'
import { lingerMs, maxMessageBytes, ruleHistory, topics, unknownTopics } from './topics.ts'

const MAX_TENANTS = 1000
/** It is a segment of URLs. */
const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/

/**
 * What it does not say is as the hub's, but for `sessions`, `topics` and `origins`: those it has of its own, or not at
 * all.
 */
const tenant = z.strictObject({
  sessions: sessionsConfig.prefault({}),
  topics,
  unknownTopics: unknownTopics.removeDefault().optional(),
  origins,
  policy: policySchema.optional(),
  history: ruleHistory.optional(),
  maxMessageBytes: maxMessageBytes.optional(),
  lingerMs: lingerMs.optional(),
  limits: z
    .strictObject(
      Object.fromEntries(
        Object.entries(limits.shape).map(([name, limit]) => [name, limit.removeDefault().optional()]),
      ) as {
        [Name in keyof typeof limits.shape]: z.ZodOptional<ReturnType<(typeof limits.shape)[Name]['removeDefault']>>
      },
    )
    .optional(),
})

/** Hubs of their own in the same process, each under /tenants/{name}. */
export const tenants = z
  .record(z.string(), tenant)
  .superRefine((all, context) => {
    for (const name of Object.keys(all)) {
      if (NAME.test(name)) continue
      context.addIssue({ code: 'custom', path: [name], message: 'a tenant’s name is 1 to 63 of a-z, 0-9 and -' })
    }
    if (Object.keys(all).length > MAX_TENANTS) {
      context.addIssue({ code: 'custom', message: `there may be at most ${MAX_TENANTS} tenants` })
    }
  })
  .default({})

export type TenantConfig = z.infer<typeof tenant>
