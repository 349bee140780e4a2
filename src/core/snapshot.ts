import type { Registration } from './client.ts'
import type { CloseReason } from './connection.ts'
import type { Link } from './link.ts'
import type { DropReason } from './message.ts'
import {
  type ClientInfo,
  type ConnectionStats,
  type DropTally,
  listDrops,
  newTally,
  type SubscriptionInfo,
  type TopicInfo,
} from './stats.ts'
import type { Topic } from './topic.ts'

/** Counters that outlive clients and topics. */
export class CloseCounter {
  clientsTotal = 0
  messages = 0
  bytes = 0
  delivered = 0
  dropped = 0
  readonly closes: Partial<Record<CloseReason, number>> = {}
  readonly byProtocol: Record<string, number> = {}
  /** Losses on topics that are forgotten since, by policy. */
  readonly tallies = new Map<string, DropTally>()

  opened(protocol: string): void {
    this.clientsTotal++
    this.byProtocol[protocol] = (this.byProtocol[protocol] ?? 0) + 1
  }

  ended(protocol: string, reason: CloseReason): void {
    this.closes[reason] = (this.closes[reason] ?? 0) + 1
    this.byProtocol[protocol]!--
  }

  published(bytes: number): void {
    this.messages++
    this.bytes += bytes
  }

  forgot(topic: Topic): void {
    this.delivered += topic.delivered
    this.dropped += topic.dropped
    addTallies(this.tallies, topic.tallies)
  }
}

export function connectionStats(
  clients: Iterable<Registration>,
  topics: Iterable<Topic>,
  counter: CloseCounter,
  uptimeMs: number,
): ConnectionStats {
  const sum = { clients: 0, topics: 0, subscriptions: 0, behind: 0, pending: 0, queuedBytes: 0, retainedBytes: 0 }
  let { delivered, dropped } = counter
  const tallies = new Map<string, DropTally>()
  addTallies(tallies, counter.tallies.values())
  for (const client of clients) {
    sum.clients++
    sum.behind += client.outbox.behind
    sum.queuedBytes += queuedBytes(client)
  }
  for (const topic of topics) {
    sum.topics++
    sum.subscriptions += topic.links.length
    sum.retainedBytes += topic.retainedBytes
    delivered += topic.delivered
    dropped += topic.dropped
    for (const link of topic.links) sum.pending += link.pending
    addTallies(tallies, topic.tallies)
  }
  return {
    ...sum,
    clientsByProtocol: { ...counter.byProtocol },
    clientsTotal: counter.clientsTotal,
    published: counter.messages,
    publishedBytes: counter.bytes,
    delivered,
    dropped,
    drops: listDrops(tallies.values()),
    closes: { ...counter.closes },
    uptimeMs,
  }
}

export function clientInfo(client: Registration, now: number): ClientInfo {
  const { outbox } = client
  let waitedMs = outbox.writable ? 0 : now - outbox.waitingSince
  for (const link of outbox.links.values()) waitedMs = Math.max(waitedMs, link.waited(now))
  return {
    id: client.id,
    protocol: outbox.connection.protocol,
    protocols: client.protocols,
    user: client.session.user,
    address: client.address,
    connectedMs: now - client.connectedAt,
    writable: outbox.writable,
    queuedBytes: queuedBytes(client),
    waitedMs,
    unacknowledged: outbox.connection.unacknowledged?.(),
    subscriptions: [...outbox.links.values()].map(subscriptionInfo),
  }
}

export function subscriptionInfo(link: Link): SubscriptionInfo {
  return {
    topic: link.topic.name,
    policy: link.policy.describe(),
    state: link.behind || link.holding ? 'behind' : 'live',
    published: link.topic.seq - link.base,
    delivered: link.delivered,
    dropped: link.dropped,
    pending: link.pending,
  }
}

export function topicInfo(topic: Topic): TopicInfo {
  return {
    name: topic.name,
    position: topic.position,
    contentType: topic.contentType,
    policy: topic.policy.describe(),
    subscribers: topic.links.length,
    behind: topic.links.length - topic.live,
    published: topic.seq,
    delivered: topic.delivered,
    drops: listDrops(topic.tallies),
    retained: { messages: topic.log.count, bytes: topic.retainedBytes },
  }
}

function queuedBytes({ outbox }: Registration): number {
  let bytes = outbox.waitingBytes + outbox.controlBytes + outbox.queuedBytes
  for (const link of outbox.links.values()) bytes += link.heldBytes
  return bytes
}

function addTallies(sums: Map<string, DropTally>, tallies: Iterable<DropTally>): void {
  for (const { policy, counts } of tallies) {
    let sum = sums.get(policy)
    if (sum === undefined) {
      sum = newTally(policy)
      sums.set(policy, sum)
    }
    for (const reason of Object.keys(counts) as DropReason[]) sum.counts[reason] += counts[reason]
  }
}
