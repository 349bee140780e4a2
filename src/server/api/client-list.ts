import type { ClientFilter } from '../../core/contract.ts'
import { HubError } from '../../core/errors.ts'
import type { ConnectionManager } from '../../core/manager.ts'
import type { ClientInfo } from '../../core/stats.ts'
import { Turn } from '../turn.ts'
import { compare, First } from './first.ts'

/** Clients that one turn of the event loop looks at: only their ids, or with their subscriptions. */
const IDS_PER_TURN = 1024
const CLIENTS_PER_TURN = 256

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

interface Found {
  readonly id: string
  readonly amount: number
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

/**
 * A page of clients, made in several turns of the event loop. A client that leaves meanwhile may be missing. Rejects
 * with TOPIC_INVALID, REQUEST_INVALID.
 */
export async function listClients(hub: ConnectionManager, options: ListOptions): Promise<ClientPage> {
  const { behind, limit, after = '', sort, ...named } = options
  if (sort !== 'id' && after !== '') {
    throw new HubError('REQUEST_INVALID', `after: there are no pages by ${sort}; leave out sort`)
  }
  const measure = sort === 'id' ? undefined : MEASURES[sort]
  const found = new First<Found>(limit + 1, (a, b) => b.amount - a.amount || compare(a.id, b.id))
  let total = 0
  const looks = new Turn(behind === undefined && measure === undefined ? IDS_PER_TURN : CLIENTS_PER_TURN)
  for (const id of hub.selectClients(filterOf(named))) {
    const rest = looks.after(0)
    if (rest !== undefined) await rest
    if (hub.handleOf(id) === undefined) continue
    if (behind !== undefined && isBehind(hub.getClient(id)) !== behind) continue
    total++
    if (id > after) found.add({ id, amount: measure?.(hub.getClient(id)) ?? 0 })
  }
  const page = found.all.slice(0, limit)
  const clients = await infosOf(hub, page)
  const next = sort === 'id' && found.all.length > limit ? page.at(-1)!.id : undefined
  return { clients, total, ...(next !== undefined && { next }) }
}

async function infosOf(hub: ConnectionManager, page: readonly Found[]): Promise<ClientInfo[]> {
  const clients: ClientInfo[] = []
  const turn = new Turn()
  for (const { id } of page) {
    if (hub.handleOf(id) !== undefined) clients.push(hub.getClient(id))
    await turn.after(0)
  }
  return clients
}

/** A query names what it wants; one that names nothing lists all. */
function filterOf(named: { readonly [Name in 'topic' | 'user' | 'protocol']?: string | undefined }): ClientFilter {
  const said = Object.entries(named).filter(([, value]) => value !== undefined)
  return said.length === 0 ? { all: true } : Object.fromEntries(said)
}

function isBehind({ subscriptions }: ClientInfo): boolean {
  return subscriptions.some(({ state }) => state === 'behind')
}
