import { Table } from '../bundled/cli-table3.ts'
import type { ClientInfo, ConnectionStats } from '../core/stats.ts'
import type { HubMetrics } from '../index.ts'

/** As the API sorts them. */
export const SORTS = ['wait', 'queue', 'drops', 'id'] as const
export type Sort = (typeof SORTS)[number]

const SORTED_BY: Readonly<Record<Sort, string>> = { wait: 'waited ms', queue: 'queued B', drops: 'lost', id: 'client' }

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

/** What the hub says of itself at one moment. */
export interface Look {
  readonly stats: ConnectionStats
  readonly metrics: HubMetrics
  /** The first of them, in order. */
  readonly clients: readonly ClientInfo[]
  /** All that there are. */
  readonly total: number
}

/** The totals, with rates since the look before, and a row for each client. */
export function topText(now: Look, options: { before?: Look | undefined; sort?: Sort; boxed?: boolean } = {}): string {
  const { before, sort = 'wait', boxed = false } = options
  const { stats, clients, total } = now
  const marked = (name: string) => (name === SORTED_BY[sort] ? `${name} *` : name)
  const drops = stats.drops.map(({ policy, reason, count }) => `${policy} ${reason} ${count}`)
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
    ].map(marked),
    ...(boxed ? BOXED : PLAIN),
  })
  for (const client of clients) table.push(rowOf(client))
  const more = total > clients.length ? `and ${total - clients.length} more` : ''
  const lost = `lost: ${drops.join(', ') || 'nothing'}`
  return [...totals(now, before), lost, table.toString(), more].join('\n').trim()
}

/** One line of what is published, one of what goes to single clients. */
function totals({ stats, metrics }: Look, before: Look | undefined): string[] {
  const seconds = before ? (stats.uptimeMs - before.stats.uptimeMs) / 1000 : 0
  const rate = (count: (look: Pick<Look, 'stats' | 'metrics'>) => number): string => {
    const total = count({ stats, metrics })
    return before === undefined || seconds <= 0
      ? `${total}`
      : `${total} (${Math.round((total - count(before)) / seconds)}/s)`
  }
  const { send, callback } = metrics.operations
  const failed = Object.values(send.errors).reduce((sum, count) => sum + count, 0)
  const circuits = Object.entries(metrics.circuits).map(([circuit, count]) => `${count} ${circuit}`)
  return [
    [
      `clients ${stats.clients}`,
      `topics ${stats.topics}`,
      `published ${rate(({ stats }) => stats.published)}`,
      `delivered ${rate(({ stats }) => stats.delivered)}`,
      `dropped ${rate(({ stats }) => stats.dropped)}`,
      `pending ${stats.pending}`,
      `unconfirmed ${stats.unconfirmed}`,
    ].join('   '),
    [
      `sends ${rate(({ metrics }) => metrics.operations.send.count)}`,
      `failed ${failed}`,
      `callbacks ${rate(({ metrics }) => metrics.operations.callback.count)}`,
      `retries ${callback.retries}`,
      `circuits ${circuits.join(', ')}`,
    ].join('   '),
  ]
}

function rowOf({
  id,
  protocol,
  subscriptions,
  queuedBytes,
  waitedMs,
  unacknowledged,
  circuit,
  drops,
}: ClientInfo): (string | number)[] {
  const sum = (field: 'delivered' | 'dropped' | 'pending') =>
    subscriptions.reduce((total, each) => total + each[field], 0)
  return [
    id,
    circuit === undefined ? protocol : `${protocol} ${circuit}`,
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
