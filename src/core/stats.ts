import type { Circuit, CloseReason } from './connection.ts'
import type { ClientId, Position, Seq, TopicName } from './ids.ts'
import type { HubLimits } from './limits.ts'
import type { DropReason } from './message.ts'
import type { TopicPattern } from './patterns.ts'
import type { PolicyDescription } from './policy.ts'
import type { Priority } from './topics.ts'

/**
 * Losses under one policy, by reason: plain numbers that the hot path adds to. `whole`: the hub's own, which outlives
 * topics.
 */
export class DropTally {
  readonly counts: Record<DropReason, number> = {
    behind: 0,
    conflated: 0,
    overflow: 0,
    rate: 0,
    trimmed: 0,
    unsupported: 0,
    failed: 0,
    unconfirmed: 0,
    closed: 0,
  }
  readonly #whole: DropTally | undefined

  constructor(whole?: DropTally) {
    this.#whole = whole
  }

  add(reason: DropReason, count: number): void {
    this.counts[reason] += count
    this.#whole?.add(reason, count)
  }
}

/** What a topic has delivered and lost; also, as `whole`, its hub. */
export class Counters {
  delivered = 0
  readonly #whole: Counters | undefined
  readonly #tallies = new Map<string, DropTally>()

  constructor(whole?: Counters) {
    this.#whole = whole
  }

  deliver(count: number): void {
    this.delivered += count
    this.#whole?.deliver(count)
  }

  /** Looked up when a link takes a policy, never per message. */
  tallyOf(policy: string): DropTally {
    const tally = this.#tallies.get(policy) ?? new DropTally(this.#whole?.tallyOf(policy))
    this.#tallies.set(policy, tally)
    return tally
  }

  get drops(): DropCount[] {
    const all = [...this.#tallies].flatMap(([policy, { counts }]) =>
      Object.entries(counts).map(([reason, count]) => ({ policy, reason: reason as DropReason, count })),
    )
    return all.filter(({ count }) => count > 0)
  }
}

export interface DropCount {
  readonly policy: string
  readonly reason: DropReason
  readonly count: number
}

/** One client on one topic: published = delivered + dropped + pending (I6). */
export interface SubscriptionInfo {
  readonly topic: TopicName
  readonly policy: PolicyDescription
  /** What the subscriber asked for, if anything. */
  readonly wish: PolicyDescription | undefined
  /** What decided the policy: see PolicyExplanation. */
  readonly decidedBy: PolicyOrigin
  /** The client did not name the topic, but this. */
  readonly pattern: TopicPattern | undefined
  readonly priority: Priority
  readonly state: 'live' | 'behind'
  /** Messages published to it since it subscribed (or since the position that it resumed from). */
  readonly published: number
  readonly delivered: number
  readonly dropped: number
  readonly pending: number
  /** Those of them that were sent and not confirmed, where the policy or the connection waits for confirmations. */
  readonly unconfirmed: number
  /** Payload bytes of those, but for what this tick will write. `latest` keeps none of its own. */
  readonly pendingBytes: number
  /** What its slowness is judged by; queue also where the policy asks for wire and the platform cannot tell. */
  readonly measured: 'queue' | 'wire'
}

export interface ClientInfo {
  readonly id: ClientId
  readonly protocol: string
  readonly protocols: readonly string[]
  readonly user: string | undefined
  /** When its session ends, in ms since 1970. */
  readonly expiresAt: number | undefined
  readonly address: string | undefined
  readonly connectedMs: number
  readonly writable: boolean
  /**
   * Bytes in this process that wait for it: the outstanding write, and payloads in lists of its own and in the topics'
   * logs.
   */
  readonly queuedBytes: number
  /** How long its oldest message has waited, in ms. */
  readonly waitedMs: number
  /** Bytes that the peer's host has not confirmed; undefined where the platform cannot tell. */
  readonly unacknowledged: number | undefined
  /** Of a client that is a URL: what its circuit breaker lets through. */
  readonly circuit: Circuit | undefined
  /** How long ago it last took, or confirmed, something that the hub waited for, in ms. */
  readonly sinceSendMs: number | undefined
  /** Messages that it lost, on all its topics since it connected, by reason. */
  readonly drops: Readonly<Partial<Record<DropReason, number>>>
  readonly subscriptions: readonly SubscriptionInfo[]
  readonly patterns: readonly PatternInfo[]
}

/** A standing order of a client. */
export interface PatternInfo {
  readonly pattern: TopicPattern
  readonly wish: PolicyDescription | undefined
  /** Topics that it has subscribed the client to. */
  readonly topics: number
}

/**
 * Who decided a policy, the strongest first. wish: the subscription's own. class: set for the client. topic: set for
 * the topic at run time. rule: the topic's rule in the registry. default: the hub's.
 */
export type PolicyOrigin = 'wish' | 'class' | 'topic' | 'rule' | 'default'

/** Why a subscription has the policy that it has: the first candidate governs. */
export interface PolicyExplanation {
  readonly policy: PolicyDescription
  readonly decidedBy: PolicyOrigin
  /** The name of the topic's rule, whether it says a policy or not. */
  readonly rule: string | undefined
  readonly candidates: readonly { readonly origin: PolicyOrigin; readonly policy: PolicyDescription }[]
}

export interface TopicInfo {
  readonly name: TopicName
  readonly position: Position
  readonly contentType: string | undefined
  /** How long a message may wait to share a write, in ms. */
  readonly lingerMs: number
  readonly policy: PolicyDescription
  /** The rule of the registry that it comes from. */
  readonly rule: string | undefined
  readonly priority: Priority
  readonly presence: boolean
  readonly subscribers: number
  readonly behind: number
  readonly published: Seq
  readonly delivered: number
  readonly drops: readonly DropCount[]
  /**
   * Messages that are kept for links that are behind and for clients that resume. `bytes` is memory: payloads and the
   * objects of messages.
   */
  readonly retained: { readonly messages: number; readonly bytes: number }
}

/** What refuses, by its name among the limits or in a topic's rule. */
export type Bound = keyof HubLimits | 'maxMessageBytes' | 'maxSubscribers' | 'publishRate' | 'schema'

/** A snapshot of plain counters. All counts are since the hub started; a count per link, not per message. */
export interface ConnectionStats {
  readonly clients: number
  readonly clientsByProtocol: Readonly<Record<string, number>>
  readonly clientsTotal: number
  /** Users with at least one client. */
  readonly users: number
  readonly patterns: number
  readonly topics: number
  /** Topics that nobody uses any more, of which the last position is remembered. */
  readonly positions: number
  readonly subscriptions: number
  /** Links that are behind now. */
  readonly behind: number
  readonly published: number
  readonly publishedBytes: number
  readonly delivered: number
  readonly dropped: number
  readonly pending: number
  /** Those of them that were sent and are not confirmed. */
  readonly unconfirmed: number
  /** Clients whose messages are requests, by what their circuit breaker lets through. */
  readonly circuits: Readonly<Record<Circuit, number>>
  /** In-process bytes that wait for single clients, for each client on its own. */
  readonly queuedBytes: number
  /**
   * Memory of the messages that topics keep for clients that resume or are behind, and of the remembered positions, in
   * bytes. Each message counts once, with its objects.
   */
  readonly retainedBytes: number
  /**
   * What counts against `maxRetainedBytes`: what the process holds for topics and clients, in bytes. A message, with
   * its objects, or a frame counts once, however many clients wait for it. Frames that the current tick will write do
   * not count.
   */
  readonly keptBytes: number
  readonly drops: readonly DropCount[]
  readonly closes: Readonly<Partial<Record<CloseReason, number>>>
  /** How often each bound has refused a client, a subscription or a message. */
  readonly refused: Readonly<Partial<Record<Bound, number>>>
  readonly uptimeMs: number
}
