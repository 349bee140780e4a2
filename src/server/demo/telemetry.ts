import { freemem, totalmem } from 'node:os'
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'
import type { Scheduler } from '../../core/scheduler.ts'
import type { Hub } from '../../hub.ts'
import { type CoreTimes, cpuShares, type NetworkBytes, readCores, readNetwork } from './machine.ts'
import { type Publish, pace } from './pace.ts'

export const TELEMETRY_PERIOD_MS = 100
/** The kernel counts CPU time in steps of 10 ms, so shares are taken over a second's worth of readings. */
const WINDOW = 10
/** How often the loop's timer should fire, in ms. The histogram holds the time between two firings. */
const LOOP_RESOLUTION_MS = 10

export interface HubCounters {
  readonly clients: number
  readonly published: number
  readonly delivered: number
}

/** One look at the machine. Counters are totals; `at` is in ms on a monotonic clock. */
export interface Reading {
  readonly at: number
  readonly cores: readonly CoreTimes[]
  readonly memory: { readonly total: number; readonly free: number; readonly process: number }
  readonly network: NetworkBytes | null
  /** In ms, over the last second. */
  readonly loop: { readonly p50: number; readonly p99: number }
  readonly hub: HubCounters
}

/** What is published. Shares are 0 to 1, rates are per second, memory is in bytes. */
export interface Telemetry {
  /** Wall time, ISO 8601. */
  readonly time: string
  readonly cpu: { readonly total: number; readonly cores: readonly number[] }
  readonly memory: { readonly total: number; readonly used: number; readonly process: number }
  readonly network: NetworkBytes | null
  readonly loop: { readonly p50: number; readonly p99: number }
  readonly hub: { readonly clients: number; readonly published: number; readonly delivered: number }
}

/** What went on between two readings. */
export function telemetry(before: Reading, after: Reading, time: Date): Telemetry {
  const seconds = Math.max(0.001, (after.at - before.at) / 1000)
  const rate = (from: number, to: number): number => Math.round(Math.max(0, to - from) / seconds)
  const cpu = cpuShares(before.cores, after.cores)
  const { memory } = after
  return {
    time: time.toISOString(),
    cpu: { total: round(cpu.total), cores: cpu.cores.map(round) },
    memory: { total: memory.total, used: memory.total - memory.free, process: memory.process },
    network: before.network &&
      after.network && {
        received: rate(before.network.received, after.network.received),
        sent: rate(before.network.sent, after.network.sent),
        loopback: rate(before.network.loopback, after.network.loopback),
      },
    loop: { p50: round(after.loop.p50), p99: round(after.loop.p99) },
    hub: {
      clients: after.hub.clients,
      published: rate(before.hub.published, after.hub.published),
      delivered: rate(before.hub.delivered, after.hub.delivered),
    },
  }
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000
}

export function startTelemetry(topic: string, hub: Hub, publish: Publish, scheduler: Scheduler): Disposable {
  const delays = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS })
  delays.enable()
  const readings: Reading[] = []
  let loop = { p50: 0, p99: 0 }
  let counters = countersOf(hub)
  const pacing = pace(scheduler, { periodMs: TELEMETRY_PERIOD_MS }, n => {
    // Once a second: percentiles need samples, and the hub's counters cost a walk over all clients.
    if (n % WINDOW === 0) {
      loop = takeDelays(delays)
      counters = countersOf(hub)
    }
    const memory = { total: totalmem(), free: freemem(), process: process.memoryUsage.rss() }
    const reading = { at: scheduler.now(), cores: readCores(), memory, network: readNetwork(), loop, hub: counters }
    readings.push(reading)
    if (readings.length > WINDOW + 1) readings.shift()
    publish(topic, Buffer.from(`${JSON.stringify(telemetry(readings[0]!, reading, new Date()))}\n`), 'application/json')
  })
  return {
    [Symbol.dispose]() {
      pacing[Symbol.dispose]()
      delays.disable()
    },
  }
}

function countersOf(hub: Hub): HubCounters {
  const { clients, published, delivered } = hub.getConnectionStats()
  return { clients, published, delivered }
}

/** How much later than due the loop's timer fired, since the last call. */
function takeDelays(delays: IntervalHistogram): { p50: number; p99: number } {
  const late = (percentile: number): number =>
    delays.count === 0 ? 0 : Math.max(0, delays.percentile(percentile) / 1e6 - LOOP_RESOLUTION_MS)
  const taken = { p50: late(50), p99: late(99) }
  delays.reset()
  return taken
}
