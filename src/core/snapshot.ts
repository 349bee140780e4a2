import type { Registration } from './client.ts'
import type { CloseReason } from './connection.ts'
import type { HubError } from './errors.ts'
import type { Fault } from './guarded-codec.ts'
import type { Link } from './link.ts'
import type { DeliveryPolicy } from './policy.ts'
import type { Positions } from './positions.ts'
import {
  type Bound,
  type ClientInfo,
  type ConnectionStats,
  Counters,
  type PolicyExplanation,
  type PolicyOrigin,
  type SubscriptionInfo,
  type TopicInfo,
} from './stats.ts'
import { described } from './terms.ts'
import type { Topic } from './topic.ts'

/** The hub's own counters: they outlive clients and topics. */
export class HubCounters extends Counters {
  clientsTotal = 0
  published = 0
  publishedBytes = 0
  readonly closes: Partial<Record<CloseReason, number>> = {}
  readonly clientsByProtocol: Record<string, number> = {}
  readonly refused: Partial<Record<Bound, number>> = {}

  opened(protocol: string): void {
    this.clientsTotal++
    this.clientsByProtocol[protocol] = (this.clientsByProtocol[protocol] ?? 0) + 1
  }

  /** Gives the error back that says so. */
  refuse(bound: Bound, error: HubError): HubError {
    this.refused[bound] = (this.refused[bound] ?? 0) + 1
    return error
  }

  ended(protocol: string, reason: CloseReason): void {
    this.closes[reason] = (this.closes[reason] ?? 0) + 1
    this.clientsByProtocol[protocol]!--
  }
}

/** Sums over all clients and topics. */
export type Sums = Pick<
  ConnectionStats,
  'subscriptions' | 'behind' | 'pending' | 'unconfirmed' | 'queuedBytes' | 'retainedBytes' | 'circuits'
>

/** Clients, topics and subscriptions that one step of a sum looks at. */
export const SUMMED_PER_STEP = 2048

/** Sums in steps, so that the caller can let other work run between two of them. */
export function* sumUp(
  clients: ReadonlyMap<string, Registration>,
  topics: ReadonlyMap<string, Topic>,
): Generator<undefined, Sums> {
  const sum = { subscriptions: 0, behind: 0, pending: 0, unconfirmed: 0, queuedBytes: 0, retainedBytes: 0 }
  const circuits = { closed: 0, open: 0, 'half-open': 0 }
  let left = SUMMED_PER_STEP
  for (const client of clients.values()) {
    const { circuit } = client
    if (circuit !== undefined) circuits[circuit]++
    sum.behind += client.outbox.behind
    sum.unconfirmed += client.outbox.unconfirmed
    sum.queuedBytes += queuedBytes(client)
    left -= 1 + client.outbox.links.size
    if (left > 0) continue
    yield
    left = SUMMED_PER_STEP
  }
  for (const topic of topics.values()) {
    sum.subscriptions += topic.links.length
    sum.retainedBytes += topic.retainedBytes
    for (const link of topic.links) sum.pending += link.pending
    left -= 1 + topic.links.length
    if (left > 0) continue
    yield
    left = SUMMED_PER_STEP
  }
  return { ...sum, circuits }
}

export function connectionStats(
  sums: Sums,
  {
    positions,
    ...held
  }: Pick<ConnectionStats, 'clients' | 'topics' | 'users' | 'patterns'> & {
    readonly positions: Pick<Positions, 'size' | 'bytes'>
  },
  counters: HubCounters,
  keptBytes: number,
  uptimeMs: number,
): ConnectionStats {
  const { clientsTotal, published, publishedBytes, delivered, drops, closes, clientsByProtocol } = counters
  const dropped = drops.reduce((total, { count }) => total + count, 0)
  return {
    ...sums,
    retainedBytes: sums.retainedBytes + positions.bytes,
    ...{ ...held, positions: positions.size, keptBytes, uptimeMs },
    ...{ clientsTotal, published, publishedBytes, delivered, dropped, drops },
    ...{ closes: { ...closes }, refused: { ...counters.refused }, clientsByProtocol: { ...clientsByProtocol } },
  }
}

export function clientInfo(client: Registration, now: number): ClientInfo {
  const { outbox } = client
  let waitedMs = outbox.writable ? 0 : now - outbox.waitingSince
  for (const link of outbox.links.values()) waitedMs = Math.max(waitedMs, link.waited(now))
  return {
    id: client.id,
    protocol: outbox.protocol,
    protocols: client.protocols,
    user: client.session.user,
    expiresAt: client.session.expiresAt,
    address: client.address,
    connectedMs: now - client.connectedAt,
    writable: outbox.writable,
    queuedBytes: outbox.backlogBytes + outbox.parcelBytes,
    waitedMs,
    unacknowledged: outbox.unacknowledged,
    circuit: client.circuit,
    sinceSendMs: client.lastSendAt === undefined ? undefined : now - client.lastSendAt,
    drops: { ...outbox.drops },
    subscriptions: [...outbox.links.values()].map(link => subscriptionInfo(link, client)),
    patterns: [...(client.patterns?.values() ?? [])].map(({ pattern, wish, topics }) => ({
      pattern,
      wish: wish && described(wish, outbox.fault),
      topics,
    })),
  }
}

export function subscriptionInfo(link: Link, client: Registration): SubscriptionInfo {
  const { fault } = link.outbox
  return {
    topic: link.topic.name,
    policy: described(link.policy, fault),
    wish: link.wish && described(link.wish, fault),
    decidedBy: originOf(link, client),
    pattern: link.order?.pattern,
    priority: link.priority,
    state: link.behind || link.holding ? 'behind' : 'live',
    published: link.topic.seq - link.base,
    delivered: link.delivered,
    dropped: link.dropped,
    pending: link.pending,
    unconfirmed: link.acks?.messages ?? 0,
    pendingBytes: link.backlogBytes,
    measured: link.terms.measure === 'wire' && link.outbox.wire !== undefined ? 'wire' : 'queue',
  }
}

function originOf(link: Link, client: Registration): PolicyOrigin {
  if (link.wish) return 'wish'
  if (client.policy) return 'class'
  return link.topic.policyOrigin
}

export function explainPolicy(link: Link, client: Registration, hub: DeliveryPolicy): PolicyExplanation {
  const { topic } = link
  const { fault } = link.outbox
  const known: [PolicyOrigin, DeliveryPolicy | undefined][] = [
    ['wish', link.wish],
    ['class', client.policy],
    ['topic', topic.policyOrigin === 'topic' ? topic.policy : undefined],
    ['rule', topic.spec.policy],
    ['default', hub],
  ]
  const candidates = known.flatMap(([origin, policy]) => (policy ? { origin, policy: described(policy, fault) } : []))
  return { policy: described(link.policy, fault), decidedBy: originOf(link, client), rule: topic.spec.rule, candidates }
}

export function topicInfo(topic: Topic, fault: Fault): TopicInfo {
  return {
    name: topic.name,
    position: topic.position,
    contentType: topic.contentType,
    lingerMs: topic.lingerMs,
    policy: described(topic.policy, fault),
    rule: topic.spec.rule,
    priority: topic.spec.priority ?? 'normal',
    presence: topic.spec.presence ?? false,
    subscribers: topic.links.length,
    behind: topic.links.length - topic.live,
    published: topic.seq,
    delivered: topic.counters.delivered,
    drops: topic.counters.drops,
    retained: { messages: topic.log.count, bytes: topic.retainedBytes },
  }
}

function queuedBytes({ outbox }: Registration): number {
  let bytes = outbox.waitingBytes + outbox.controlBytes + outbox.queuedBytes + outbox.parcelBytes
  for (const link of outbox.links.values()) bytes += link.heldBytes
  return bytes
}
