import { describe, expect, it } from 'vitest'
import { parseTopicName } from '../../src/core/ids.ts'
import type { Handshake, Session } from '../../src/core/sessions.ts'
import { ApiKeys, newApiKey } from '../../src/sessions/api-keys.ts'
import { sessionChain } from '../../src/sessions/chain.ts'
import { cookieOf } from '../../src/sessions/cookie.ts'
import { jwtSessions } from '../../src/sessions/jwt.ts'
import { Revocations } from '../../src/sessions/revocations.ts'
import { Tickets } from '../../src/sessions/tickets.ts'
import { HS_OPTIONS, NOW, refusalOf, token } from './tokens.ts'

const now = () => NOW
const backend = newApiKey()
const admin = newApiKey()
const apiKeys = new ApiKeys([
  { name: 'app', sha256: backend.sha256, scopes: ['publish'] },
  { name: 'ops', sha256: admin.sha256, scopes: ['admin'] },
])
const news = parseTopicName('news')

function make(extra: object = {}) {
  const tickets = new Tickets({ now })
  const revocations = new Revocations({ now })
  const tokens = jwtSessions({ ...HS_OPTIONS, revoked: revocations.revoked })
  const chain = sessionChain({ tickets, apiKeys, tokens, revocations, ...extra })
  const enter = (handshake: Partial<Handshake>) => chain.authenticate({ protocol: 'test', ...handshake })
  return {
    tickets,
    revocations,
    chain,
    enter,
    refusal: (handshake: Partial<Handshake>) => refusalOf(() => enter(handshake)),
  }
}

describe('the chain', () => {
  it('knows a backend by its key, as a bearer or in x-api-key', async () => {
    const { chain, enter } = make()
    for (const handshake of [{ token: backend.key }, { headers: { 'x-api-key': backend.key } }]) {
      const session = await enter(handshake)
      expect(session.backend).toBe(true)
      expect(chain.authorize(session, 'publish', news)).toBe(true)
    }
  })

  it('lets a key for the API alone not connect, and asks nobody else about a wrong one', async () => {
    const { refusal } = make()
    expect(await refusal({ token: admin.key })).toBe('PERMISSION_DENIED')
    expect(await refusal({ headers: { 'x-api-key': `${backend.key}x` } })).toBe('UNAUTHENTICATED key')
    // As a bearer it could be a token.
    expect(await refusal({ token: `${backend.key}x` })).toBe('UNAUTHENTICATED malformed')
  })

  it('takes tokens from the handshake before the cookie', async () => {
    const { enter, refusal } = make({ cookie: 'session' })
    const [ada, eve] = [await token(), await token({ sub: 'eve' })]
    const headers = { cookie: `a=b; session="${eve}"; session=x` }
    expect((await enter({ headers })).user).toBe('eve')
    expect((await enter({ token: ada, headers })).user).toBe('ada')
    expect(await refusal({ headers: { cookie: 'session=' } })).toBe('UNAUTHENTICATED missing')
    expect(await make().refusal({ headers })).toBe('UNAUTHENTICATED missing')
  })

  it('redeems a ticket before all else, and does not look further when it is refused', async () => {
    const { tickets, enter, refusal } = make()
    const session: Session = { user: 'ada', issuedAt: NOW, grants: { subscribe: [], publish: [] } }
    const { ticket } = tickets.issue(session)
    expect(await enter({ ticket, token: backend.key })).toEqual(session)
    expect(await refusal({ ticket, token: backend.key })).toBe('UNAUTHENTICATED used')
    expect(await make({ tickets: undefined }).refusal({ ticket })).toBe('UNAUTHENTICATED key')
  })

  it('rejects anonymous grants for the topics of a user', () => {
    expect(() => make({ anonymous: { subscribe: ['news', 'users/{user}'] } })).toThrow(/anonymous.*\{user\}/)
  })

  it('lets nobody in as nobody, unless that is allowed, and who brings something wrong not at all', async () => {
    expect(await make().refusal({})).toBe('UNAUTHENTICATED missing')
    const { chain, enter, refusal } = make({ anonymous: { subscribe: ['news'] }, cookie: 'session' })
    const session = await enter({})
    expect(session.user).toBeUndefined()
    expect(chain.authorize(session, 'subscribe', news)).toBe(true)
    expect(chain.authorize(session, 'publish', news)).toBe(false)
    const eve = await token({}, { key: Buffer.alloc(32, 3) })
    expect(await refusal({ token: eve })).toBe('UNAUTHENTICATED signature')
    expect(await refusal({ headers: { cookie: `session=${eve}` } })).toBe('UNAUTHENTICATED signature')
    expect(await refusal({ headers: { 'x-api-key': 'x' } })).toBe('UNAUTHENTICATED key')
    expect(await refusal({ ticket: 'x' })).toBe('UNAUTHENTICATED malformed')
  })

  it('with keys alone lets those in and nobody else', async () => {
    const { enter, refusal } = make({ tokens: undefined })
    expect((await enter({ token: backend.key })).backend).toBe(true)
    expect(await refusal({ token: 'x' })).toBe('UNAUTHENTICATED key')
    expect(await refusal({})).toBe('UNAUTHENTICATED missing')
  })

  it('F8: refuses what was revoked: tokens, tickets, refreshes, and says so of sessions', async () => {
    const { tickets, revocations, chain, enter, refusal } = make()
    const text = await token()
    const session = await enter({ token: text })
    const { ticket } = tickets.issue(session)
    const subscription = await token({ channel: 'news', jti: 'other' })
    expect(chain.revoked!(session)).toBe(false)
    revocations.revokeUser('ada')
    expect(chain.revoked!(session)).toBe(true)
    expect(await refusal({ token: text })).toBe('UNAUTHENTICATED revoked')
    expect(await refusal({ ticket })).toBe('UNAUTHENTICATED revoked')
    expect(await refusalOf(() => chain.refresh!(session, text))).toBe('UNAUTHENTICATED revoked')
    expect(await refusalOf(() => chain.grant!(session, subscription, news))).toBe('UNAUTHENTICATED revoked')
  })

  it('asks the manager of tokens where a session has no grants, and refuses where there is none', async () => {
    const tokens = {
      authenticate: () => ({ user: 'x' }),
      authorize: async (_: Session, action: string) => action === 'subscribe',
    }
    const { chain } = make({ tokens })
    expect(await chain.authorize({ user: 'x' }, 'subscribe', news)).toBe(true)
    expect(await chain.authorize({ user: 'x' }, 'publish', news)).toBe(false)
    expect(await make({ tokens: undefined }).chain.authorize({ user: 'x' }, 'subscribe', news)).toBe(false)
    expect([chain.grant, chain.refresh]).toEqual([undefined, undefined])
  })

  it('lets a refresh change nobody into another', async () => {
    const tokens = { authenticate: () => ({}), authorize: () => true, refresh: () => ({ user: 'eve' }) }
    const { chain } = make({ tokens })
    expect(await refusalOf(() => chain.refresh!({ user: 'ada' }, 'x'))).toBe('PERMISSION_DENIED')
  })
})

describe('one cookie', () => {
  const cases: [string | string[] | undefined, string | undefined][] = [
    ['s=1', '1'],
    ['a=0; s=1; s=2', '1'],
    ['xs=0; s=1', '1'],
    [' s = 1 ', '1'],
    ['s="a.b"', 'a.b'],
    ['s=a=b', 'a=b'],
    ['s', undefined],
    ['=1', undefined],
    ['', undefined],
    [undefined, undefined],
    [['a=1', 's=2'], '2'],
  ]
  it.each(cases)('%j', (header, value) => expect(cookieOf(header, 's')).toBe(value))
})
