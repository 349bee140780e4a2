import { beforeEach, describe, expect, it } from 'vitest'
import { Revocations } from '../../src/sessions/revocations.ts'
import { NOW } from './tokens.ts'

describe('revocations', () => {
  let now: number
  let revocations: Revocations
  beforeEach(() => {
    now = NOW
    revocations = new Revocations({ now: () => now, maxTokenMs: 600_000, max: 3 })
  })

  it('of a user end what was issued up to now, and nothing later', () => {
    revocations.revokeUser('ada')
    expect(revocations.revoked({ user: 'ada', issuedAt: NOW - 1 })).toBe(true)
    expect(revocations.revoked({ user: 'ada', issuedAt: NOW })).toBe(true)
    expect(revocations.revoked({ user: 'ada', issuedAt: NOW + 1000 })).toBe(false)
    expect(revocations.revoked({ user: 'ada' })).toBe(true)
    expect(revocations.revoked({ user: 'eve', issuedAt: NOW - 1 })).toBe(false)
    expect(revocations.revoked({})).toBe(false)
    // Again, later: what came in between ends too.
    now += 5000
    revocations.revokeUser('ada')
    expect(revocations.revoked({ user: 'ada', issuedAt: NOW + 1000 })).toBe(true)
  })

  it('of a token end it alone', () => {
    revocations.revokeToken('one')
    expect(revocations.revoked({ user: 'ada', tokenId: 'one', issuedAt: NOW + 9999 })).toBe(true)
    expect(revocations.revoked({ user: 'ada', tokenId: 'two' })).toBe(false)
    expect(revocations.revoked({ user: 'one' })).toBe(false)
  })

  it('are forgotten when no token of that age can be valid, and not before', () => {
    revocations.revokeUser('ada')
    now += 300_000
    revocations.revokeToken('one')
    now = NOW + 600_000 + 120_000
    expect(revocations.size).toBe(2)
    expect(revocations.revoked({ user: 'ada', issuedAt: NOW })).toBe(true)
    now += 1
    expect(revocations.size).toBe(1)
    now += 300_000
    expect(revocations.size).toBe(0)
  })

  it('are bounded: a further one is refused, and none is forgotten for it', () => {
    for (const user of ['a', 'b', 'c']) revocations.revokeUser(user)
    expect(() => revocations.revokeToken('x')).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }))
    expect(revocations.revoked({ user: 'a', issuedAt: 1 })).toBe(true)
    // One that is there already may be renewed.
    revocations.revokeUser('a')
    now += 10_000_000
    revocations.revokeToken('x')
    expect(revocations.size).toBe(1)
  })
})
