import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { ConnectionStats } from '../core/stats.ts'
import type { Hub } from '../hub.ts'
import type { OperationMetrics } from '../sending/operation.ts'
import { tcpProbe } from '../transports/tcp-probe.ts'
import type { Edge } from './edge/edge.ts'
import { droppedLogLines } from './log-output.ts'
import type { Rejections } from './rejections.ts'

interface Sample {
  readonly labels: Record<string, string>
  readonly value: number
}

/**
 * The hub's plain counters in Prometheus's form, read when scraped and not before. Labels are bounded: protocols,
 * policies, reasons, operations and states, never topics or clients.
 */
export function createMetrics(
  hub: Hub,
  { refused }: Pick<Edge, 'refused'>,
  rejections: Pick<Rejections, 'counts'>,
  ofProcess: boolean,
): Registry {
  const registry = new Registry()
  if (ofProcess) {
    collectDefaultMetrics({ register: registry })
    // These are gauges with the name of a counter. The ones with a label `type` say the same.
    for (const name of ['handles', 'requests', 'resources']) registry.removeSingleMetric(`nodejs_active_${name}_total`)
    counters(
      registry,
      'hubline_log_lines_dropped_total',
      'Log lines dropped because stderr did not take them',
      [],
      () => [{ labels: {}, value: droppedLogLines() }],
    )
  }
  const stats = statsOf(hub)
  clientMetrics(registry, stats)
  messageMetrics(registry, stats)
  operationMetrics(registry, hub)
  counters(registry, 'hubline_refused_total', 'What a limit refused, by its setting', ['limit'], async () =>
    Object.entries({ ...refused, ...(await stats()).refused }).map(([limit, value]) => ({ labels: { limit }, value })),
  )
  const rejected = 'What was rejected of clients and publishers, by error code and reason'
  counters(registry, 'hubline_rejected_total', rejected, ['code', 'reason'], () =>
    [...rejections.counts].map(({ code, reason, count }) => ({ labels: { code, reason }, value: count })),
  )
  return registry
}

type Stats = () => Promise<ConnectionStats>
type Read = () => Sample[] | Promise<Sample[]>

/**
 * Counts all clients once for all metrics of a scrape. The count takes several turns; a scrape asks for all metrics in
 * one turn.
 */
function statsOf(hub: Hub): Stats {
  let stats: Promise<ConnectionStats> | undefined
  return () => {
    if (stats === undefined) queueMicrotask(() => (stats = undefined))
    stats ??= hub.countConnectionStats()
    return stats
  }
}

function clientMetrics(registry: Registry, stats: Stats): void {
  const gauge = (name: string, help: string, value: (stats: ConnectionStats) => number): void =>
    gauges(registry, name, help, [], async () => [{ labels: {}, value: value(await stats()) }])
  gauges(registry, 'hubline_clients', 'Connected clients', ['protocol'], async () =>
    Object.entries((await stats()).clientsByProtocol).map(([protocol, value]) => ({ labels: { protocol }, value })),
  )
  gauges(registry, 'hubline_circuits', 'Clients that are URLs, by their circuit breaker', ['state'], async () =>
    Object.entries((await stats()).circuits).map(([state, value]) => ({ labels: { state }, value })),
  )
  gauge('hubline_users', 'Users with at least one client', ({ users }) => users)
  gauge('hubline_patterns', 'Patterns that clients are subscribed to', ({ patterns }) => patterns)
  gauge('hubline_topics', 'Topics in use', ({ topics }) => topics)
  gauge('hubline_positions', 'Positions of topics that are not in use any more', ({ positions }) => positions)
  gauge('hubline_subscriptions', 'Clients on topics', ({ subscriptions }) => subscriptions)
  gauge('hubline_subscriptions_behind', 'Subscriptions that are behind', ({ behind }) => behind)
  gauge('hubline_pending_messages', 'Messages that wait, once per subscription', ({ pending }) => pending)
  gauge(
    'hubline_unconfirmed_messages',
    'Those of them that were sent and are not confirmed',
    ({ unconfirmed }) => unconfirmed,
  )
  gauge('hubline_queued_bytes', 'Bytes in this process that wait for single clients', ({ queuedBytes }) => queuedBytes)
  gauge(
    'hubline_retained_bytes',
    'Memory of the messages that topics keep, and of remembered positions; each message counts once',
    ({ retainedBytes }) => retainedBytes,
  )
  gauge(
    'hubline_kept_bytes',
    'Bytes that the process holds for topics and clients; they count against limits.maxRetainedBytes',
    ({ keptBytes }) => keptBytes,
  )
  gauge('hubline_tcp_probe', '1 where unacknowledged bytes can be measured', () => (tcpProbe() ? 1 : 0))
}

function messageMetrics(registry: Registry, stats: Stats): void {
  const counter = (name: string, help: string, value: (stats: ConnectionStats) => number): void =>
    counters(registry, name, help, [], async () => [{ labels: {}, value: value(await stats()) }])
  counter('hubline_published_total', 'Messages routed', ({ published }) => published)
  counter('hubline_published_bytes_total', 'Payload bytes routed', ({ publishedBytes }) => publishedBytes)
  counter('hubline_delivered_total', 'Messages handed over, once per subscription', ({ delivered }) => delivered)
  counters(registry, 'hubline_dropped_total', 'Messages lost, once per subscription', ['policy', 'reason'], async () =>
    (await stats()).drops.map(({ policy, reason, count }) => ({ labels: { policy, reason }, value: count })),
  )
  counter('hubline_connects_total', 'Clients that ever connected', ({ clientsTotal }) => clientsTotal)
  counters(registry, 'hubline_disconnects_total', 'Clients that ended', ['reason'], async () =>
    Object.entries((await stats()).closes).map(([reason, value]) => ({ labels: { reason }, value })),
  )
}

const STATISTICS = ['p50', 'p95', 'p99', 'max'] as const

function operationMetrics(registry: Registry, { operations }: Hub): void {
  const each = (read: (metrics: OperationMetrics) => Sample[]): Sample[] =>
    Object.entries(operations).flatMap(([operation, { metrics }]) =>
      read(metrics).map(({ labels, value }) => ({ labels: { operation, ...labels }, value })),
    )
  const one = (value: number): Sample[] => [{ labels: {}, value }]
  counters(registry, 'hubline_operations_total', 'Operations that ended, well or not', ['operation'], () =>
    each(({ count }) => one(count)),
  )
  counters(registry, 'hubline_operation_errors_total', 'Operations that failed', ['operation', 'code'], () =>
    each(({ errors }) => Object.entries(errors).map(([code, value]) => ({ labels: { code }, value }))),
  )
  gauges(registry, 'hubline_operations_active', 'Operations under way', ['operation'], () =>
    each(({ active }) => one(active)),
  )
  counters(registry, 'hubline_operation_retries_total', 'Requests that were made again', ['operation'], () =>
    each(({ retries }) => one(retries)),
  )
  const help = 'How long operations took since the hub began'
  gauges(registry, 'hubline_operation_duration_seconds', help, ['operation', 'statistic'], () =>
    each(metrics =>
      STATISTICS.flatMap(statistic => {
        const ms = metrics[statistic]
        return ms === undefined ? [] : [{ labels: { statistic }, value: ms / 1000 }]
      }),
    ),
  )
}

function gauges(registry: Registry, name: string, help: string, labelNames: string[], read: Read): void {
  new Gauge({
    name,
    help,
    labelNames,
    registers: [registry],
    async collect() {
      for (const { labels, value } of await read()) this.set(labels, value)
    },
  })
}

function counters(registry: Registry, name: string, help: string, labelNames: string[], read: Read): void {
  new Counter({
    name,
    help,
    labelNames,
    registers: [registry],
    async collect() {
      const samples = await read()
      this.reset()
      for (const { labels, value } of samples) this.inc(labels, value)
    },
  })
}
