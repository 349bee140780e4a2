import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'

/** Time of one core since boot, in ms. */
export interface CoreTimes {
  readonly busy: number
  readonly total: number
}

export interface NetworkBytes {
  readonly received: number
  readonly sent: number
  /** What the machine sent to itself. */
  readonly loopback: number
}

export function readCores(): CoreTimes[] {
  return cpus().map(({ times }) => {
    const busy = times.user + times.nice + times.sys + times.irq
    return { busy, total: busy + times.idle }
  })
}

/** Shares of 0 to 1 between two readings. Cores that came or went in between count as idle. */
export function cpuShares(before: readonly CoreTimes[], after: readonly CoreTimes[]) {
  const cores = after.map((core, i) => share(before[i] ?? core, core))
  return { total: share(sum(before), sum(after)), cores }
}

function share(before: CoreTimes, after: CoreTimes): number {
  const total = after.total - before.total
  return total <= 0 ? 0 : Math.min(1, Math.max(0, (after.busy - before.busy) / total))
}

function sum(cores: readonly CoreTimes[]): CoreTimes {
  let busy = 0
  let total = 0
  for (const core of cores) {
    busy += core.busy
    total += core.total
  }
  return { busy, total }
}

/**
 * Null where the system has no /proc/net/dev. Synchronous because the kernel answers from memory, in some 30
 * microseconds.
 */
export function readNetwork(): NetworkBytes | null {
  try {
    return parseNetDev(readFileSync('/proc/net/dev', 'utf8'))
  } catch {
    return null
  }
}

/** Sums the interfaces of Linux's /proc/net/dev: `name: bytes packets ...(8 received) bytes packets ...(8 sent)`. */
export function parseNetDev(text: string): NetworkBytes {
  let received = 0
  let sent = 0
  let loopback = 0
  for (const line of text.split('\n')) {
    const match = /^\s*([^:\s]+):\s*(.+)$/.exec(line)
    if (match === null) continue
    const fields = match[2]!.trim().split(/\s+/).map(Number)
    if (match[1] === 'lo') {
      loopback += fields[8] ?? 0
    } else {
      received += fields[0] ?? 0
      sent += fields[8] ?? 0
    }
  }
  return { received, sent, loopback }
}
