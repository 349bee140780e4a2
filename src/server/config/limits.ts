import { z } from 'zod'
import { DEFAULT_LIMITS } from '../../core/limits.ts'
import { edgeLimits } from './edge.ts'

const MIB = 1024 * 1024

/** The hub's own, and those of the edge. */
export const limits = z.strictObject({
  maxClients: z.int().min(1).max(10_000_000).default(DEFAULT_LIMITS.maxClients),
  maxClientsPerUser: z.int().min(1).max(100_000).default(DEFAULT_LIMITS.maxClientsPerUser),
  maxTopics: z.int().min(1).max(10_000_000).default(DEFAULT_LIMITS.maxTopics),
  maxSubscriptionsPerClient: z.int().min(1).max(100_000).default(DEFAULT_LIMITS.maxSubscriptionsPerClient),
  maxPatternsPerClient: z.int().min(0).max(1000).default(DEFAULT_LIMITS.maxPatternsPerClient),
  maxTopicsPerPattern: z.int().min(1).max(1_000_000).default(DEFAULT_LIMITS.maxTopicsPerPattern),
  maxQueuedBytesPerClient: z
    .int()
    .min(1024)
    .max(1024 * MIB)
    .default(DEFAULT_LIMITS.maxQueuedBytesPerClient),
  maxRetainedBytes: z
    .int()
    .min(MIB)
    .max(1024 * 1024 * MIB)
    .default(DEFAULT_LIMITS.maxRetainedBytes),
  ...edgeLimits,
})
