import type { CloseReason } from './connection.ts'
import type { ClientId, Position, Seq, TopicName } from './ids.ts'
import type { DropReason } from './message.ts'
import type { PolicyDescription } from './policy.ts'

/** Losses of one topic under one policy, by reason: plain counters that the hot path adds to. */
export interface DropTally {
  readonly policy: string
  readonly counts: Record<DropReason, number>
}

export function newTally(policy: string): DropTally {
  const counts = { behind: 0, conflated: 0, overflow: 0, rate: 0, trimmed: 0, unsupported: 0, closed: 0 }
  return { policy, counts }
}

export interface DropCount {
  readonly policy: string
  readonly reason: DropReason
  readonly count: number
}

export function listDrops(tallies: Iterable<DropTally>): DropCount[] {
  const drops: DropCount[] = []
  for (const { policy, counts } of tallies) {
    for (const reason of Object.keys(counts) as DropReason[]) {
      if (counts[reason] > 0) drops.push({ policy, reason, count: counts[reason] })
    }
  }
  return drops
}

/** One client on one topic: published = delivered + dropped + pending (I6). */
export interface SubscriptionInfo {
  readonly topic: TopicName
  readonly policy: PolicyDescription
  readonly state: 'live' | 'behind'
  /** Messages published to it since it subscribed (or since the position that it resumed from). */
  readonly published: number
  readonly delivered: number
  readonly dropped: number
  readonly pending: number
}

export interface ClientInfo {
  readonly id: ClientId
  readonly protocol: string
  readonly protocols: readonly string[]
  readonly user: string | undefined
  readonly address: string | undefined
  readonly connectedMs: number
  readonly writable: boolean
  /** Bytes in this process that the connection has not taken: the outstanding write and what drop-newest keeps. */
  readonly queuedBytes: number
  /** How long its oldest message has waited, in ms. */
  readonly waitedMs: number
  /** Bytes that the peer's host has not confirmed; undefined where the platform cannot tell. */
  readonly unacknowledged: number | undefined
  readonly subscriptions: readonly SubscriptionInfo[]
}

export interface TopicInfo {
  readonly name: TopicName
  readonly position: Position
  readonly contentType: string | undefined
  readonly policy: PolicyDescription
  readonly subscribers: number
  readonly behind: number
  readonly published: Seq
  readonly delivered: number
  readonly drops: readonly DropCount[]
  /** What is kept for links that are behind and for those who resume. */
  readonly retained: { readonly messages: number; readonly bytes: number }
}

/** A snapshot of plain counters. All counts are since the hub started; a count per link, not per message. */
export interface ConnectionStats {
  readonly clients: number
  readonly clientsByProtocol: Readonly<Record<string, number>>
  readonly clientsTotal: number
  readonly topics: number
  readonly subscriptions: number
  /** Links that are behind now. */
  readonly behind: number
  readonly published: number
  readonly publishedBytes: number
  readonly delivered: number
  readonly dropped: number
  readonly pending: number
  /** In-process bytes that wait for single clients. */
  readonly queuedBytes: number
  /** In-process bytes that the topics keep, shared by all clients. */
  readonly retainedBytes: number
  readonly drops: readonly DropCount[]
  readonly closes: Readonly<Partial<Record<CloseReason, number>>>
  readonly uptimeMs: number
}
