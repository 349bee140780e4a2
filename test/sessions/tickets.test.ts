import { beforeEach, describe, expect, it } from 'vitest'
import type { Session } from '../../src/core/sessions.ts'
import { parseGrants } from '../../src/sessions/grants.ts'
import { Tickets } from '../../src/sessions/tickets.ts'
import { refusalOf } from './tokens.ts'

const ada: Session = {
  user: 'ada',
  tokenId: 't',
  issuedAt: 1,
  grants: parseGrants({ subscribe: ['chat/*'], publish: ['chat/*'] }),
}

describe('tickets', () => {
  let now: number
  let tickets: Tickets
  beforeEach(() => {
    now = 1_000_000
    tickets = new Tickets({ now: () => now })
  })

  it('open one session, once', async () => {
    const { ticket, expiresAt } = tickets.issue(ada)
    expect(ticket).toMatch(/^[\w-]{43}$/)
    expect(expiresAt).toBe(now + 30_000)
    expect(tickets.redeem(ticket)).toEqual(ada)
    expect(await refusalOf(() => tickets.redeem(ticket))).toBe('UNAUTHENTICATED used')
    expect(tickets.issue(ada).ticket).not.toBe(ticket)
  })

  it('are over after their time', async () => {
    const [one, two] = [tickets.issue(ada).ticket, tickets.issue(ada, { ttlMs: 1000 }).ticket]
    now += 999
    expect(tickets.redeem(two)).toEqual(ada)
    now += 29_001
    expect(await refusalOf(() => tickets.redeem(one))).toBe('UNAUTHENTICATED expired')
  })

  it('last no longer than the session', async () => {
    const { ticket, expiresAt } = tickets.issue({ ...ada, expiresAt: now + 500 })
    expect(expiresAt).toBe(now + 500)
    now += 500
    expect(await refusalOf(() => tickets.redeem(ticket))).toBe('UNAUTHENTICATED expired')
  })

  it('that nobody issued are refused', async () => {
    expect(await refusalOf(() => tickets.redeem('x'.repeat(43)))).toBe('UNAUTHENTICATED expired')
    for (const wrong of ['', 'x', 'x'.repeat(44), `${'x'.repeat(42)}=`, 'x'.repeat(1_000_000)]) {
      expect(await refusalOf(() => tickets.redeem(wrong))).toBe('UNAUTHENTICATED malformed')
    }
  })

  it('may be for some topics only, and then nothing can be published', () => {
    const session = tickets.redeem(tickets.issue(ada, { topics: ['chat/one'] }).ticket)
    expect(session).toEqual({ ...ada, grants: { subscribe: ['chat/one'], publish: [] } })
    for (const topics of [['news'], ['chat/one', 'news'], ['chat/**']]) {
      expect(() => tickets.issue(ada, { topics })).toThrow(expect.objectContaining({ code: 'PERMISSION_DENIED' }))
    }
    expect(() => tickets.issue(ada, { topics: ['a b'] })).toThrow(expect.objectContaining({ code: 'TOPIC_INVALID' }))
    const many = Array.from({ length: 129 }, () => 'chat/x')
    expect(() => tickets.issue(ada, { topics: many })).toThrow(expect.objectContaining({ code: 'REQUEST_INVALID' }))
  })

  it('of a backend make nobody a backend', () => {
    const session = tickets.redeem(tickets.issue({ backend: true, user: 'ada' }, { topics: ['x/**'] }).ticket)
    expect(session.backend).toBeUndefined()
    expect(session.grants).toEqual({ subscribe: ['x/**'], publish: [] })
  })

  it('are bounded, in all and for one user, and make room when they are over', () => {
    tickets = new Tickets({ now: () => now, max: 3, maxPerUser: 2 })
    tickets.issue(ada)
    const { ticket } = tickets.issue(ada)
    // A used one counts until its time is over: it has to be known as used.
    tickets.redeem(ticket)
    expect(() => tickets.issue(ada)).toThrow(expect.objectContaining({ code: 'RATE_LIMITED', retryMs: 30_000 }))
    tickets.issue({ user: 'eve' })
    expect(() => tickets.issue({})).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }))
    now += 30_000
    tickets.issue(ada)
    tickets.issue(ada)
    expect(() => tickets.issue(ada)).toThrow(expect.objectContaining({ code: 'RATE_LIMITED' }))
    expect(tickets.size).toBe(2)
  })

  it('that are over go by and by, without a limit being reached', () => {
    for (let second = 0; second < 120; second++) {
      for (let user = 0; user < 10; user++) tickets.issue({ user: `u${user}` })
      now += 1000
    }
    expect(tickets.size).toBeLessThanOrEqual(620)
  })

  it('have a time within bounds', () => {
    for (const ttlMs of [0, -1, 300_001, Number.NaN]) {
      expect(() => tickets.issue(ada, { ttlMs })).toThrow(expect.objectContaining({ code: 'REQUEST_INVALID' }))
      expect(() => new Tickets({ ttlMs })).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
    }
  })
})
