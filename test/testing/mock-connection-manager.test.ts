import { describe, expect, expectTypeOf, it, vi } from 'vitest'
import type { Client } from '../../src/core/connection.ts'
import { HubError } from '../../src/core/errors.ts'
import { createHub, Hub } from '../../src/hub.ts'
import type { HubApi } from '../../src/sending/hub-api.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { type HubMethod, MockConnectionManager } from '../../src/testing/mock-connection-manager.ts'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
/** Methods of the interface that a hub has with another signature. */
type Different = { [M in keyof HubApi]: Same<HubApi[M], Hub[M]> extends true ? never : M }[keyof HubApi]

const bytes = Buffer.from('x')
const listener = (): void => {}
const circle: { self?: unknown } = {}
circle.self = circle

/** An application, as one would write it. */
function greet(hub: Pick<HubApi, 'send'>, id: string) {
  return hub.send(id, { hello: id })
}

describe('the interface', () => {
  it('is what a hub has, signature for signature', () => {
    expectTypeOf<Different>().toBeNever()
    expectTypeOf<Hub>().toExtend<HubApi>()
    expectTypeOf<MockConnectionManager>().toExtend<HubApi>()
  })

  it('is refused where somebody gives something else', () => {
    // @ts-expect-error: no message
    const wrong = () => new MockConnectionManager().send('ada')
    // @ts-expect-error: no result of send
    const answered = () => new MockConnectionManager().answer('send', true)
    // @ts-expect-error: no such method
    const unknown = () => new MockConnectionManager().fail('sendAll', 'SEND_FAILED')
    // @ts-expect-error: no such code
    const code = () => new MockConnectionManager().fail('send', 'BROKEN')
    expect([wrong, answered, unknown, code]).toHaveLength(4)
  })

  it('stands where an application asks for a hub, as a real one does', async () => {
    const hub = createHub()
    hub.registerClient('ada', new FakeConnection())
    const mock = new MockConnectionManager()
    const results = [await greet(hub, 'ada'), await greet(mock, 'ada')]
    expect(results.map(({ confirmed }) => confirmed)).toEqual([false, false])
    await hub.close()
  })
})

describe('what it was asked', () => {
  it('is recorded in order, with the arguments as they were given', async () => {
    const mock = new MockConnectionManager()
    await mock.send('ada', 'hello')
    void mock.publish('news', bytes, { contentType: 'text/plain' })
    await mock.send('bob', 'hi', { confirm: true })
    expect(mock.calls).toEqual([
      { method: 'send', args: ['ada', 'hello'] },
      { method: 'publish', args: ['news', bytes, { contentType: 'text/plain' }] },
      { method: 'send', args: ['bob', 'hi', { confirm: true }] },
    ])
    expect(mock.callsOf('send')).toEqual([
      ['ada', 'hello'],
      ['bob', 'hi', { confirm: true }],
    ])
    expect(mock.callsOf('broadcast')).toEqual([])
  })

  it('stays as it was when the application changes what it gave', async () => {
    const mock = new MockConnectionManager()
    const message = { order: { item: 'tea' } }
    const data = Buffer.from('tea')
    const ids = ['ada']
    await mock.send('ada', message)
    await mock.broadcast(ids, data)
    message.order.item = 'coffee'
    data.fill('x')
    ids.push('bob')
    expect(mock.callsOf('send')).toEqual([['ada', { order: { item: 'tea' } }]])
    expect(mock.callsOf('broadcast')).toEqual([[['ada'], Buffer.from('tea')]])
  })

  it('may be what nobody can copy', async () => {
    const mock = new MockConnectionManager()
    const { signal } = new AbortController()
    const options = { signal, id: 'one' }
    await mock.send('ada', 'hello', options)
    options.id = 'two'
    expect(mock.callsOf('send')[0]).toEqual(['ada', 'hello', { signal, id: 'one' }])
    expect(mock.callsOf('send')[0]?.[2]?.signal).toBe(signal)
  })

  it('is recorded when it fails, too', async () => {
    const mock = new MockConnectionManager()
    await expect(mock.send('ada', 10n)).rejects.toThrow(HubError)
    expect(mock.callsOf('send')).toEqual([['ada', 10n]])
  })

  it('is recorded of every method, and each is one that a hub has', () => {
    const mock = new MockConnectionManager()
    const calls: { readonly [M in HubMethod]: Parameters<HubApi[M]> } = {
      send: ['ada', 'hello'],
      broadcast: [['ada'], 'hello'],
      isActive: ['ada'],
      publish: ['news', bytes],
      routeData: ['news', bytes],
      stream: ['news'],
      listen: ['news', listener],
      subscribe: ['ada', 'news'],
      unsubscribe: ['ada', 'news'],
      acknowledge: ['ada', 'news', { epoch: 'mock', seq: 1 }],
      unregisterClient: ['ada'],
      subscribePattern: ['ada', 'news/*'],
      unsubscribePattern: ['ada', 'news/*'],
      isOnline: ['ann'],
      connectionsOf: ['ann'],
      disconnectUser: ['ann'],
      sendToUser: ['ann', 'hello'],
      presence: ['news'],
      presenceStats: ['news'],
      history: ['news', { limit: 1 }],
      selectClients: [{ topic: 'news' }],
      getClient: ['ada'],
      getActiveClients: [],
      getClientsForTopic: ['news'],
      getConnectionStats: [],
      getMetrics: [],
      shutdown: [],
    }
    for (const [method, args] of Object.entries(calls)) {
      expect(typeof Hub.prototype[method as HubMethod]).toBe('function')
      void (mock[method as HubMethod] as (...args: unknown[]) => unknown)(...args)
    }
    expect(mock.calls).toEqual(Object.entries(calls).map(([method, args]) => ({ method, args })))
  })
})

describe('without a script', () => {
  /** A hub on which everybody is connected, and the mock. */
  function both() {
    const scheduler = new ManualScheduler()
    const hub = createHub({ scheduler })
    for (const id of ['ada', 'bob']) {
      const connection = new FakeConnection({ protocol: 'mock' })
      connection.client = hub.registerClient(id, connection)
    }
    const settled = <T>(work: Promise<T>): Promise<T> => {
      scheduler.settle()
      return work
    }
    return { hub, settled, mock: new MockConnectionManager() }
  }

  it('answers a send and a broadcast as a hub on which everybody is connected', async () => {
    const { hub, settled, mock } = both()
    const options = { id: 'one' }
    expect(await mock.send('ada', 'hello', options)).toEqual(await settled(hub.send('ada', 'hello', options)))
    expect(await mock.broadcast(['ada', 'bob'], 1, options)).toEqual(
      await settled(hub.broadcast(['ada', 'bob'], 1, options)),
    )
    expect(await mock.isActive('ada')).toBe(await hub.isActive('ada'))
    expect((await mock.send('ada', 'hello')).id).not.toBe((await mock.send('ada', 'hello')).id)
    expect((await mock.send('ada', 'hello', { confirm: true })).confirmed).toBe(true)
    const { results } = await mock.broadcast(new Set(['ada', 'bob']), 'hello')
    expect(new Set(results.map(result => result.ok && result.id)).size).toBe(1)
  })

  it('answers the rest as one, as far as it can know', async () => {
    const { hub, settled, mock } = both()
    const anyEpoch = { epoch: expect.any(String), seq: 1 }
    expect(hub.subscribe('ada', 'news')).toEqual({
      ...mock.subscribe('ada', 'news'),
      position: { ...anyEpoch, seq: 0 },
    })
    expect(await hub.publish('news', bytes)).toEqual({ ...(await mock.publish('/news', bytes)), position: anyEpoch })
    expect(mock.routeData('news', bytes)).toMatchObject({ position: { seq: 2 }, matched: 1, behind: 0 })
    expect(mock.subscribe('ada', 'news').position.seq).toBe(2)
    expect(mock.unsubscribe('ada', 'news')).toBe(hub.unsubscribe('ada', 'news'))
    expect(Object.keys(mock.getClient('ada')).sort()).toEqual(Object.keys(hub.getClient('ada')).sort())
    expect(Object.keys(mock.getConnectionStats()).sort()).toEqual(Object.keys(hub.getConnectionStats()).sort())
    expect(Object.keys(mock.getMetrics()).sort()).toEqual(Object.keys(hub.getMetrics()).sort())
    expect(mock.unregisterClient('bob')).toBe(hub.unregisterClient('bob'))
    expect([
      [...mock.getActiveClients()],
      [...mock.getClientsForTopic('news')],
      mock.selectClients({ all: true }),
    ]).toEqual([[], [], []])
    // What the hub was given above is out before it ends: the mock keeps nothing waiting.
    await settled(Promise.resolve())
    const report = await settled(hub.shutdown({ reconnectMs: 0 }))
    expect(await mock.shutdown()).toEqual({ ...report, clients: { closed: 0, behind: 0 } })
  })

  it('answers what is asked of users, patterns and histories', async () => {
    const { hub, mock } = both()
    expect(mock.subscribePattern('ada', '/news/*')).toEqual(hub.subscribePattern('ada', '/news/*'))
    expect(mock.unsubscribePattern('ada', 'news/*')).toBe(hub.unsubscribePattern('ada', 'news/*'))
    mock.publish('news', bytes)
    expect(mock.history('news')).toEqual({ position: { epoch: 'mock', seq: 1 }, messages: [], recovered: false })
    expect([mock.isOnline('ann'), mock.connectionsOf('ann'), mock.disconnectUser('ann')]).toEqual([true, [], 1])
    expect([mock.presence('news'), mock.presenceStats('news')]).toEqual([[], { clients: 0, users: 0 }])
    expect(await mock.sendToUser('ann', 'hello')).toEqual(await hub.sendToUser('nobody', 'hello'))
  })

  it.each<[string, (hub: HubApi) => unknown]>([
    ['a cycle', hub => hub.send('ada', circle)],
    ['a BigInt', hub => hub.send('ada', 10n)],
    ['nothing at all', hub => hub.send('ada', undefined)],
    ['a function', hub => hub.broadcast(['ada'], () => {})],
    ['more than a message may have', hub => hub.send('ada', Buffer.alloc(1024 * 1024 + 1))],
    ['an id with a space', hub => hub.send('ada', 'hello', { id: 'a b' })],
    ['one id in the place of a list', hub => hub.broadcast('ada', 'hello')],
    ['nobody', hub => hub.broadcast(undefined as unknown as string[], 'hello')],
    ['what is no topic', hub => hub.publish('a//b', bytes)],
    ['nothing to publish', hub => hub.publish('news', undefined as unknown as string)],
    ['a cycle to publish', hub => hub.publish('news', circle)],
    ['text to route', hub => hub.routeData('news', 'hello' as unknown as Uint8Array)],
    ['a subscription to what is no topic', hub => hub.subscribe('ada', '..')],
    ['a pattern that is none', hub => hub.subscribePattern('ada', 'a*')],
    ['the history of what is no topic', hub => hub.history('a//b')],
    ['a message for no user', hub => hub.sendToUser(undefined as unknown as string, 'hello')],
    ['a cycle for a user', hub => hub.sendToUser('ann', circle)],
  ])('objects to %s in the words of the hub', async (_, call) => {
    const { hub, mock } = both()
    const objection = async (api: HubApi): Promise<unknown> => {
      try {
        await call(api)
        return undefined
      } catch (error) {
        expect(error).toBeInstanceOf(HubError)
        return [(error as HubError).code, (error as HubError).message]
      }
    }
    const told = await objection(hub)
    expect(told).toBeDefined()
    expect(await objection(mock)).toEqual(told)
  })
})

describe('the script', () => {
  it('is a function, or an answer', async () => {
    const mock = new MockConnectionManager({
      send: async (id, message, options) => ({ id: `${id} ${message} ${options?.id}`, confirmed: true, ms: 7 }),
      isActive: false,
    })
    expect(await mock.send('ada', 'tea', { id: 'one' })).toEqual({ id: 'ada tea one', confirmed: true, ms: 7 })
    expect(await mock.isActive('ada')).toBe(false)
    mock.answer('isActive', id => id === 'ada').answer('selectClients', ['ada'])
    expect([await mock.isActive('ada'), await mock.isActive('bob')]).toEqual([true, false])
    expect(mock.selectClients({ topic: 'news' })).toEqual(['ada'])
  })

  it('of one call ends with it', async () => {
    const mock = new MockConnectionManager({ isActive: false })
    mock.answerOnce('isActive', true).failOnce('isActive', 'SEND_ABORTED')
    expect(await mock.isActive('ada')).toBe(true)
    await expect(mock.isActive('ada')).rejects.toMatchObject({ code: 'SEND_ABORTED' })
    expect(await mock.isActive('ada')).toBe(false)
  })

  it('leaves to the mock what it says nothing of', async () => {
    const mock = new MockConnectionManager({
      send: async id => {
        if (id === 'bob') throw new HubError('CIRCUIT_OPEN', 'bob fails too often')
      },
    })
    expect(await mock.send('ada', 'tea', { id: 'one' })).toEqual({ id: 'one', confirmed: false, ms: 0 })
    await expect(mock.send('bob', 'tea')).rejects.toMatchObject({ code: 'CIRCUIT_OPEN' })
  })

  it('fails with a code, as a rejection where the hub would and at once where it would', async () => {
    const mock = new MockConnectionManager()
    mock
      .fail('send', 'CONNECTION_STALE')
      .fail('publish', 'TOPIC_UNKNOWN', 'no such topic')
      .fail('routeData', 'TOPIC_UNKNOWN', 'nor here')
    await expect(mock.send('ada', 'tea')).rejects.toThrow(
      new HubError('CONNECTION_STALE', 'send: the test has it fail'),
    )
    await expect(mock.publish('news', bytes)).rejects.toThrow(new HubError('TOPIC_UNKNOWN', 'no such topic'))
    expect(() => mock.routeData('news', bytes)).toThrow(new HubError('TOPIC_UNKNOWN', 'nor here'))
  })

  it('of send decides what a broadcast comes to', async () => {
    const mock = new MockConnectionManager()
    mock.answer('send', id => {
      if (id === 'bob') throw new HubError('CONNECTION_STALE', 'bob has gone')
    })
    const { sent, failed, results, error } = await mock.broadcast(['ada', 'bob', 'eve'], 'tea')
    expect([sent, failed, results.map(({ clientId, ok }) => [clientId, ok])]).toEqual([
      2,
      1,
      [
        ['ada', true],
        ['bob', false],
        ['eve', true],
      ],
    ])
    expect(error).toMatchObject({ code: 'BROADCAST_PARTIAL_FAILURE' })
    expect(error?.failures?.map(({ clientId, error: { code } }) => [clientId, code])).toEqual([
      ['bob', 'CONNECTION_STALE'],
    ])
    expect(mock.calls.map(({ method }) => method)).toEqual(['broadcast'])
  })

  it('says whom a broadcast to a topic means, and may answer the whole of it', async () => {
    const mock = new MockConnectionManager({ selectClients: ({ topic } = {}) => (topic === 'news' ? ['ada'] : []) })
    expect((await mock.broadcast({ topic: 'news' }, 'tea')).sent).toBe(1)
    expect((await mock.broadcast({ topic: 'other' }, 'tea')).sent).toBe(0)
    mock.fail('broadcast', 'SHUTTING_DOWN')
    await expect(mock.broadcast(['ada'], 'tea')).rejects.toMatchObject({ code: 'SHUTTING_DOWN' })
  })

  it('says whom a message to a user means, and may answer the whole of it', async () => {
    const mock = new MockConnectionManager({ connectionsOf: user => (user === 'ann' ? ['phone', 'desk'] : []) })
    mock.answer('send', id => {
      if (id === 'desk') throw new HubError('SEND_TIMEOUT', 'asleep')
    })
    const { results, error } = await mock.sendToUser('ann', 'hello', { id: 'one' })
    expect(results).toMatchObject([
      { clientId: 'phone', ok: true, id: 'one' },
      { clientId: 'desk', ok: false, error: { code: 'SEND_TIMEOUT' } },
    ])
    expect(error?.code).toBe('BROADCAST_PARTIAL_FAILURE')
    // Whom it asks itself is no call of the application's.
    expect(mock.calls.map(({ method }) => method)).toEqual(['sendToUser'])
    mock.answerOnce('sendToUser', { results: [], sent: 9, failed: 0, error: undefined })
    expect((await mock.sendToUser('ann', 'hello')).sent).toBe(9)
  })

  it('is told when it is wrong itself', async () => {
    const mock = new MockConnectionManager().answer('send', () => {
      throw new TypeError('a mistake')
    })
    await expect(mock.broadcast(['ada'], 'tea')).rejects.toThrow(new TypeError('a mistake'))
  })

  it('is back at its beginning after a reset', async () => {
    const mock = new MockConnectionManager({ isActive: false })
    const heard = vi.fn()
    mock.events.on('unregister', heard)
    mock.answer('isActive', true).answer('unsubscribe', false).failOnce('send', 'SEND_FAILED')
    void mock.publish('news', bytes)
    mock.reset()
    expect(mock.calls).toEqual([])
    expect([await mock.isActive('ada'), (await mock.send('ada', 'tea')).ms]).toEqual([false, 0])
    expect(mock.unsubscribe('ada', 'news')).toBe(true)
    expect(await mock.publish('news', bytes)).toMatchObject({ position: { seq: 1 } })
    mock.events.emit('unregister', {
      id: mock.getClient('ada').id,
      client: {} as Client,
      protocol: 'mock',
      reason: 'peer',
    })
    expect(heard).toHaveBeenCalledOnce()
  })
})
