/** `hubline`: the hub itself, its policies and its contracts. No server, no sockets. */
export { memoryBroker } from './brokers/memory.ts'
export type { Batch, Encoded } from './core/batch.ts'
export type { Broker, Publication, RouteResult, Sink } from './core/broker.ts'
export type { Circuit, Client, CloseReason, Connection, WriteResult } from './core/connection.ts'
export type {
  ClientFilter,
  History,
  HistoryOptions,
  PatternSubscription,
  PostedMessage,
  PresenceInfo,
  Publisher,
  PublishResult,
  RegisterOptions,
  RouteOptions,
  SubscribeOptions,
  Subscription,
} from './core/contract.ts'
export { type ClientFailure, type ErrorCode, HubError } from './core/errors.ts'
export type { Events, HubEvents, RequestFailure } from './core/events.ts'
export { type ClientId, type Position, parseClientId, parseTopicName, type Seq, type TopicName } from './core/ids.ts'
export { DEFAULT_LIMITS, type HubLimits } from './core/limits.ts'
export type { ConnectionManager } from './core/manager.ts'
export type { Codec, DropReason, Gap, GapReason, Message, PublishedBy } from './core/message.ts'
export { Direct, type DirectMessage, type Parcel } from './core/parcel.ts'
export { covers, isPattern, matches, parsePattern, type TopicPattern } from './core/patterns.ts'
export type { Backlog, DeliveryPolicy, PolicyDescription, PolicyLink, Verdict } from './core/policy.ts'
export type { Scheduler } from './core/scheduler.ts'
export {
  type Action,
  type Grants,
  type Handshake,
  openSessions,
  type RefusalReason,
  type Session,
  type SessionManager,
  type SubscriptionGrant,
} from './core/sessions.ts'
export type {
  ClientInfo,
  ConnectionStats,
  DropCount,
  PatternInfo,
  PolicyExplanation,
  PolicyOrigin,
  SubscriptionInfo,
  TopicInfo,
} from './core/stats.ts'
export type { Access, Priority, PublishRate, TopicDefaults, TopicRegistry, TopicSpec } from './core/topics.ts'
export type { ClientWatcher, Sighting } from './core/watcher.ts'
export { eventLoop } from './event-loop.ts'
export { createHub, Hub, type HubHeartbeat, type HubOptions } from './hub.ts'
export { openTopics } from './open-topics.ts'
export { bestEffort } from './policies/best-effort.ts'
export { type BufferedOptions, buffered } from './policies/buffered.ts'
export { parsePolicy } from './policies/catalog.ts'
export { type DropSlowOptions, dropSlow } from './policies/drop-slow.ts'
export { latest } from './policies/latest.ts'
export { type PriorityOptions, priority } from './policies/priority.ts'
export { type RateLimitOptions, rateLimit } from './policies/rate-limit.ts'
export { type ReliableOptions, reliable } from './policies/reliable.ts'
export type { Listener, MessageHandler } from './receiving/listener.ts'
export type { MessageStream, StreamOptions } from './receiving/message-stream.ts'
export type { ReceivedMessage } from './receiving/received-message.ts'
export type { BeforePublish, Draft, DraftChange } from './sending/before-publish.ts'
export type { BroadcastOptions, BroadcastResult, ClientOutcome } from './sending/broadcast.ts'
export type { HubApi, PublishData } from './sending/hub-api.ts'
export type { HubMetrics, OperationName } from './sending/metrics.ts'
export type { Operation, OperationMetrics } from './sending/operation.ts'
export type { SendOptions } from './sending/outgoing.ts'
export type { SendResult } from './sending/pending-send.ts'
export type { ShutdownOptions, ShutdownReport } from './sending/shutdown.ts'
export { type BookOptions, ConnectionBook, type Restorable } from './stores/connection-book.ts'
export type { ConnectionRecord, ConnectionStore, ConnectionTouch } from './stores/connection-store.ts'
export { type MemoryStore, type MemoryStoreOptions, memoryStore } from './stores/memory.ts'
export type { JsonSchema } from './topics/json-schema.ts'
export { TopicRules, type TopicRulesOptions, topicRules } from './topics/registry.ts'
export type { TopicRule } from './topics/rule.ts'
export type { StandardSchema, TopicSchema } from './topics/schema.ts'
export type { TracerProvider } from './tracing/open-telemetry.ts'
export type { TracingOptions } from './tracing/tracing.ts'
