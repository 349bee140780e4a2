import type { Circuit } from '../core/connection.ts'
import type { ConnectionStats } from '../core/stats.ts'
import type { Operation, OperationMetrics } from './operation.ts'

/**
 * Kinds of work that are counted and timed. route: from being routed to being handed over, once a tick, its oldest
 * message.
 */
export type OperationName = 'send' | 'broadcast' | 'route' | 'callback'

export interface HubMetrics {
  readonly operations: Readonly<Record<OperationName, OperationMetrics>>
  /** Clients that are URLs, by what their circuit breaker lets through. */
  readonly circuits: Readonly<Record<Circuit, number>>
  readonly queues: {
    /** Messages that wait, once per subscription, and those of them that were sent and not confirmed. */
    readonly pending: number
    readonly unconfirmed: number
    /** In-process bytes that wait for single clients. */
    readonly bytes: number
  }
}

export function hubMetrics(
  operations: Readonly<Record<OperationName, Operation>>,
  { circuits, pending, unconfirmed, queuedBytes }: ConnectionStats,
): HubMetrics {
  const { send, broadcast, route, callback } = operations
  return {
    operations: {
      send: send.metrics,
      broadcast: broadcast.metrics,
      route: route.metrics,
      callback: callback.metrics,
    },
    circuits,
    queues: { pending, unconfirmed, bytes: queuedBytes },
  }
}
