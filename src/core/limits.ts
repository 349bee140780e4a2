import type { ErrorCode } from './errors.ts'
import { integer, MAX_ENTRIES, type Rules, readOptions } from './options.ts'

export interface HubLimits {
  readonly maxClients: number
  /** Clients of one user. */
  readonly maxClientsPerUser: number
  readonly maxTopics: number
  /** Topics that one client names itself; what its patterns match is not counted. */
  readonly maxSubscriptionsPerClient: number
  readonly maxPatternsPerClient: number
  /**
   * Topics that one pattern of one client may match. One more, and the client is closed as overloaded: it must not miss
   * it silently.
   */
  readonly maxTopicsPerPattern: number
  /**
   * Bytes that may wait for one client, over all its topics. A policy that allows more on one topic widens it for its
   * client.
   */
  readonly maxQueuedBytesPerClient: number
  /**
   * Memory that the hub keeps in all, in bytes: histories and whatever waits. Beyond it histories go, then the clients
   * with most waiting.
   */
  readonly maxRetainedBytes: number
}

const MIB = 1024 * 1024

export const DEFAULT_LIMITS: HubLimits = Object.freeze({
  maxClients: 50_000,
  maxClientsPerUser: 100,
  maxTopics: 100_000,
  maxSubscriptionsPerClient: 128,
  maxPatternsPerClient: 16,
  maxTopicsPerPattern: 1000,
  maxQueuedBytesPerClient: MIB,
  maxRetainedBytes: 256 * MIB,
})

/** 0: none. */
const count = integer(0, MAX_ENTRIES)
const RULES = {
  ...Object.fromEntries(Object.keys(DEFAULT_LIMITS).map(name => [name, count])),
  maxQueuedBytesPerClient: integer(1, 1024 * MIB),
  maxRetainedBytes: integer(1, 1024 * 1024 * MIB),
} as Rules<HubLimits>

/**
 * Throws a HubError of this code for a limit that is unknown, out of its range, or undefined, which would look like "no
 * limit".
 */
export function readLimits(limits: Partial<HubLimits>, code: ErrorCode): Partial<HubLimits> {
  const named = Object.keys(limits ?? {}) as (keyof HubLimits)[]
  return readOptions<Partial<HubLimits>>(limits, RULES, 'limits.', code, named)
}
