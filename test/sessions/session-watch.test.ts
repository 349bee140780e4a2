import { beforeEach, describe, expect, it } from 'vitest'
import type { Session } from '../../src/core/sessions.ts'
import { Deadlines } from '../../src/deadlines.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { SessionWatch } from '../../src/sessions/session-watch.ts'
import { FakeConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import { NOW } from './tokens.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

describe('the watch over sessions', () => {
  let scheduler: ManualScheduler
  /** How far the wall clock is from the monotonic one. */
  let wall: number
  let hub: Hub
  let gone: Set<string>
  let asked: number
  let watch: SessionWatch
  let ends: string[]

  beforeEach(() => {
    scheduler = new ManualScheduler()
    wall = NOW
    gone = new Set()
    asked = 0
    ends = []
    hub = createHub({ scheduler })
    // The watch of the hub goes by the real wall clock.
    hub.sessionWatch[Symbol.dispose]()
    const revoked = ({ user = '' }: Session): boolean => {
      asked++
      return gone.has(user)
    }
    watch = new SessionWatch({ hub, sessions: { revoked }, scheduler, now: () => wall + scheduler.now() })
    hub.events.on('unregister', ({ id, reason }) => ends.push(`${id} ${reason}`))
  })

  function join(id: string, session: Session = { user: id }): FakeConnection {
    const connection = new FakeConnection()
    hub.registerClient(id, connection, { session })
    hub.subscribe(id, 'news')
    return connection
  }

  it('ends a client within two seconds of its expiry, and delivers nothing after', () => {
    const connection = join('ada', { user: 'ada', expiresAt: NOW + 10_500 })
    join('eve')
    scheduler.advance(10_500)
    expect(ends).toEqual([])
    void hub.publishBytes('news', bytes('before'))
    scheduler.settle()
    scheduler.advance(2000)
    expect(ends).toEqual(['ada expired'])
    const { length } = connection.received
    void hub.publishBytes('news', bytes('after'))
    scheduler.advance(1000)
    expect(connection.received).toHaveLength(length)
    expect(length).toBeGreaterThan(0)
    expect(connection.closedFor).toBe('expired')
  })

  it('lets a session that was refreshed go on, until its new end', () => {
    join('ada', { user: 'ada', expiresAt: NOW + 5000 })
    scheduler.advance(4000)
    hub.setSession('ada', { user: 'ada', expiresAt: NOW + 20_000 })
    scheduler.advance(15_000)
    expect(ends).toEqual([])
    scheduler.advance(3000)
    expect(ends).toEqual(['ada expired'])
  })

  it('ends a session that a refresh made shorter', () => {
    join('ada', { user: 'ada', expiresAt: NOW + 3_600_000 })
    hub.setSession('ada', { user: 'ada', expiresAt: NOW + 5000 })
    scheduler.advance(7000)
    expect(ends).toEqual(['ada expired'])
  })

  it('ends at once what was over before it began', () => {
    join('ada', { user: 'ada', expiresAt: NOW - 1 })
    scheduler.advance(1500)
    expect(ends).toEqual(['ada expired'])
  })

  it('`revoked` must answer at once: a promise is a fault, and its rejection ends nothing', async () => {
    const faults: string[] = []
    hub.events.on('fault', ({ error }) => faults.push((error as Error).message))
    watch.ask({ revoked: (() => Promise.reject(new Error('no database'))) as unknown as () => boolean })
    join('ada')
    scheduler.advance(1000)
    await new Promise(setImmediate)
    expect(ends).toEqual([])
    expect(faults[0]).toBe('revoked of the session manager must answer at once, got a promise')
  })

  it('ends whoever is revoked, within two seconds, and only him', () => {
    for (let at = 0; at < 100; at++) join(`u${at}`)
    scheduler.advance(500)
    gone.add('u7').add('u99').add('u0')
    scheduler.advance(2000)
    expect(ends.sort()).toEqual(['u0 revoked', 'u7 revoked', 'u99 revoked'])
  })

  it('reports a session manager that throws about one client, which stays, and asks about the others', () => {
    const faults: unknown[] = []
    hub.events.on('fault', fault => faults.push(fault))
    const error = new Error('the list of revocations is away')
    watch.ask({
      revoked: ({ user = '' }) => {
        if (user === 'u1') throw error
        return gone.has(user)
      },
    })
    for (let at = 0; at < 8; at++) join(`u${at}`)
    gone.add('u2').add('u7')
    scheduler.advance(3000)
    expect(ends.sort()).toEqual(['u2 revoked', 'u7 revoked'])
    expect(faults[0]).toEqual({ where: 'revoked of the session manager', error })
  })

  it('asks about each once a second, spread over its ticks', () => {
    for (let at = 0; at < 1000; at++) join(`u${at}`)
    asked = 0
    scheduler.advance(250)
    expect(asked).toBe(250)
    scheduler.advance(750)
    expect(asked).toBe(1000)
  })

  it('D12: the wall clock may jump; only tokens go by it', () => {
    join('ada', { user: 'ada', expiresAt: NOW + 600_000 })
    join('eve')
    scheduler.advance(1000)
    wall -= 3_600_000
    scheduler.advance(700_000)
    expect(ends).toEqual([])
    wall += 3_600_000
    scheduler.advance(250)
    expect(ends).toEqual(['ada expired'])
    wall += 3_600_000
    scheduler.advance(2000)
    expect(ends).toEqual(['ada expired'])
  })

  it('knows nobody whom nothing can end', () => {
    watch[Symbol.dispose]()
    watch = new SessionWatch({ hub, sessions: {}, scheduler, now: () => wall + scheduler.now() })
    join('ada')
    expect(watch.size).toBe(0)
    join('eve', { user: 'eve', expiresAt: NOW + 5000 })
    hub.setSession('ada', { user: 'ada', expiresAt: NOW + 5000 })
    expect(watch.size).toBe(2)
    scheduler.advance(7000)
    expect(ends).toEqual(['eve expired', 'ada expired'])
    expect(watch.size).toBe(0)
  })

  it('keeps nothing of who has gone, and nothing after its end', () => {
    for (let round = 0; round < 3; round++) {
      for (let at = 0; at < 1000; at++) join(`u${at}`, { user: `u${at}`, expiresAt: NOW + 60_000 + at * 1000 })
      expect(watch.size).toBe(1000)
      for (let at = 0; at < 1000; at++) hub.unregisterClient(`u${at}`)
      expect(watch.size).toBe(0)
    }
    const { timers } = scheduler
    // One timer while the watch has clients, and none otherwise.
    join('last', { user: 'last', expiresAt: NOW + 60_000 })
    expect(scheduler.timers).toBe(timers + 1)
    hub.unregisterClient('last')
    expect(scheduler.timers).toBe(timers)
    join('next', { user: 'next', expiresAt: NOW + 60_000 })
    expect(scheduler.timers).toBe(timers + 1)
    watch[Symbol.dispose]()
    expect(scheduler.timers).toBe(timers)
    join('late', { user: 'late', expiresAt: NOW + 60_000 })
    expect(scheduler.timers).toBe(timers)
  })

  it('a client whose session is over is ended a tick later where the process was stopped: a newer token is read first', () => {
    join('ada', { user: 'ada', expiresAt: NOW + 5000 })
    scheduler.advance(3000)
    scheduler.block(4000)
    expect(ends).toEqual([])
    hub.setSession('ada', { user: 'ada', expiresAt: NOW + 60_000 })
    scheduler.advance(10_000)
    expect(ends).toEqual([])
  })

  it('a handler that ends others while they are ended hurts nobody', () => {
    for (let at = 0; at < 10; at++) join(`u${at}`, { user: `u${at}`, expiresAt: NOW + 1000 })
    hub.events.on('unregister', ({ id }) => {
      const next = `u${(Number(id.slice(1)) + 1) % 10}`
      hub.unregisterClient(next, 'ended')
    })
    scheduler.advance(4000)
    expect(ends).toHaveLength(10)
    expect(watch.size).toBe(0)
  })
})

describe('deadlines', () => {
  it('give out what is due, each once, and leave the rest', () => {
    const deadlines = new Deadlines<number>(NOW)
    for (let at = 0; at < 10_000; at++) deadlines.add(at, NOW + 1000 + at)
    expect(deadlines.due(NOW + 2000)).toEqual(Array.from({ length: 1001 }, (_, at) => at))
    expect(deadlines.due(NOW + 2999)).toEqual([])
    expect(deadlines.size).toBe(8999)
    deadlines.add(9999, NOW + 2500)
    deadlines.remove(9998)
    expect(deadlines.due(NOW + 3000)).toHaveLength(1001)
    expect(deadlines.due(NOW + 20_000)).toHaveLength(7997)
  })

  it('survive any jump of the clock', () => {
    const deadlines = new Deadlines<string>(NOW)
    deadlines.add('a', NOW + 5000)
    expect(deadlines.due(NOW - 1e9)).toEqual([])
    expect(deadlines.due(NOW + 4999)).toEqual([])
    expect(deadlines.due(NOW + 1e12)).toEqual(['a'])
    deadlines.add('b', NOW)
    expect(deadlines.due(NOW + 1e12 + 1000)).toEqual(['b'])
    // Set back again: what is due soon must not wait until the clock is where it was.
    expect(deadlines.due(NOW)).toEqual([])
    deadlines.add('c', NOW + 10_000)
    expect(deadlines.due(NOW + 10_000)).toEqual(['c'])
    expect(deadlines.size).toBe(0)
  })
})
