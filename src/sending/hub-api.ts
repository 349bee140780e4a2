import type { ClientFilter, History, HistoryOptions, PublishResult, RouteOptions } from '../core/contract.ts'
import type { ConnectionManager } from '../core/manager.ts'
import type { Listener, MessageHandler } from '../receiving/listener.ts'
import type { MessageStream, StreamOptions } from '../receiving/message-stream.ts'
import type { BroadcastOptions, BroadcastResult } from './broadcast.ts'
import type { HubMetrics } from './metrics.ts'
import type { SendOptions } from './outgoing.ts'
import type { SendResult } from './pending-send.ts'
import type { ShutdownOptions, ShutdownReport } from './shutdown.ts'

/** Bytes, text, or a value that JSON has a form for. */
export type PublishData = Uint8Array | string | number | boolean | object | null

/**
 * What an application calls of its hub, and a test may put a mock in the place of. What only transports and operators
 * need is not here.
 */
export interface HubApi
  extends Pick<
    ConnectionManager,
    | 'events'
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
    | 'selectClients'
    | 'getClient'
    | 'getActiveClients'
    | 'getClientsForTopic'
    | 'getConnectionStats'
  > {
  publish(topicName: string, data: PublishData, options?: RouteOptions): Promise<PublishResult>
  history(topicName: string, options?: HistoryOptions): History
  stream(topic: string, options?: StreamOptions): MessageStream
  listen(topic: string, handler: MessageHandler, options?: StreamOptions): Listener
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
