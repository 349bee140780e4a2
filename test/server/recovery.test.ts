import { pino } from 'pino'
import { beforeEach, describe, expect, it } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { createHub } from '../../src/hub.ts'
import { Recovery, type Restore } from '../../src/server/recovery.ts'
import { WatchedStore } from '../../src/server/watched-store.ts'
import type { Restorable } from '../../src/stores/connection-book.ts'
import { ConnectionBook } from '../../src/stores/connection-book.ts'
import type { ConnectionRecord } from '../../src/stores/connection-store.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'

const NODE = 'one'
let scheduler: ManualScheduler
let lines: Record<string, unknown>[]
let down: boolean
let store: WatchedStore
let book: ConnectionBook
const log = pino({ base: null, timestamp: false }, { write: line => void lines.push(JSON.parse(line)) })
beforeEach(() => {
  scheduler = new ManualScheduler()
  lines = []
  down = false
  const memory = memoryStore()
  const failing = new Proxy(memory, {
    get: (target, name: keyof typeof memory) =>
      typeof target[name] === 'function'
        ? (...args: never[]) =>
            down ? Promise.reject(new Error('ECONNREFUSED')) : (target[name] as (...args: never[]) => unknown)(...args)
        : target[name],
  })
  store = new WatchedStore(failing, log)
  const options = { node: NODE, sockets: false, now: () => 1000, onFault: () => {} }
  book = new ConnectionBook(createHub({ scheduler }), store, (ms, run) => scheduler.every(ms, run), options)
})

const record = (id: string, restore: unknown, more: Partial<ConnectionRecord> = {}): ConnectionRecord => ({
  ...{ id, node: NODE, protocol: 'callback', connectedAt: 5, restore },
  ...more,
})
const callback = { transport: 'callback', url: 'http://example.org/hidden', secret: 'whsec_hidden' }

async function turns(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise(setImmediate)
}

describe('what a store kept', () => {
  it('is registered again: topics with their policies, the user, and never in place of somebody who has the id', async () => {
    const topics = [{ name: 'a', policy: { name: 'latest' } }, { name: 'b' }]
    await store.put(record('hook', { options: callback, topics }, { user: 'ann' }))
    const opened: [Restorable['options'], Parameters<Restore>[1]][] = []
    const recovery = new Recovery(book, (...args) => void opened.push(args), scheduler, log)
    expect(recovery.pending).toBe(true)
    await recovery.run()
    expect(recovery.pending).toBe(false)
    const [[options, opening]] = opened as [(typeof opened)[0]]
    expect([opened.length, options, opening.id, opening.session, opening.ifExists]).toEqual([
      1,
      callback,
      'hook',
      { user: 'ann' },
      'refuse',
    ])
    expect(opening.topics?.map(({ name, policy }) => [name, policy?.describe()])).toEqual([
      ['a', { name: 'latest' }],
      ['b', undefined],
    ])
    expect(lines).toEqual([{ level: 30, restored: 1, skipped: 0, msg: 'clients restored' }])
  })

  it('is passed over where it cannot be had again, with its id in the log and nothing of its URL', async () => {
    await store.put(record('bad-policy', { options: callback, topics: [{ name: 'a', policy: { name: 'gone' } }] }))
    await store.put(record('bad-topics', { options: callback, topics: [null] }))
    await store.put(record('refused', { options: callback, topics: [] }))
    await store.put(record('faulty', { options: callback, topics: [] }))
    await store.put(record('good', { options: callback, topics: [] }))
    const restore: Restore = (_options, { id }) => {
      if (id === 'refused') throw new HubError('CLIENT_EXISTS', 'client: refused is connected already')
      if (id === 'faulty') throw new TypeError(`cannot read ${callback.url}`)
    }
    await new Recovery(book, restore, scheduler, log).run()
    const skipped = lines.filter(({ msg }) => msg === 'client not restored')
    expect(Object.fromEntries(skipped.map(({ client, why }) => [client, why]))).toEqual({
      'bad-policy': expect.stringContaining('unknown name "gone"'),
      'bad-topics': 'a fault',
      refused: 'client: refused is connected already',
      faulty: 'a fault',
    })
    expect(lines.at(-1)).toMatchObject({ restored: 1, skipped: 4 })
    expect(JSON.stringify(lines)).not.toContain('hidden')
  })

  it('is read again every five seconds while the store is out of reach, and told once', async () => {
    await store.put(record('hook', { options: callback, topics: [] }))
    down = true
    const opened: unknown[] = []
    const recovery = new Recovery(book, (_options, { id }) => void opened.push(id), scheduler, log)
    await recovery.run()
    expect([recovery.pending, store.available]).toEqual([true, false])
    for (let i = 0; i < 3; i++) {
      scheduler.advance(4999)
      await turns()
      expect(opened).toEqual([])
      scheduler.advance(1)
      await turns()
    }
    expect(lines).toEqual([
      { level: 50, store: 'memory', why: 'ECONNREFUSED', msg: 'connection store is out of reach' },
    ])
    down = false
    scheduler.advance(5000)
    await turns()
    expect([opened, recovery.pending, store.available]).toEqual([['hook'], false, true])
    expect(lines.slice(1).map(({ msg }) => msg)).toEqual(['connection store is back', 'clients restored'])
    scheduler.advance(60_000)
    await turns()
    expect(opened).toEqual(['hook'])
  })

  it('is left alone once the server has ended', async () => {
    down = true
    const opened: unknown[] = []
    const recovery = new Recovery(book, () => void opened.push(1), scheduler, log)
    await recovery.run()
    const waiting = scheduler.timers
    recovery[Symbol.dispose]()
    expect(scheduler.timers).toBe(waiting - 1)
    const refused = new Recovery(book, () => void opened.push(3), scheduler, log)
    const asking = refused.run()
    refused[Symbol.dispose]()
    await asking
    expect(scheduler.timers).toBe(waiting - 1)
    down = false
    scheduler.advance(60_000)
    await turns()
    // The answer to a question that was asked before comes after the end.
    await store.put(record('hook', { options: callback, topics: [] }))
    const late = new Recovery(book, () => void opened.push(2), scheduler, log)
    const asked = late.run()
    late[Symbol.dispose]()
    await asked
    expect(opened).toEqual([])
  })
})
