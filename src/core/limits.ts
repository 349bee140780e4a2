import { HubError } from './errors.ts'

export interface HubLimits {
  readonly maxClients: number
  /** Clients of one user. */
  readonly maxClientsPerUser: number
  readonly maxTopics: number
  /** Topics that one client names itself; what its patterns match is not counted. */
  readonly maxSubscriptionsPerClient: number
  readonly maxPatternsPerClient: number
  /** Topics that one pattern of one client may match. One more, and the client is closed as overloaded: it must not miss it silently. */
  readonly maxTopicsPerPattern: number
  /** Bytes that may wait for one client, over all its topics. A policy that allows more on one topic widens it for its client. */
  readonly maxQueuedBytesPerClient: number
  /** Bytes that the hub keeps in all: histories and whatever waits. Beyond it histories go, then the clients with most waiting. */
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

/** Throws REQUEST_INVALID where one of them is no limit. */
export function checkLimits(limits: Partial<HubLimits>): void {
  for (const [name, value] of Object.entries(limits)) {
    if (!Object.hasOwn(DEFAULT_LIMITS, name)) throw new HubError('REQUEST_INVALID', `limits: there is no limit ${name}`)
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new HubError('REQUEST_INVALID', `limits.${name}: it is a whole number from 0, not ${value}`)
    }
  }
}
