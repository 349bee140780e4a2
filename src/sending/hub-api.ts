import type { ClientFilter } from '../core/contract.ts'
import type { ConnectionManager } from '../core/manager.ts'
import type { BroadcastOptions, BroadcastResult } from './broadcast.ts'
import type { HubMetrics } from './metrics.ts'
import type { SendOptions } from './outgoing.ts'
import type { SendResult } from './pending-send.ts'
import type { ShutdownOptions, ShutdownReport } from './shutdown.ts'

/** What an application calls of its hub, and a test may put a mock in the place of. What only transports and operators need is not here. */
export interface HubApi
  extends Pick<
    ConnectionManager,
    | 'events'
    | 'publish'
    | 'routeData'
    | 'subscribe'
    | 'unsubscribe'
    | 'subscribePattern'
    | 'unsubscribePattern'
    | 'acknowledge'
    | 'unregisterClient'
    | 'isOnline'
    | 'connectionsOf'
    | 'disconnectUser'
    | 'presence'
    | 'presenceStats'
    | 'history'
    | 'selectClients'
    | 'getClient'
    | 'getActiveClients'
    | 'getClientsForTopic'
    | 'getConnectionStats'
  > {
  send(clientId: string, message: unknown, options?: SendOptions): Promise<SendResult>
  broadcast(
    targets: Iterable<string> | ClientFilter,
    message: unknown,
    options?: BroadcastOptions,
  ): Promise<BroadcastResult>
  sendToUser(user: string, message: unknown, options?: BroadcastOptions): Promise<BroadcastResult>
  isActive(clientId: string, options?: Pick<SendOptions, 'timeoutMs' | 'signal'>): Promise<boolean>
  getMetrics(): HubMetrics
  shutdown(options?: ShutdownOptions): Promise<ShutdownReport>
}
