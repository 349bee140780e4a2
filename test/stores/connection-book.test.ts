import { describe, expect, it } from 'vitest'
import type { Client } from '../../src/core/connection.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { bestEffort } from '../../src/policies/best-effort.ts'
import { parsePolicy } from '../../src/policies/catalog.ts'
import { reliable } from '../../src/policies/reliable.ts'
import { ConnectionBook, SOCKET_TTL_MS } from '../../src/stores/connection-book.ts'
import type { ConnectionRecord, ConnectionStore, ConnectionTouch } from '../../src/stores/connection-store.ts'
import { type MemoryStore, memoryStore } from '../../src/stores/memory.ts'
import { RecordWriter } from '../../src/stores/record-writer.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { CallbackClients } from '../../src/transports/callback.ts'
import { httpReceiver } from '../transports/receiver.ts'

const STARTED = 1_700_000_000_000
const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
const URL_ = 'https://example.org/hook?a=1'

/** On the test's clock: by the real one every record of a socket would be past its time. */
const storeThen = (): MemoryStore => memoryStore({ now: () => STARTED })

/** Lets every promise that is settled be heard. */
const turn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** One life of a hub that shares the store. */
function start(store: ConnectionStore, { node = 'n1', sockets = true, scheduler = new ManualScheduler() } = {}) {
  const hub = createHub({ scheduler })
  const faults: string[] = []
  const book = new ConnectionBook(hub, store, (ms, run) => scheduler.every(ms, run), {
    ...{ node, sockets },
    now: () => STARTED + scheduler.now(),
    onFault: (error, where) => faults.push(`${where}: ${(error as Error).message}`),
  })
  const callbacks = new CallbackClients(hub, { allow: ['127.0.0.1'] })
  const connect = (id: string): Client => {
    const connection = new FakeConnection()
    connection.client = hub.registerClient(id, connection, { session: { user: 'ada' } })
    return connection.client
  }
  /** As the server does at its start. */
  const recover = async (): Promise<string[]> => {
    const left = await book.recover()
    for (const { id, user, options, topics } of left) {
      const wishes = topics.map(({ name, policy }) => ({ name, policy: policy && parsePolicy(policy) }))
      callbacks.restore(options, { id, session: { ...(user && { user }) }, topics: wishes })
    }
    return left.map(({ id }) => id).sort()
  }
  const end = async (): Promise<void> => {
    await hub.close()
    await book.close()
    await callbacks.close()
  }
  return { hub, book, callbacks, scheduler, faults, connect, recover, end }
}

const topicsOf = (hub: Hub, id: string): unknown[] =>
  hub.getClient(id).subscriptions.map(({ topic, wish }) => [topic, wish?.name])

/** A store whose every call waits until the test lets it go, or has it fail. */
class SlowStore implements ConnectionStore {
  readonly name = 'slow'
  readonly inner = storeThen()
  readonly calls: string[] = []
  #waiting: { go: () => void; fail: (error: Error) => void }[] = []

  put = (record: ConnectionRecord): Promise<void> =>
    this.#call(`put ${describeRecord(record)}`, () => this.inner.put(record))
  delete = (id: string): Promise<boolean> => this.#call(`delete ${id}`, () => this.inner.delete(id))
  touch = (all: readonly ConnectionTouch[]): Promise<void> =>
    this.#call(`touch ${all.map(({ id }) => id)}`, () => this.inner.touch(all))
  get = (id: string): Promise<ConnectionRecord | undefined> => this.inner.get(id)
  listByUser = (user: string): Promise<ConnectionRecord[]> => this.inner.listByUser(user)
  listByNode = (node: string): Promise<ConnectionRecord[]> => this.inner.listByNode(node)
  close = (): Promise<void> => this.inner.close()

  get underWay(): number {
    return this.#waiting.length
  }

  async go(): Promise<void> {
    this.#waiting.shift()!.go()
    await turn()
  }

  async fail(): Promise<void> {
    this.#waiting.shift()!.fail(new Error('out of reach'))
    await turn()
  }

  #call<T>(what: string, run: () => Promise<T>): Promise<T> {
    this.calls.push(what)
    return new Promise<void>((go, fail) => this.#waiting.push({ go, fail })).then(run)
  }
}

function describeRecord({ id, restore }: ConnectionRecord): string {
  const { topics } = (restore ?? { topics: [] }) as { topics: { name: string }[] }
  return [id, ...topics.map(({ name }) => name)].join(' ')
}

describe('a new hub with the same store', () => {
  it('has the patterns of a client again, and not what they matched as if it had named that', async () => {
    const store = storeThen()
    const first = start(store)
    first.hub.routeData('news/a', new Uint8Array(1))
    first.callbacks.register({
      id: 'shop',
      url: URL_,
      topics: [{ name: 'news/*', policy: bestEffort() }, { name: 'sport' }],
    })
    first.hub.subscribePattern('shop', 'films/**')
    first.hub.subscribePattern('shop', 'gone/*')
    first.hub.unsubscribePattern('shop', 'gone/*')
    await first.end()

    const second = start(store)
    await second.recover()
    second.hub.routeData('news/b', new Uint8Array(1))
    const { subscriptions, patterns } = second.hub.getClient('shop')
    expect(subscriptions.map(({ topic, pattern }) => [topic, pattern])).toEqual([
      ['sport', undefined],
      ['news/b', 'news/*'],
    ])
    expect(patterns.map(({ pattern, wish }) => [pattern, wish?.name])).toEqual([
      ['news/*', 'best-effort'],
      ['films/**', undefined],
    ])
  })

  it('has the same clients that are URLs, with their users, secrets, topics and wishes', async () => {
    const store = storeThen()
    const first = start(store)
    const topics = [{ name: 'news', policy: reliable({ ackMs: 5000 }) }, { name: 'sport' }, { name: 'weather' }]
    first.callbacks.register({ id: 'shop', url: URL_, secret: SECRET, session: { user: 'ada' }, topics })
    first.hub.subscribe('shop', 'films', { policy: bestEffort() })
    first.hub.unsubscribe('shop', 'weather')
    first.callbacks.register({ id: 'bare', url: 'http://127.0.0.1:9/' })
    await first.end()

    const second = start(store)
    expect(await second.recover()).toEqual(['bare', 'shop'])
    const restored = topicsOf(second.hub, 'shop')
    expect(restored).toEqual([
      ['news', 'reliable'],
      ['sport', undefined],
      ['films', 'best-effort'],
    ])
    expect(second.hub.getClient('shop')).toMatchObject({
      protocol: 'callback',
      user: 'ada',
      address: 'https://example.org',
    })
    expect(second.hub.getSubscription('shop', 'news')?.policy).toMatchObject({ name: 'reliable', ackMs: 5000 })
    expect(topicsOf(second.hub, 'bare')).toEqual([])
    // As complete as before, for a third.
    await second.end()
    const third = start(store)
    await third.recover()
    expect(topicsOf(third.hub, 'shop')).toEqual(restored)
    expect((await store.get('shop'))?.restore).toMatchObject({
      options: { transport: 'callback', url: URL_, secret: SECRET },
    })
    await third.end()
  })

  it('has the wish of a subscription that changed while it was there', async () => {
    const store = storeThen()
    const first = start(store)
    first.callbacks.register({ id: 'shop', url: URL_, topics: [{ name: 'news', policy: bestEffort() }] })
    first.hub.subscribe('shop', 'news', { policy: reliable() })
    await first.end()
    const second = start(store)
    await second.recover()
    expect(topicsOf(second.hub, 'shop')).toEqual([['news', 'reliable']])
    await second.end()
  })

  it('has them although the store came back empty in between', async () => {
    const store = storeThen()
    const first = start(store)
    first.callbacks.register({ id: 'shop', url: URL_, topics: [{ name: 'news' }] })
    await turn()
    await store.delete('shop')
    for (let i = 0; i < 8; i++) {
      first.scheduler.advance(5000)
      await turn()
    }
    const second = start(store)
    expect([await second.recover(), topicsOf(second.hub, 'shop')]).toEqual([['shop'], [['news', undefined]]])
    await first.end()
    await second.end()
  })

  it('knows since when they are clients, and of another one under the same id that it is new', async () => {
    const store = storeThen()
    const first = start(store)
    first.callbacks.register({ id: 'shop', url: URL_ })
    await first.end()
    const scheduler = new ManualScheduler()
    scheduler.advance(60_000)
    const second = start(store, { scheduler })
    await second.recover()
    await turn()
    expect((await store.get('shop'))?.connectedAt).toBe(STARTED)
    second.callbacks.register({ id: 'shop', url: URL_ })
    await turn()
    expect((await store.get('shop'))?.connectedAt).toBe(STARTED + 60_000)
    await second.end()
  })

  it('has them after a shutdown, and after an end without one', async () => {
    for (const how of ['shutdown', 'close', 'crash'] as const) {
      const store = storeThen()
      const first = start(store)
      first.callbacks.register({ id: 'shop', url: URL_, topics: [{ name: 'news' }] })
      if (how === 'shutdown') await first.hub.shutdown()
      if (how === 'close') await first.hub.close()
      await turn()
      const second = start(store)
      expect([how, await second.recover()]).toEqual([how, ['shop']])
      expect(topicsOf(second.hub, 'shop')).toEqual([['news', undefined]])
    }
  })

  it('does not have one that the hub has ended, nor one that said 410', async () => {
    const receiver = await httpReceiver(response => response.writeHead(410).end())
    const store = storeThen()
    const first = start(store)
    first.callbacks.register({ id: 'denied', url: URL_, topics: [{ name: 'news' }] })
    first.callbacks.register({ id: 'gone', url: receiver.url.href, topics: [{ name: 'news' }] })
    first.callbacks.register({ id: 'stays', url: URL_ })
    await turn()
    expect(store.size).toBe(3)
    first.hub.unregisterClient('denied', 'denied')
    first.hub.routeData('news', Buffer.from('a'))
    first.scheduler.settle()
    await expect.poll(() => first.hub.getConnectionStats().clients).toBe(1)
    await first.end()
    const second = start(store)
    expect(await second.recover()).toEqual(['stays'])
    await receiver[Symbol.asyncDispose]()
  })

  it('has the later of two that had one id', async () => {
    const store = storeThen()
    const first = start(store)
    first.callbacks.register({ id: 'shop', url: 'https://example.org/old', topics: [{ name: 'old' }] })
    first.callbacks.register({ id: 'shop', url: 'https://example.org/new', topics: [{ name: 'new' }] })
    await first.end()
    const second = start(store)
    expect(await second.recover()).toEqual(['shop'])
    expect(topicsOf(second.hub, 'shop')).toEqual([['new', undefined]])
  })

  it.each([true, false])('has nothing of a URL whose id a socket has taken over (sockets kept: %s)', async sockets => {
    const store = storeThen()
    const first = start(store, { sockets })
    first.callbacks.register({ id: 'shop', url: URL_, session: { user: 'ada' }, topics: [{ name: 'news' }] })
    first.connect('shop')
    first.hub.subscribe('shop', 'news')
    await turn()
    const record = await store.get('shop')
    expect(record?.protocol).toBe(sockets ? 'fake' : undefined)
    expect(record?.restore).toBeUndefined()
    expect(await start(store).recover()).toEqual([])
  })

  it('leaves alone what is another node’s, and what it cannot make anything of', async () => {
    const store = storeThen()
    const other = start(store, { node: 'n2' })
    other.callbacks.register({ id: 'theirs', url: URL_ })
    const base = { node: 'n1', protocol: 'callback', connectedAt: 1 }
    for (const [id, restore] of Object.entries({
      null: null,
      text: 'x',
      empty: {},
      half: { options: { transport: 'callback' } },
    })) {
      await store.put({ ...base, id, restore })
    }
    await turn()
    expect(await start(store).recover()).toEqual([])
    expect(store.size).toBe(5)
  })

  it('is not given back what is connected already', async () => {
    const store = storeThen()
    const first = start(store)
    for (const id of ['a', 'b']) first.callbacks.register({ id, url: URL_ })
    await first.end()
    const second = start(store)
    second.callbacks.register({ id: 'a', url: 'https://example.org/newer' })
    expect(await second.recover()).toEqual(['b'])
    expect(second.hub.getConnectionStats().closes).toEqual({})
  })
})

describe('records of sockets', () => {
  it('say who is connected, for as long as their hub lives', async () => {
    const store = memoryStore({ now: () => STARTED + scheduler.now() })
    const { hub, scheduler, connect } = start(store)
    connect('socket')
    await turn()
    const record = { id: 'socket', node: 'n1', protocol: 'fake', user: 'ada', connectedAt: STARTED }
    expect(await store.listByUser('ada')).toEqual([
      { ...record, lastSendAt: undefined, expiresAt: STARTED + SOCKET_TTL_MS },
    ])
    for (let s = 0; s < 300; s++) {
      scheduler.advance(1000)
      await turn()
      expect(await store.get('socket')).toMatchObject(record)
    }
    hub.unregisterClient('socket')
    await turn()
    expect(store.size).toBe(0)
  })

  it('end with it: at once by a shutdown, in time by a crash, and at its next start', async () => {
    const scheduler = new ManualScheduler()
    const store = memoryStore({ now: () => STARTED + scheduler.now() })
    const first = start(store)
    first.connect('a')
    await turn()
    await first.end()
    expect(store.size).toBe(0)

    const crashed = start(store)
    for (const id of ['a', 'b']) crashed.connect(id)
    await turn()
    const next = start(store)
    next.connect('b')
    expect(await next.recover()).toEqual([])
    await turn()
    expect((await store.listByNode('n1')).map(({ id }) => id)).toEqual(['b'])

    start(store, { node: 'n2' }).connect('c')
    await turn()
    scheduler.elapse(SOCKET_TTL_MS)
    expect(await store.get('c')).toBeUndefined()
  })

  it('are not kept where nobody wants them', async () => {
    const store = storeThen()
    const { connect, hub, callbacks } = start(store, { sockets: false })
    connect('socket')
    hub.subscribe('socket', 'news')
    callbacks.register({ id: 'url', url: URL_ })
    await turn()
    expect((await store.listByNode('n1')).map(({ id }) => id)).toEqual(['url'])
  })

  it('say when the client last took a message, written for all of them at once', async () => {
    const store = new SlowStore()
    const { hub, scheduler, connect } = start(store)
    for (const id of ['a', 'b', 'c']) connect(id)
    await turn()
    while (store.underWay > 0) await store.go()
    scheduler.advance(1000)
    const sends = ['a', 'b'].map(id => hub.send(id, 'hello'))
    scheduler.settle()
    await Promise.all(sends)
    store.calls.length = 0
    scheduler.advance(4000)
    await turn()
    await store.go()
    expect((await store.get('a'))?.lastSendAt).toBe(STARTED + 1000)
    expect((await store.get('c'))?.lastSendAt).toBeUndefined()
    scheduler.advance(5000)
    expect(store.calls).toEqual(['touch a,b'])
  })
})

describe('a slow store', () => {
  it('gets what happens at once as one write, and of one client one write at a time, the last word last', async () => {
    const store = new SlowStore()
    const { hub, callbacks } = start(store)
    callbacks.register({ id: 'url', url: URL_, topics: [{ name: 'a' }, { name: 'b' }] })
    await turn()
    for (const topic of ['c', 'd', 'e']) hub.subscribe('url', topic)
    hub.unsubscribe('url', 'a')
    await turn()
    expect(store.calls).toEqual(['put url a b'])
    await store.go()
    expect(store.calls.slice(1)).toEqual(['put url b c d e'])
    await store.go()
    expect([store.calls.length, store.underWay]).toEqual([2, 0])
    expect(describeRecord((await store.get('url'))!)).toBe('url b c d e')
  })

  it('has no record of a client that ended while it was being written', async () => {
    const store = new SlowStore()
    const { hub, callbacks } = start(store)
    callbacks.register({ id: 'url', url: URL_ })
    await turn()
    hub.subscribe('url', 'a')
    hub.unregisterClient('url')
    await turn()
    expect(store.calls).toEqual(['put url'])
    await store.go()
    expect(store.calls.slice(1)).toEqual(['delete url'])
    await store.go()
    expect(await store.get('url')).toBeUndefined()
  })

  it('has the last of clients that took over from each other, however often', async () => {
    const store = new SlowStore()
    const { hub, callbacks } = start(store)
    for (let i = 0; i < 100; i++) {
      callbacks.register({ id: 'url', url: URL_, topics: [{ name: `t${i}` }] })
      if (i % 3 === 0) hub.unregisterClient('url')
      if (i % 10 === 0) await turn()
    }
    await turn()
    callbacks.register({ id: 'url', url: URL_, topics: [{ name: 'last' }] })
    while (store.underWay > 0) await store.go()
    expect(store.calls.length).toBeLessThanOrEqual(3)
    expect(describeRecord((await store.get('url'))!)).toBe('url last')
  })

  it('gets the last changes before a shutdown, which waits for it', async () => {
    const store = new SlowStore()
    const { hub, callbacks, book } = start(store)
    callbacks.register({ id: 'url', url: URL_ })
    await turn()
    hub.subscribe('url', 'a')
    await hub.shutdown()
    let closed = false
    const closing = book.close().then(() => {
      closed = true
    })
    await store.go()
    expect(closed).toBe(false)
    await store.go()
    await closing
    expect(describeRecord((await store.get('url'))!)).toBe('url a')
  })

  it('holds up no client: another’s record is written beside it', async () => {
    const store = new SlowStore()
    const { callbacks } = start(store)
    for (const id of ['a', 'b', 'c']) callbacks.register({ id, url: URL_ })
    await turn()
    expect(store.calls).toEqual(['put a', 'put b', 'put c'])
  })
})

describe('a writer of records', () => {
  const record = { id: 'a', node: 'n1', protocol: 'fake', connectedAt: STARTED }

  it('owes what is not written, or failed, and keeps nothing of what is done', async () => {
    const store = new SlowStore()
    const writer = new RecordWriter(store, () => {})
    writer.put(record)
    writer.delete('b')
    await turn()
    expect(writer.owed).toBe(2)
    await store.fail()
    await store.go()
    expect(writer.owed).toBe(1)
    void writer.retry()
    await turn()
    await store.go()
    expect([writer.owed, store.calls]).toEqual([0, ['put a', 'delete b', 'put a']])
  })

  it('does not write what has become of no account before it was begun', async () => {
    const store = new SlowStore()
    const writer = new RecordWriter(store, () => {})
    writer.put(record)
    await turn()
    writer.put({ ...record, protocol: 'other' })
    writer.delete('a')
    await store.go()
    expect(store.calls).toEqual(['put a', 'delete a'])
  })

  it('owes nothing of sockets that have come and gone while the store was away: their records end by themselves', async () => {
    const store = new SlowStore()
    const { hub, connect, callbacks, scheduler } = start(store)
    const writer = new RecordWriter(store, () => {})
    for (let i = 0; i < 10; i++) {
      writer.put({ ...record, id: `s${i}`, expiresAt: STARTED + SOCKET_TTL_MS })
      await turn()
      writer.delete(`s${i}`, true)
      await store.fail()
      await store.fail()
    }
    expect(writer.owed).toBe(0)

    // But of a URL whose id a socket has had since, the record does not end.
    callbacks.register({ id: 'shop', url: URL_, session: { user: 'ada' } })
    await turn()
    await store.go()
    connect('shop')
    await turn()
    await store.fail()
    hub.unregisterClient('shop')
    await turn()
    await store.fail()
    expect(await store.get('shop')).toBeDefined()
    store.calls.length = 0
    scheduler.advance(5000)
    await turn()
    await store.go()
    expect(store.calls).toEqual(['delete shop'])
    expect(await store.get('shop')).toBeUndefined()
  })

  it('tries a few at a time again, and none where it fails again', async () => {
    const store = new SlowStore()
    const writer = new RecordWriter(store, () => {})
    for (let i = 0; i < 100; i++) writer.put({ ...record, id: `c${i}` })
    await turn()
    while (store.underWay > 0) await store.fail()
    store.calls.length = 0
    void writer.retry()
    await turn()
    expect(store.underWay).toBe(16)
    while (store.underWay > 0) await store.fail()
    expect([store.calls.length, writer.owed]).toEqual([16, 100])
    const done = writer.retry()
    await turn()
    while (store.underWay > 0) await store.go()
    await done
    expect(writer.owed).toBe(0)
  })
})

describe('a store that fails', () => {
  it('is told as a fault, harms nobody, and has everything once it is back', async () => {
    const store = new SlowStore()
    const { hub, callbacks, scheduler, faults } = start(store)
    callbacks.register({ id: 'a', url: URL_, topics: [{ name: 'news' }] })
    callbacks.register({ id: 'b', url: URL_ })
    await turn()
    await store.go()
    await store.go()
    hub.subscribe('a', 'sport')
    hub.unregisterClient('b')
    await turn()
    await store.fail()
    await store.fail()
    expect(faults).toEqual(['connection store: put: out of reach', 'connection store: delete: out of reach'])
    expect(topicsOf(hub, 'a')).toEqual([
      ['news', undefined],
      ['sport', undefined],
    ])
    // Tried again with the timer, and not in a loop before it.
    scheduler.advance(4999)
    await turn()
    expect(store.underWay).toBe(0)
    scheduler.advance(1)
    await turn()
    while (store.underWay > 0) await store.go()
    expect(describeRecord((await store.get('a'))!)).toBe('a news sport')
    expect(await store.get('b')).toBeUndefined()
    store.calls.length = 0
    // Until all is written anew.
    scheduler.advance(30_000)
    await turn()
    expect(store.calls).toEqual([])
  })

  it('by a throw where it should reject is no worse, for put, delete and touch', async () => {
    const broken = (): never => {
      throw new Error('broken')
    }
    const members = { put: broken, delete: broken, touch: broken, listByNode: broken }
    const store = members as unknown as ConnectionStore
    const { hub, scheduler, connect, faults } = start(store)
    connect('a')
    connect('b')
    await turn()
    const sent = hub.send('b', 'hello')
    scheduler.advance(5000)
    await sent
    hub.unregisterClient('a')
    await turn()
    expect(new Set(faults)).toEqual(
      new Set(['put', 'touch', 'delete'].map(what => `connection store: ${what}: broken`)),
    )
    expect(hub.getConnectionStats().clients).toBe(1)
  })

  it('at the start fails the start, and nothing else', async () => {
    const store = storeThen()
    store.listByNode = () => Promise.reject(new Error('out of reach'))
    const { book, end } = start(store)
    await expect(book.recover()).rejects.toThrow('out of reach')
    await end()
  })
})
