import { randomBytes } from 'node:crypto'
import { memoryBroker } from './brokers/memory.ts'
import type { Broker } from './core/broker.ts'
import { ConnectionManager, type HubLimits } from './core/manager.ts'
import type { DeliveryPolicy } from './core/policy.ts'
import type { Scheduler } from './core/scheduler.ts'
import type { TopicRegistry } from './core/topics.ts'
import { eventLoop } from './event-loop.ts'
import { openTopics } from './open-topics.ts'
import { buffered } from './policies/buffered.ts'

export type Hub = ConnectionManager

export interface HubOptions {
  /** Default: memory, a hub of one node. */
  readonly broker?: Broker
  /** Default: every valid name is a topic. */
  readonly topics?: TopicRegistry
  /** For topics that have none of their own. Default: buffered, 1 MiB, then closed as slow. */
  readonly policy?: DeliveryPolicy
  readonly limits?: Partial<HubLimits>
  /** Default: the event loop. Tests give a manual one. */
  readonly scheduler?: Scheduler
}

/** A hub without a server: give it connections, or put transports on top (`hubline/transports`, `hubline/fastify`). */
export function createHub(options: HubOptions = {}): Hub {
  return new ConnectionManager({
    scheduler: options.scheduler ?? eventLoop,
    broker: options.broker ?? memoryBroker(),
    topics: options.topics ?? openTopics(),
    policy: options.policy ?? buffered(),
    limits: options.limits ?? {},
    epoch: randomBytes(4).toString('hex'),
  })
}
