import type { Broker, RouteResult } from './broker.ts'
import type { HubError } from './errors.ts'
import type { ClientId, Position, TopicName } from './ids.ts'
import type { HubLimits } from './limits.ts'
import type { Message } from './message.ts'
import type { TopicPattern } from './patterns.ts'
import type { DeliveryPolicy } from './policy.ts'
import type { Scheduler } from './scheduler.ts'
import type { Session } from './sessions.ts'
import type { TopicRegistry } from './topics.ts'

/** What the core needs from outside; `createHub` fills it in. */
export interface ManagerOptions {
  readonly scheduler: Scheduler
  readonly broker: Broker
  readonly topics: TopicRegistry
  readonly policy: DeliveryPolicy
  readonly limits?: Partial<HubLimits>
  /** Unique to this life of the hub: positions of an earlier one must not fit. */
  readonly epoch: string
  /** Once a tick: how long the oldest of its messages took from being routed to being handed over, in ms. */
  readonly onHanded?: ((ms: number) => void) | undefined
}

export interface RegisterOptions {
  readonly protocols?: readonly string[]
  readonly session?: Session | undefined
  readonly address?: string | undefined
  /**
   * The id is taken. replace (default): the older client is closed as `replaced`, if it is of the same user; else
   * PERMISSION_DENIED. seize: also of another user, for backends. refuse: CLIENT_EXISTS.
   */
  readonly ifExists?: 'replace' | 'seize' | 'refuse' | undefined
  /** What another process needs to have this client again: for a connection store. May hold a secret. */
  readonly restore?: unknown
  /**
   * true: part of the program itself, such as a stream of messages inside of it. It counts as a client in limits and
   * statistics, and topics open to nobody let it in; presence does not show it, and a filter of clients does not select
   * it.
   */
  readonly internal?: boolean | undefined
}

/** A topic or a pattern that a client is to be subscribed to. */
export interface WantedTopic {
  readonly name: string
  readonly options?: SubscribeOptions | undefined
}

export interface SubscribeOptions {
  /** The subscriber's own wish; it wins over the client's policy and the topic's, if the topic allows it. */
  readonly policy?: DeliveryPolicy | undefined
  /**
   * Resume after this position: what the topic still keeps is replayed first, what it does not is told as a gap.
   * oldest: begin with everything that the topic keeps.
   */
  readonly after?: Position | 'oldest' | undefined
  /**
   * Told the answer from inside, before anything of the topic can reach the client: what it sends the client comes
   * first. Not for a subscription that was there already, nor for what a pattern matches. It must do nothing else.
   */
  readonly begun?: ((subscription: Subscription) => void) | undefined
}

export interface Subscription {
  readonly topic: TopicName
  /** Everything after this position will be delivered, or counted and told. */
  readonly position: Position
  /** Was the asked position found, and everything after it still there? False where none was asked for. */
  readonly recovered: boolean
}

/** A standing order: the client is subscribed to every topic that matches, as it comes into being. */
export interface PatternSubscription {
  readonly pattern: TopicPattern
  /** How many it matches now that the client has not named itself. */
  readonly topics: number
}

export interface HistoryOptions {
  /** What came after this position. Default: everything that is kept. */
  readonly after?: Position | undefined
  /** At most so many: the oldest of them, or with `reverse` the newest. Default: all. */
  readonly limit?: number | undefined
  readonly reverse?: boolean | undefined
}

/** A message without what the hub counts of it. */
export type PublicMessage = Omit<Message, 'bytes' | 'held' | 'keepers'>

export interface History<Each = PublicMessage> {
  /** Of the topic's last message. */
  readonly position: Position
  readonly messages: readonly Each[]
  /** Nothing is missing between `after` and the topic's last message, but for what `limit` leaves out. */
  readonly recovered: boolean
}

/** One client on a topic that tells who is there. */
export interface PresenceInfo {
  readonly client: ClientId
  readonly user: string | undefined
  /** What its session says of it. */
  readonly info: unknown
}

export interface RouteOptions {
  readonly contentType?: string | undefined
  readonly key?: string | undefined
  /** The publisher's name for the work that this belongs to. */
  readonly correlationId?: string | undefined
  /** Who publishes. Default: the program itself. */
  readonly publisher?: Publisher | undefined
}

/**
 * Who publishes. `beforePublish` sees it; subscribers see `client`, and `user` and `info` of the session, where the
 * topic's rule says `publisher: true`. One connection or request passes the same object each time: publications of one
 * object stay in their order.
 */
export interface Publisher {
  /** The id of the client; undefined for a request without a connection, and for a backend. */
  readonly client?: string | undefined
  readonly session?: Session | undefined
}

/**
 * What a publication came to. The counts are of this node's subscribers at that moment. Where a broker accepted the
 * message and does not tell its place, `position` is `{ epoch: '', seq: 0 }`.
 */
export type PublishResult = RouteResult

/** One for all publications without options. */
export const NO_OPTIONS: RouteOptions = Object.freeze({})

/**
 * Clients by what they have in common: those that match every key given. It names topic, user or protocol, or asks for
 * everybody with `all`; anything else throws REQUEST_INVALID, and so does a key that is present and undefined.
 */
export interface ClientFilter {
  readonly topic?: string
  readonly user?: string
  readonly protocol?: string
  /** true: every client. Not together with the three above. */
  readonly all?: true
  /** Ids to leave out. */
  readonly except?: readonly string[]
}

/** What `post` answers: a message on its way to one client. */
export interface PostedMessage {
  /** `settled` without an error says that the receiver has it, and not only the transport. */
  readonly confirms: boolean
  /**
   * Gives the message up: `settled` gets the error, unless it was called already. What is on the wire may still
   * arrive.
   */
  cancel(error: HubError): void
}
