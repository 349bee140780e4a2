import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import type { CloseReason } from '../../src/core/connection.ts'
import { HubError } from '../../src/core/errors.ts'
import type { Session } from '../../src/core/sessions.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { runs } from '../property-runs.ts'

const scheduler = () => new ManualScheduler()

/** What it throws, as a code. */
function code(act: () => unknown): string | undefined {
  try {
    act()
  } catch (error) {
    return error instanceof HubError ? error.code : String(error)
  }
  return undefined
}

describe('users', () => {
  let hub: Hub
  let clock: ManualScheduler
  const connect = (id: string, user?: string, session: Session = {}): FakeConnection => {
    const connection = new FakeConnection()
    connection.client = hub.registerClient(id, connection, { session: { ...session, user } })
    return connection
  }

  beforeEach(() => {
    clock = scheduler()
    hub = createHub({ scheduler: clock, limits: { maxClientsPerUser: 3, maxClients: 6 } })
  })

  it('a user is online with the first client, and until the last has gone', () => {
    expect(hub.isOnline('ann')).toBe(false)
    connect('phone', 'ann')
    connect('desk', 'ann')
    connect('other')
    expect(hub.connectionsOf('ann')).toEqual(['phone', 'desk'])
    expect([...hub.getUsers()]).toEqual(['ann'])
    expect(hub.getConnectionStats().users).toBe(1)
    hub.unregisterClient('phone')
    expect(hub.isOnline('ann')).toBe(true)
    expect(hub.connectionsOf('ann')).toEqual(['desk'])
    hub.unregisterClient('desk')
    expect(hub.isOnline('ann')).toBe(false)
    expect(hub.connectionsOf('ann')).toEqual([])
    expect(hub.getConnectionStats().users).toBe(0)
  })

  it('a list of clients is a copy', () => {
    connect('phone', 'ann')
    hub.connectionsOf('ann').length = 0
    expect(hub.connectionsOf('ann')).toEqual(['phone'])
  })

  it('the user "__proto__" is one as any other', () => {
    expect(hub.isOnline('__proto__')).toBe(false)
    connect('x', '__proto__')
    expect(hub.connectionsOf('__proto__')).toEqual(['x'])
    expect(hub.isOnline('constructor')).toBe(false)
  })

  it('who disconnects a user ends all its clients, and nobody else, for the reason given', () => {
    const mine = [connect('a', 'ann'), connect('b', 'ann')]
    const others = [connect('c', 'bob'), connect('d')]
    expect(hub.disconnectUser('ann', 'revoked')).toBe(2)
    expect(mine.map(({ closedFor }) => closedFor)).toEqual(['revoked', 'revoked'])
    expect(others.map(({ closedFor }) => closedFor)).toEqual([undefined, undefined])
    expect(hub.disconnectUser('ann')).toBe(0)
    expect(hub.disconnectUser('bob')).toBe(1)
    expect(others[0]!.closedFor).toBe('ended' satisfies CloseReason)
  })

  it('a client that a handler registers meanwhile is not ended for the user that had its id', () => {
    connect('a', 'ann')
    connect('b', 'ann')
    hub.events.once('unregister', () => {
      hub.unregisterClient('b')
      connect('b', 'bob')
    })
    expect(hub.disconnectUser('ann')).toBe(2)
    expect(hub.connectionsOf('bob')).toEqual(['b'])
  })

  it('an id that is connected as another user is not taken over', () => {
    const first = connect('a', 'ann')
    expect(code(() => connect('a', 'bob'))).toBe('PERMISSION_DENIED')
    expect(code(() => connect('a'))).toBe('PERMISSION_DENIED')
    expect(first.closedFor).toBeUndefined()
    connect('a', 'ann')
    expect(first.closedFor).toBe('replaced')
    expect(hub.connectionsOf('ann')).toEqual(['a'])
  })

  it('whoever refuses to replace is told so, and the older client stays, whoever it is', () => {
    const first = connect('a', 'ann')
    for (const user of ['ann', 'bob']) {
      const session = { user }
      expect(code(() => hub.registerClient('a', new FakeConnection(), { session, ifExists: 'refuse' }))).toBe(
        'CLIENT_EXISTS',
      )
    }
    expect(first.closedFor).toBeUndefined()
  })

  it('a user has at most so many clients; a replacement is no further one', () => {
    for (const id of ['a', 'b', 'c']) connect(id, 'ann')
    expect(code(() => connect('d', 'ann'))).toBe('QUOTA_EXCEEDED')
    connect('c', 'ann')
    for (const id of ['d', 'e', 'f']) connect(id)
    expect(hub.getConnectionStats().clients).toBe(6)
    expect(code(() => connect('g'))).toBe('LIMIT_EXCEEDED')
    connect('f')
    expect(hub.getConnectionStats()).toMatchObject({ clients: 6, users: 1 })
  })

  it('a refused registration leaves the older client as it was', () => {
    const first = connect('a', 'ann')
    hub.subscribe('a', 'news')
    hub.setLimits({ maxClientsPerUser: 1 })
    connect('b')
    expect(code(() => connect('a', 'bob'))).toBe('PERMISSION_DENIED')
    hub.routeData('news', Buffer.from('x'))
    clock.settle()
    expect(first.texts()).toEqual(['x'])
  })

  it('a handler of the end of the replaced one takes no room beyond the limits, nor the id', () => {
    connect('a', 'ann')
    const more = ['b', 'c', 'd', 'e', 'f']
    for (const id of more) connect(id)
    const codes: unknown[] = []
    const meanwhile = (run: () => void) => hub.events.once('unregister', () => codes.push(code(run)))
    meanwhile(() => connect('g'))
    connect('a', 'ann')
    meanwhile(() => connect('a', 'bob'))
    connect('a', 'ann')
    expect(codes).toEqual(['LIMIT_EXCEEDED', 'PERMISSION_DENIED'])
    meanwhile(() => hub.drain())
    connect('a', 'ann')
    expect(code(() => connect('a', 'ann'))).toBe('SHUTTING_DOWN')
    expect(hub.getClient('a').user).toBe('ann')
    expect(hub.getConnectionStats().clients).toBe(6)
  })

  describe('sessions', () => {
    it('a refresh puts another of the same user in place, and tells', () => {
      connect('a', 'ann', { expiresAt: 1 })
      const told: unknown[] = []
      hub.events.on('session', change => told.push(change))
      const session = { user: 'ann', expiresAt: 2, info: 'desk' }
      hub.setSession('a', session)
      expect(hub.sessionOf('a')).toBe(session)
      expect(hub.getClient('a')).toMatchObject({ user: 'ann', expiresAt: 2 })
      expect(told).toEqual([{ id: 'a', session }])
    })

    it('is refused for another user, or none, and changes nothing', () => {
      connect('a', 'ann', { expiresAt: 1 })
      for (const user of ['bob', undefined]) expect(code(() => hub.setSession('a', { user }))).toBe('PERMISSION_DENIED')
      expect(code(() => hub.setSession('nobody', { user: 'ann' }))).toBe('CONNECTION_NOT_FOUND')
      expect(hub.sessionOf('a')).toMatchObject({ user: 'ann', expiresAt: 1 })
      expect(hub.sessionOf('nobody')).toBeUndefined()
    })
  })

  describe('sendToUser', () => {
    it('reaches every client of the user, once, and nobody else', async () => {
      const mine = [connect('a', 'ann'), connect('b', 'ann')]
      const other = connect('c', 'bob')
      const sending = hub.sendToUser('ann', 'hello')
      clock.settle()
      const { results, error } = await sending
      expect(results.map(({ clientId, ok }) => [clientId, ok])).toEqual([
        ['a', true],
        ['b', true],
      ])
      expect(error).toBeUndefined()
      expect(mine.map(connection => connection.directs())).toEqual([['hello'], ['hello']])
      expect(other.directs()).toEqual([])
    })

    it('to nobody online is no error, and to no user at all is one', async () => {
      const lonely = connect('a')
      expect(await hub.sendToUser('ann', 'hello')).toMatchObject({ results: [], sent: 0, error: undefined })
      for (const nobody of [undefined, null, 7]) {
        await expect(hub.sendToUser(nobody as never, 'hello')).rejects.toMatchObject({ code: 'REQUEST_INVALID' })
      }
      clock.settle()
      expect(lonely.directs()).toEqual([])
    })
  })
})

describe('both ways of the users index', () => {
  const USERS = [undefined, 'ann', 'bob']
  const IDS = ['c0', 'c1', 'c2', 'c3']
  const id = fc.constantFrom(...IDS)
  const user = fc.constantFrom(...USERS)
  const step = fc.oneof(
    fc.record({ do: fc.constant('register' as const), id, user, refuse: fc.boolean() }),
    fc.record({ do: fc.constant('unregister' as const), id }),
    fc.record({ do: fc.constant('disconnect' as const), user: fc.constantFrom('ann', 'bob') }),
    fc.record({ do: fc.constant('session' as const), id, user }),
    fc.record({ do: fc.constant('limit' as const), most: fc.constantFrom(1, 2, 9) }),
  )
  type Step = typeof step extends fc.Arbitrary<infer T> ? T : never
  const hook = fc.record({
    event: fc.constantFrom('register' as const, 'unregister' as const, 'session' as const, 'unsubscribe' as const),
    steps: fc.array(step, { minLength: 1, maxLength: 3 }),
  })
  const action = fc.oneof({ weight: 4, arbitrary: step }, { weight: 1, arbitrary: hook })

  /** The hub, and beside it only which connections are open and as whom they registered. */
  class World {
    readonly clock = scheduler()
    readonly hub = createHub({ scheduler: this.clock, limits: { maxClients: 4 } })
    readonly all: { id: string; user: string | undefined; connection: FakeConnection }[] = []
    readonly faults: unknown[] = []
    #depth = 0

    constructor() {
      this.hub.events.on('fault', ({ error }) => this.faults.push(error))
    }

    /** A refusal is no fault; anything else that is thrown is. */
    try(step: Step): void {
      // A handler that causes itself has to end somewhere.
      if (this.#depth >= 4) return
      this.#depth++
      const refused = code(() => this.#play(step))
      this.#depth--
      const expected = [
        'CLIENT_EXISTS',
        'PERMISSION_DENIED',
        'QUOTA_EXCEEDED',
        'LIMIT_EXCEEDED',
        'CONNECTION_NOT_FOUND',
      ]
      expect([undefined, ...expected]).toContain(refused)
    }

    #play(step: Step): void {
      const { hub } = this
      switch (step.do) {
        case 'register': {
          const connection = new FakeConnection()
          const { id, user } = step
          const entry = { id, user, connection }
          this.all.push(entry)
          try {
            hub.registerClient(id, connection, { session: { user }, ifExists: step.refuse ? 'refuse' : 'replace' })
            if (hub.sessionOf(id) && connection.closedFor === undefined) hub.subscribe(id, 'news')
          } catch (error) {
            if ((error as HubError).code !== 'CONNECTION_NOT_FOUND') connection.close('denied')
            throw error
          }
          break
        }
        case 'unregister':
          hub.unregisterClient(step.id)
          break
        case 'disconnect':
          hub.disconnectUser(step.user)
          break
        case 'session':
          hub.setSession(step.id, { user: step.user })
          break
        case 'limit':
          hub.setLimits({ maxClientsPerUser: step.most })
      }
    }

    check(): void {
      const open = this.all.filter(({ connection }) => connection.closedFor === undefined)
      expect([...this.hub.getActiveClients()].map(({ id }) => id as string).sort()).toEqual(
        open.map(({ id }) => id).sort(),
      )
      for (const { id, user } of open) expect(this.hub.sessionOf(id)?.user).toBe(user)
      const online = new Set(open.flatMap(({ user }) => user ?? []))
      for (const name of ['ann', 'bob']) {
        const ids = open.filter(({ user }) => user === name).map(({ id }) => id)
        expect([...this.hub.connectionsOf(name)].sort()).toEqual(ids.sort())
        expect(this.hub.isOnline(name)).toBe(ids.length > 0)
        expect(this.hub.selectClients({ user: name }).sort()).toEqual(ids)
      }
      expect([...this.hub.getUsers()].sort()).toEqual([...online].sort())
      expect(this.hub.getConnectionStats()).toMatchObject({ users: online.size, clients: open.length })
      expect(open.length).toBeLessThanOrEqual(4)
    }
  }

  it('agrees with who is connected as whom, whatever comes and goes, also inside of handlers', () => {
    fc.assert(
      fc.property(fc.array(action, { maxLength: 40 }), actions => {
        const world = new World()
        for (const action of actions) {
          if ('event' in action) {
            world.hub.events.once(action.event, () => {
              for (const each of action.steps) world.try(each)
            })
          } else {
            world.try(action)
            world.check()
          }
        }
        world.hub.events.removeAllListeners()
        for (const id of IDS) world.hub.unregisterClient(id)
        world.check()
        world.clock.advance(2000)
        expect(world.hub.getConnectionStats()).toMatchObject({ users: 0, clients: 0, subscriptions: 0, topics: 0 })
        expect(world.faults).toEqual([])
      }),
      runs(500),
    )
  })

  it('has nobody closed for one who has no room', () => {
    const hub = createHub({ limits: { maxClientsPerUser: 1 } })
    const shop = new FakeConnection()
    hub.registerClient('shop', shop, { session: { user: 'bob' } })
    hub.registerClient('phone', new FakeConnection(), { session: { user: 'ann' } })
    const seize = () =>
      hub.registerClient('shop', new FakeConnection(), { session: { user: 'ann' }, ifExists: 'seize' })
    expect(seize).toThrow(expect.objectContaining({ code: 'QUOTA_EXCEEDED' }))
    expect([shop.closedFor, hub.isOnline('bob')]).toEqual([undefined, true])
  })

  it('lets nobody take the place of a client that is a URL, unless a backend does', () => {
    const hub = createHub()
    const url = new FakeConnection()
    hub.registerClient('shop', url, { restore: { url: 'https://example.org' } })
    const denied = expect.objectContaining({ code: 'PERMISSION_DENIED' })
    expect(() => hub.registerClient('shop', new FakeConnection())).toThrow(denied)
    expect(url.closedFor).toBeUndefined()
    hub.registerClient('shop', new FakeConnection(), { restore: { url: 'https://example.org/2' } })
    hub.registerClient('shop', new FakeConnection(), { ifExists: 'seize' })
  })

  it('lets nobody take the place of a backend, which has no user either', () => {
    const hub = createHub()
    const worker = new FakeConnection()
    hub.registerClient('worker', worker, { session: { backend: true } })
    const denied = expect.objectContaining({ code: 'PERMISSION_DENIED' })
    expect(() => hub.registerClient('worker', new FakeConnection(), { session: {} })).toThrow(denied)
    expect(worker.closedFor).toBeUndefined()
    hub.registerClient('worker', new FakeConnection(), { session: { backend: true } })
    expect(worker.closedFor).toBe('replaced')
  })
})
