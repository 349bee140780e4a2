import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { ConnectionManager } from '../core/manager.ts'
import type { ConnectionStats } from '../core/stats.ts'
import { tcpProbe } from '../transports/tcp-probe.ts'

/**
 * The hub's plain counters in Prometheus's form, read when scraped and not before. Labels are bounded: protocols, policies and
 * reasons, never topics or clients.
 */
export function createMetrics(hub: ConnectionManager): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const registers = [registry]
  const gauge = (name: string, help: string, read: (stats: ConnectionStats) => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read(hub.getConnectionStats()))
      },
    })
  }
  gauge('hubline_topics', 'Topics in use', stats => stats.topics)
  gauge('hubline_subscriptions', 'Clients on topics', stats => stats.subscriptions)
  gauge('hubline_subscriptions_behind', 'Subscriptions that are behind', stats => stats.behind)
  gauge('hubline_pending_messages', 'Messages that wait, once per subscription', stats => stats.pending)
  gauge('hubline_queued_bytes', 'Bytes in this process that wait for single clients', stats => stats.queuedBytes)
  gauge('hubline_retained_bytes', 'Bytes in this process that topics keep for all', stats => stats.retainedBytes)

  gauge('hubline_kept_bytes', 'Bytes that count against limits.maxRetainedBytes', stats => stats.keptBytes)
  gauge('hubline_tcp_probe', '1 where unacknowledged bytes can be measured', () => (tcpProbe() ? 1 : 0))

  new Gauge({
    name: 'hubline_clients',
    help: 'Connected clients',
    labelNames: ['protocol'],
    registers,
    collect() {
      for (const [protocol, count] of Object.entries(hub.getConnectionStats().clientsByProtocol))
        this.set({ protocol }, count)
    },
  })

  const counter = (
    name: string,
    help: string,
    labelNames: string[],
    read: (stats: ConnectionStats) => Sample[],
  ): void => {
    new Counter({
      name,
      help,
      labelNames,
      registers,
      collect() {
        this.reset()
        for (const { labels, value } of read(hub.getConnectionStats())) this.inc(labels, value)
      },
    })
  }
  counter('hubline_published_total', 'Messages routed', [], stats => [{ labels: {}, value: stats.published }])
  counter('hubline_published_bytes_total', 'Payload bytes routed', [], stats => [
    { labels: {}, value: stats.publishedBytes },
  ])
  counter('hubline_delivered_total', 'Messages handed over, once per subscription', [], stats => [
    { labels: {}, value: stats.delivered },
  ])
  counter('hubline_dropped_total', 'Messages lost, once per subscription', ['policy', 'reason'], stats =>
    stats.drops.map(({ policy, reason, count }) => ({ labels: { policy, reason }, value: count })),
  )
  counter('hubline_connects_total', 'Clients that ever connected', [], stats => [
    { labels: {}, value: stats.clientsTotal },
  ])
  counter('hubline_disconnects_total', 'Clients that ended', ['reason'], stats =>
    Object.entries(stats.closes).map(([reason, value]) => ({ labels: { reason }, value })),
  )
  return registry
}

interface Sample {
  readonly labels: Record<string, string>
  readonly value: number
}
