import { describe, expect, it } from 'vitest'
import { type Look, topText } from '../../src/cli/top-table.ts'
import type { ClientInfo, ConnectionStats } from '../../src/core/stats.ts'

const look = (over: Partial<ConnectionStats> = {}, clients: readonly ClientInfo[] = [], sent = 0): Look => ({
  stats: {
    clients: 1,
    topics: 2,
    published: 100,
    delivered: 50,
    dropped: 5,
    pending: 1,
    unconfirmed: 1,
    drops: [],
    uptimeMs: 1000,
    ...over,
  } as unknown as ConnectionStats,
  metrics: {
    operations: {
      send: { count: sent, errors: { SEND_TIMEOUT: 2, CIRCUIT_OPEN: 1 } },
      callback: { count: 2 * sent, retries: 7 },
    },
    circuits: { closed: 3, open: 1, 'half-open': 0 },
  } as unknown as Look['metrics'],
  clients,
  total: clients.length,
})
const client = (id: string, waitedMs: number): ClientInfo =>
  ({
    id,
    protocol: 'sse',
    queuedBytes: 77,
    waitedMs,
    unacknowledged: id === 'a' ? 4096 : undefined,
    drops: id === 'a' ? { behind: 1, rate: 1 } : {},
    subscriptions: [
      { delivered: 3, dropped: 1, pending: 0 },
      { delivered: 4, dropped: 1, pending: 2 },
    ],
  }) as unknown as ClientInfo
const words = (text: string): string[] => text.trim().split(/\s+/)

describe('the table of top', () => {
  it('adds up what a client has of all its topics', () => {
    const row = topText(look({}, [client('a', 12.4)]))
      .split('\n')
      .at(-1)!
    expect(words(row)).toEqual(['a', 'sse', '2', '7', '2', '2', '77', '12', '4096', 'behind', '1', 'rate', '1'])
  })

  it('is plain rows for files and programs, and has lines on a terminal', () => {
    expect(topText(look({}, [client('a', 0)]))).not.toMatch(/[│┌─]/)
    expect(topText(look({}, [client('a', 0)]), { boxed: true })).toMatch(/│ a +│ sse/)
  })

  it('shows rates a second from the second look on', () => {
    expect(topText(look())).toContain('published 100   delivered 50   dropped 5   pending 1')
    const text = topText(look({ uptimeMs: 3000, published: 300, delivered: 60 }, [], 10), { before: look() })
    expect(text).toContain('published 300 (100/s)   delivered 60 (5/s)   dropped 5 (0/s)')
    expect(text).toContain('sends 10 (5/s)   failed 3   callbacks 20 (10/s)')
  })

  it('says how many are not shown, and what they are sorted by', () => {
    const rows = topText({ ...look({}, [client('b', 3), client('a', 1)]), total: 7 }, { sort: 'queue' }).split('\n')
    expect(rows[3]).toMatch(/queued B \*/)
    expect(words(rows[4]!)[0]).toBe('b')
    // Nobody can tell what it has not confirmed.
    expect(words(rows[4]!).at(-1)).toBe('-')
    expect(rows.at(-1)).toBe('and 5 more')
  })

  it('says what was lost, under which policy and why', () => {
    const drops = [{ policy: 'latest', reason: 'conflated' as const, count: 9 }]
    expect(topText(look({ drops }))).toContain('lost: latest conflated 9')
    expect(topText(look())).toContain('lost: nothing')
  })

  it('says how sends go, and which receivers have failed too often', () => {
    const receiver = { ...client('shop', 0), protocol: 'callback', circuit: 'half-open' as const }
    const text = topText(look({}, [receiver], 10))
    expect(text).toContain('pending 1   unconfirmed 1\nsends 10   failed 3   callbacks 20   retries 7   ')
    expect(text).toContain('circuits 3 closed, 1 open, 0 half-open')
    expect(text).toMatch(/^shop +callback half-open +2 /m)
  })
})
