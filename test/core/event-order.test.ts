import { beforeEach, describe, expect, it } from 'vitest'
import type { Session } from '../../src/core/sessions.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { Receivers } from '../../src/server/receivers.ts'
import { UserAgents } from '../../src/server/user-agents.ts'
import { SessionWatch } from '../../src/sessions/session-watch.ts'
import { ConnectionBook } from '../../src/stores/connection-book.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { HTTPConnectionManager, type SendSocket } from '../../src/tower/index.ts'

const NOW = 1_700_000_000_000
const towerSocket = (): SendSocket => ({ send: data => data.byteLength, end() {}, destroy() {} })
let scheduler: ManualScheduler
let hub: Hub
beforeEach(() => {
  scheduler = new ManualScheduler()
  hub = createHub({ scheduler })
})

function connect(id: string, session: Session = {}, restore?: unknown, connection = new FakeConnection()) {
  connection.client = hub.registerClient(id, connection, { session, ...(restore !== undefined && { restore }) })
  return connection
}

/** Events as any listener sees them, whenever it began to listen. */
function recorded(): string[] {
  const events: string[] = []
  const numbers = new Map<unknown, number>()
  const nth = (client: unknown): number => {
    if (!numbers.has(client)) numbers.set(client, numbers.size + 1)
    return numbers.get(client)!
  }
  hub.events.on('register', ({ id, client }) => events.push(`${id}${nth(client)} +`))
  hub.events.on('unregister', ({ id, client }) => events.push(`${id}${nth(client)} -`))
  hub.events.on('subscribe', ({ id, client, topic }) => events.push(`${id}${nth(client)} +${topic}`))
  hub.events.on('unsubscribe', ({ id, client, topic }) => events.push(`${id}${nth(client)} -${topic}`))
  return events
}

describe('every listener sees events in the order in which they happened', () => {
  it.each(['unsubscribe', 'unregister'] as const)('where a handler of %s registers the same id again', event => {
    const before = recorded()
    hub.events.once(event, () => {
      connect('a')
      hub.subscribe('a', 'news')
    })
    const after = recorded()
    connect('a')
    hub.subscribe('a', 'news')
    hub.unregisterClient('a')
    const all = ['a1 +', 'a1 +news', 'a1 -news', 'a1 -', 'a2 +', 'a2 +news']
    expect([before, after]).toEqual([all, all])
  })

  it.each(['close', 'watcher'] as const)('where the %s of the older client registers the same id again', which => {
    const events = recorded()
    const older = connect('a')
    hub.subscribe('a', 'news')
    const again = (): void => void connect('a')
    if (which === 'close') older.close = again
    else hub.watch('a', ({ kind }) => kind === 'closed' && again())
    hub.unregisterClient('a')
    expect(events).toEqual(['a1 +', 'a1 +news', 'a1 -news', 'a1 -', 'a2 +'])
  })

  it('where a newer client replaces the older, and a handler ends the newer at once', () => {
    hub.events.on('unregister', ({ reason }) => void (reason === 'replaced' && hub.unregisterClient('a')))
    const events = recorded()
    const first = connect('a')
    const second = connect('a')
    expect(events).toEqual(['a1 +', 'a1 -', 'a2 +', 'a2 -'])
    expect([first.closedFor, second.closedFor]).toEqual(['replaced', 'peer'])
  })

  it('where a handler takes a client off a topic that a pattern still holds', () => {
    hub.events.once('unsubscribe', () => void hub.unsubscribePattern('a', 'n/*'))
    const events = recorded()
    connect('a')
    hub.subscribe('a', 'n/1')
    hub.subscribePattern('a', 'n/*')
    hub.unsubscribe('a', 'n/1')
    expect(events).toEqual(['a1 +', 'a1 +n/1', 'a1 -n/1', 'a1 +n/1', 'a1 -n/1'])
    expect(hub.getClient('a').subscriptions).toEqual([])
  })

  it('where a handler publishes to a topic that is being forgotten', () => {
    const members = new Set<string>()
    hub.events.once('unsubscribe', () => void hub.routeData('n/1', Buffer.from('x')))
    hub.events.on('subscribe', ({ id }) => members.add(id))
    hub.events.on('unsubscribe', ({ id }) => members.delete(id))
    const events = recorded()
    for (const id of ['a', 'b']) {
      connect(id)
      hub.subscribePattern(id, 'n/*')
    }
    hub.routeData('n/1', Buffer.from('x'))
    scheduler.advance(100_000)
    expect(events.slice(-4)).toEqual(['a1 -n/1', 'b2 -n/1', 'a1 +n/1', 'b2 +n/1'])
    expect(members).toEqual(new Set(['a', 'b']))
  })

  it('where a listener throws: its fault comes after what the others still have to hear', () => {
    const events = recorded()
    hub.events.on('fault', () => events.push('fault'))
    hub.events.once('unregister', () => {
      connect('a')
      throw new Error('broken')
    })
    connect('a')
    hub.unregisterClient('a')
    expect(events).toEqual(['a1 +', 'a1 -', 'a2 +', 'fault'])
    connect('b')
    expect(events.at(-1)).toBe('b3 +')
  })
})

describe('what keeps something by client id is right when a handler registers the id again', () => {
  /** The listeners that are made later hear of the end after this handler. */
  function registerAgain(again: () => void, event: 'unsubscribe' | 'unregister' = 'unregister'): void {
    hub.events.once(event, again)
  }

  it('sessions: the newer one ends when it expires', () => {
    registerAgain(() => connect('a', { user: 'u', expiresAt: NOW + 500 }))
    const watch = new SessionWatch({ hub, sessions: {}, scheduler, now: () => NOW + scheduler.now() })
    const older = connect('a', { user: 'u', expiresAt: NOW + 60_000 })
    hub.unregisterClient('a')
    expect([older.closedFor, watch.size]).toEqual(['peer', 1])
    scheduler.advance(3000)
    expect([[...hub.getActiveClients()].length, watch.size]).toEqual([0, 0])
  })

  it('a connection store: it has the newer client, and never a mixture of both', async () => {
    const puts: unknown[] = []
    const store = memoryStore({ now: () => NOW })
    const { put } = store
    store.put = record => {
      puts.push(record.restore)
      return put.call(store, record)
    }
    registerAgain(() => {
      connect('a', { user: 'new' }, { transport: 'new' })
      hub.subscribe('a', 'new')
    }, 'unsubscribe')
    const book = new ConnectionBook(hub, store, (ms, run) => scheduler.every(ms, run), {
      ...{ node: 'n', sockets: true, now: () => NOW },
      onFault: error => expect.fail(String(error)),
    })
    connect('a', { user: 'old' }, { transport: 'old' })
    hub.subscribe('a', 'old')
    hub.subscribe('a', 'older')
    hub.unregisterClient('a')
    await book.close()
    const restore = { options: { transport: 'new' }, topics: [{ name: 'new' }] }
    expect(await store.get('a')).toMatchObject({ user: 'new', restore })
    expect(puts.filter(each => JSON.stringify(each)?.match(/old.*new|new.*old/))).toEqual([])
  })

  it('sends: what is under way to the newer client goes on', async () => {
    let sent: Promise<unknown> | undefined
    let active: Promise<unknown> | undefined
    const newer = new FakeConnection({ answersPings: true })
    registerAgain(() => {
      connect('a', {}, undefined, newer)
      sent = hub.send('a', 'for the newer')
      active = hub.isActive('a')
    }, 'unsubscribe')
    connect('a')
    hub.subscribe('a', 'news')
    hub.unregisterClient('a')
    scheduler.settle()
    newer.pong()
    await expect(sent).resolves.toMatchObject({ confirmed: false })
    await expect(active).resolves.toBe(true)
  })

  it('sends: what was under way to the older client fails, whatever a handler registers', async () => {
    connect('a', {}, undefined, new FakeConnection({ confirms: true }))
    hub.subscribe('a', 'news')
    registerAgain(() => connect('a'), 'unsubscribe')
    const sent = hub.send('a', 'for the older')
    hub.unregisterClient('a')
    await expect(sent).rejects.toMatchObject({ code: 'CONNECTION_STALE' })
  })

  it('a tower: a listener that a handler adds under the id can be removed, and the older one was told', async () => {
    const removed: string[] = []
    let tower: HTTPConnectionManager | undefined
    registerAgain(() => void tower!.addClient(towerSocket(), 'a'))
    tower = new HTTPConnectionManager({ hub, onRemove: (id, reason) => removed.push(`${id} ${reason}`) })
    tower.addClient(towerSocket(), 'a')
    hub.unregisterClient('a', 'ended')
    expect([removed, tower.count]).toEqual([['a ended'], 1])
    expect([tower.removeClient('a'), tower.count, removed.length]).toEqual([true, 0, 2])
    await tower.close()
  })

  it('user agents and receivers: they are those of the newer client', () => {
    let agents: UserAgents | undefined
    registerAgain(() => {
      agents!.expect('a', 'newer')
      connect('a')
    })
    agents = new UserAgents(hub.events)
    agents.expect('a', 'older')
    connect('a')
    hub.unregisterClient('a')
    expect(agents.of('a')).toBe('newer')

    registerAgain(() => connect('b', {}, { transport: 'callback', url: 'https://example.org/' }))
    const receivers = new Receivers(hub, {})
    connect('b', {}, { transport: 'callback', url: 'https://example.com/' })
    hub.unregisterClient('b')
    expect(receivers.register('b', { url: 'https://example.org/', ifExists: 'keep' })).toBe(false)
  })
})
