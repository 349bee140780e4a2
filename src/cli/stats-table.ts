import Table from 'cli-table3'
import type { ClientInfo, ConnectionStats } from '../core/stats.ts'

/** More clients than this are not shown: the slowest come first. */
const MAX_ROWS = 30

/** Columns without lines, for files and other programs. */
const PLAIN = {
  chars: Object.fromEntries(
    ['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right']
      .concat(['left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid'])
      .map(part => [part, ''])
      .concat([['middle', '  ']]),
  ),
  style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
}
const BOXED = { chars: {}, style: { head: [], border: [] } }

/** The totals, with rates since the look before, and a row for each client. */
export function statsText(
  now: ConnectionStats,
  clients: readonly ClientInfo[],
  options: { before?: ConnectionStats | undefined; boxed?: boolean } = {},
): string {
  const { before, boxed = false } = options
  const seconds = before ? (now.uptimeMs - before.uptimeMs) / 1000 : 0
  const rate = (count: number, earlier: number | undefined): string =>
    earlier === undefined || seconds <= 0 ? `${count}` : `${count} (${Math.round((count - earlier) / seconds)}/s)`
  const totals = [
    `clients ${now.clients}`,
    `topics ${now.topics}`,
    `published ${rate(now.published, before?.published)}`,
    `delivered ${rate(now.delivered, before?.delivered)}`,
    `dropped ${rate(now.dropped, before?.dropped)}`,
    `pending ${now.pending}`,
  ]
  const drops = now.drops.map(({ policy, reason, count }) => `${policy} ${reason} ${count}`)
  const table = new Table({
    head: [
      'client',
      'protocol',
      'topics',
      'delivered',
      'dropped',
      'pending',
      'queued B',
      'waited ms',
      'unacked B',
      'lost',
    ],
    ...(boxed ? BOXED : PLAIN),
  })
  const slowest = [...clients].sort((a, b) => b.waitedMs - a.waitedMs)
  for (const client of slowest.slice(0, MAX_ROWS)) table.push(rowOf(client))
  const more = clients.length > MAX_ROWS ? `and ${clients.length - MAX_ROWS} more` : ''
  return [totals.join('   '), drops.length > 0 ? `lost: ${drops.join(', ')}` : 'lost: nothing', table.toString(), more]
    .join('\n')
    .trim()
}

function rowOf({
  id,
  protocol,
  subscriptions,
  queuedBytes,
  waitedMs,
  unacknowledged,
  drops,
}: ClientInfo): (string | number)[] {
  const sum = (field: 'delivered' | 'dropped' | 'pending') =>
    subscriptions.reduce((total, each) => total + each[field], 0)
  return [
    id,
    protocol,
    subscriptions.length,
    sum('delivered'),
    sum('dropped'),
    sum('pending'),
    queuedBytes,
    Math.round(waitedMs),
    unacknowledged ?? '-',
    Object.entries(drops)
      .map(([reason, count]) => `${reason} ${count}`)
      .join(' '),
  ]
}
