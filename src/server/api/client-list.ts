import type { ClientFilter } from '../../core/contract.ts'
import { HubError } from '../../core/errors.ts'
import type { ConnectionManager } from '../../core/manager.ts'
import type { ClientInfo } from '../../core/stats.ts'

/** id: in pages. The others: those with most of it, for who looks for trouble. */
export const SORTS = ['id', 'queue', 'wait', 'drops'] as const
export type Sort = (typeof SORTS)[number]

export interface ListOptions {
  readonly topic?: string | undefined
  readonly user?: string | undefined
  readonly protocol?: string | undefined
  readonly behind?: boolean | undefined
  readonly limit: number
  readonly after?: string | undefined
  readonly sort: Sort
}

interface ClientPage {
  readonly clients: readonly ClientInfo[]
  /** Of all pages. */
  readonly total: number
  readonly next?: string
}

const MEASURES: Readonly<Record<Exclude<Sort, 'id'>, (client: ClientInfo) => number>> = {
  queue: ({ queuedBytes }) => queuedBytes,
  wait: ({ waitedMs }) => waitedMs,
  drops: ({ drops }) => Object.values(drops).reduce((sum, count) => sum + count, 0),
}

/** Throws TOPIC_INVALID, REQUEST_INVALID. */
export function listClients(hub: ConnectionManager, options: ListOptions): ClientPage {
  const { behind, limit, after = '', sort, ...named } = options
  if (sort !== 'id' && after !== '') {
    throw new HubError('REQUEST_INVALID', `after: there are no pages by ${sort}; leave out sort`)
  }
  const ids = hub
    .selectClients(filterOf(named))
    .filter(id => behind === undefined || isBehind(hub.getClient(id)) === behind)
  if (sort !== 'id') {
    const measure = MEASURES[sort]
    const found = ids.map(id => ({ id, amount: measure(hub.getClient(id)) }))
    const most = first(found, limit, (a, b) => b.amount - a.amount || compare(a.id, b.id))
    return { clients: most.map(({ id }) => hub.getClient(id)), total: ids.length }
  }
  const rest = first(after === '' ? ids : ids.filter(id => id > after), limit + 1, compare)
  const page = rest.slice(0, limit)
  return {
    clients: page.map(id => hub.getClient(id)),
    total: ids.length,
    ...(rest.length > limit && { next: page.at(-1)! }),
  }
}

/** A query names what it wants; one that names nothing lists all. */
function filterOf(named: { readonly [Name in 'topic' | 'user' | 'protocol']?: string | undefined }): ClientFilter {
  const said = Object.entries(named).filter(([, value]) => value !== undefined)
  return said.length === 0 ? { all: true } : Object.fromEntries(said)
}

function isBehind({ subscriptions }: ClientInfo): boolean {
  return subscriptions.some(({ state }) => state === 'behind')
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** The first `count` in this order: cheaper than to sort them all, of which there may be 50,000 while one page is asked for. */
export function first<T>(all: readonly T[], count: number, order: (a: T, b: T) => number): T[] {
  const kept: T[] = []
  for (const each of all) {
    if (kept.length === count && order(each, kept[count - 1]!) >= 0) continue
    let low = 0
    for (let high = kept.length; low < high; ) {
      const middle = (low + high) >> 1
      if (order(each, kept[middle]!) < 0) high = middle
      else low = middle + 1
    }
    kept.splice(low, 0, each)
    if (kept.length > count) kept.pop()
  }
  return kept
}
