import { generateKeyPairSync } from 'node:crypto'
import { UnsecuredJWT } from 'jose'
import { describe, expect, it } from 'vitest'
import { parseTopicName, type TopicName } from '../../src/core/ids.ts'
import { parsePattern } from '../../src/core/patterns.ts'
import type { Action, Session } from '../../src/core/sessions.ts'
import { userSegment } from '../../src/sessions/grants.ts'
import { type JwtOptions, jwtSessions } from '../../src/sessions/jwt.ts'
import { CLAIMS, HS_OPTIONS, NOW, NOW_S, PAIRS, refusalOf, SECRET, spki, token } from './tokens.ts'

const sessions = jwtSessions(HS_OPTIONS)
const enter = (text: string | undefined) => sessions.authenticate({ protocol: 'test', token: text })
const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
const news = parseTopicName('news')

describe('a good token', () => {
  it('says who it is, until when, and what he may do', async () => {
    const topics = { subscribe: ['chat/*', 'news'], publish: ['chat/ada'] }
    const session = await enter(await token({ topics, info: { name: 'Ada' } }))
    expect(session).toEqual({
      ...{ user: 'ada', tokenId: 'token-1', issuedAt: (NOW_S - 10) * 1000, expiresAt: (NOW_S + 600) * 1000 },
      ...{ info: { name: 'Ada' }, grants: topics },
    })
    const may = (action: 'subscribe' | 'publish' | 'presence' | 'history', topic: string) =>
      sessions.authorize(session, action, parsePattern(topic))
    expect(may('subscribe', 'chat/x')).toBe(true)
    expect(may('presence', 'chat/x')).toBe(true)
    expect(may('history', 'news')).toBe(true)
    expect(may('subscribe', 'chat/*')).toBe(true)
    expect(may('publish', 'chat/ada')).toBe(true)
    expect(may('publish', 'chat/x')).toBe(false)
    expect(may('publish', 'news')).toBe(false)
    expect(may('subscribe', 'chat/**')).toBe(false)
    expect(may('subscribe', 'chat/x/y')).toBe(false)
  })

  it('that says nothing of topics may do nothing, or what the options say', async () => {
    const text = await token()
    expect(sessions.authorize(await enter(text), 'subscribe', news)).toBe(false)
    const generous = jwtSessions({ ...HS_OPTIONS, defaultGrants: { subscribe: ['**'] } })
    const session = await generous.authenticate({ protocol: 'test', token: text })
    expect(generous.authorize(session, 'subscribe', news)).toBe(true)
    expect(generous.authorize(session, 'publish', news)).toBe(false)
    // An empty claim is a claim.
    const none = await generous.authenticate({ protocol: 'test', token: await token({ topics: {} }) })
    expect(generous.authorize(none, 'subscribe', news)).toBe(false)
  })

  it.each(['in the token', 'by default'])('grants the topics of its own user (%s)', async where => {
    const topics = { subscribe: ['users/{user}/**', 'news'], publish: ['users/{user}'] }
    const manager = jwtSessions({ ...HS_OPTIONS, ...(where === 'by default' && { defaultGrants: topics }) })
    const given = where === 'by default' ? {} : { topics }
    const ada = await manager.authenticate({ protocol: 'test', token: await token(given) })
    const eve = await manager.authenticate({ protocol: 'test', token: await token({ ...given, sub: 'eve' }) })
    const may = (session: Session, action: Action, topic: string) =>
      manager.authorize(session, action, topic as TopicName)
    expect(may(ada, 'subscribe', 'users/ada/inbox')).toBe(true)
    expect(may(ada, 'publish', 'users/ada')).toBe(true)
    expect(may(ada, 'subscribe', 'news')).toBe(true)
    expect(may(ada, 'subscribe', 'users/eve/inbox')).toBe(false)
    expect(may(eve, 'subscribe', 'users/eve/inbox')).toBe(true)
    expect(may(eve, 'publish', 'users/ada')).toBe(false)
    expect(may(ada, 'subscribe', 'users/{user}/inbox')).toBe(false)
  })

  it.each(['*', '**', 'a/b', '..', '.', '/', 'auth0|7', 'ann@example.org', 'ü', '\ud800', ':2a:', '{user}'])(
    'of the user %j grants one segment and no other user’s',
    async sub => {
      const manager = jwtSessions({ ...HS_OPTIONS, defaultGrants: { subscribe: ['users/{user}/**'] } })
      const session = await manager.authenticate({ protocol: 'test', token: await token({ sub }) })
      const may = (topic: string) => manager.authorize(session, 'subscribe', topic as TopicName)
      expect(may(`users/${userSegment(sub)}/inbox`)).toBe(true)
      for (const other of ['ada', '2a', ':2a:', '*', 'a', 'auth0', '\ud801', '\ufffd', '7']) {
        if (other !== sub) expect([other, may(`users/${userSegment(other)}/inbox`)]).toEqual([other, false])
      }
    },
  )

  it('of a user whose segment makes the topic too long grants nothing of it', async () => {
    const manager = jwtSessions({ ...HS_OPTIONS, defaultGrants: { subscribe: ['users/{user}/**', 'news'] } })
    const session = await manager.authenticate({ protocol: 'test', token: await token({ sub: 'ü'.repeat(100) }) })
    expect(session.grants!.subscribe).toEqual(['news'])
  })

  it.each(['RS256', 'PS256', 'ES256', 'EdDSA'] as const)('may be signed by %s', async alg => {
    const { publicKey, privateKey } = PAIRS[alg]
    const { secret: _, ...rest } = HS_OPTIONS
    const manager = jwtSessions({ ...rest, publicKey: spki(publicKey), algorithms: [alg] })
    const text = await token({}, { alg, key: privateKey })
    expect((await manager.authenticate({ protocol: 'test', token: text })).user).toBe('ada')
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    const other = alg === 'ES256' ? stranger : PAIRS[alg === 'RS256' ? 'PS256' : 'RS256'].privateKey
    const forged = await token({}, { alg: alg === 'EdDSA' ? 'RS256' : alg, key: other })
    const answer = await refusalOf(() => manager.authenticate({ protocol: 'test', token: forged }))
    expect(answer).toBe(alg === 'EdDSA' ? 'UNAUTHENTICATED algorithm' : 'UNAUTHENTICATED signature')
  })

  it('of another user does not refresh a session', async () => {
    const session = await enter(await token())
    const newer = await sessions.refresh!(session, await token({ exp: NOW_S + 900 }))
    expect(newer.expiresAt).toBe((NOW_S + 900) * 1000)
    const eve = await token({ sub: 'eve' })
    expect(await refusalOf(() => sessions.refresh!(session, eve))).toBe('PERMISSION_DENIED')
    expect(await refusalOf(() => sessions.refresh!(session, ''))).toBe('UNAUTHENTICATED missing')
  })
})

describe('F1: what is no token of ours', () => {
  const [, payload] = ['', base64(CLAIMS)]
  const cases: [string, () => string | Promise<string>, string][] = [
    ['alg none', () => new UnsecuredJWT(CLAIMS).encode(), 'algorithm'],
    ['alg None', () => `${base64({ alg: 'None' })}.${payload}.`, 'algorithm'],
    ['alg of another kind', async () => token({}, { alg: 'RS256', key: PAIRS.RS256.privateKey }), 'algorithm'],
    ['alg HS512 where HS256 is configured', () => token({}, { alg: 'HS512', key: Buffer.alloc(64, 7) }), 'algorithm'],
    ['an unknown crit', async () => withHeader(await token(), { alg: 'HS256', crit: ['x'], x: 1 }), 'malformed'],
    ['b64 false', async () => withHeader(await token(), { alg: 'HS256', crit: ['b64'], b64: false }), 'signature'],
    ['another secret', () => token({}, { key: Buffer.from(`${SECRET}!`) }), 'signature'],
    ['a changed claim', async () => changed(await token()), 'signature'],
    ['four parts', async () => `${await token()}.x`, 'malformed'],
    ['one part', () => 'x', 'malformed'],
    ['nothing', () => '', 'missing'],
    ['white space', () => ' ', 'malformed'],
    ['a JWE of five parts', async () => `${await token()}.x.y`, 'malformed'],
    ['a megabyte', async () => `${await token()}${'x'.repeat(1024 * 1024)}`, 'malformed'],
    ['no object for claims', () => signedText('[]'), 'malformed'],
    ['no JSON for claims', () => signedText('{'), 'malformed'],
  ]
  it.each(cases)('%s', async (_, make, reason) => {
    const text = await make()
    expect(await refusalOf(() => enter(text))).toBe(`UNAUTHENTICATED ${reason}`)
  })

  it('HS256 with the public key for its secret', async () => {
    const { publicKey } = PAIRS.RS256
    const { secret: _, ...rest } = HS_OPTIONS
    const manager = jwtSessions({ ...rest, publicKey: spki(publicKey), algorithms: ['RS256'] })
    const text = await token({}, { key: Buffer.from(spki(publicKey)) })
    const answer = await refusalOf(() => manager.authenticate({ protocol: 'test', token: text }))
    expect(answer).toBe('UNAUTHENTICATED algorithm')
  })

  it('takes 8 KiB, and reads nothing of a token beyond', async () => {
    const large = await token({ pad: 'x'.repeat(5700) })
    expect(large.length).toBeLessThanOrEqual(8192)
    expect(large.length).toBeGreaterThan(7500)
    expect((await enter(large)).user).toBe('ada')
    const larger = await token({ pad: 'x'.repeat(6200) })
    expect(larger.length).toBeGreaterThan(8192)
    expect(await refusalOf(() => enter(larger))).toBe('UNAUTHENTICATED malformed')
  })
})

describe('F2: options that would let too much through', () => {
  const { secret: _secret, ...keyless } = HS_OPTIONS
  const cases: [string, object, RegExp][] = [
    ['no issuer', { issuer: undefined }, /issuer/],
    ['an empty issuer', { issuer: '' }, /issuer/],
    ['no audience', { audience: undefined }, /audience/],
    ['an empty list of audiences', { audience: [] }, /audience/],
    ['no algorithms', { algorithms: undefined }, /algorithms/],
    ['an empty list of algorithms', { algorithms: [] }, /algorithms/],
    ['none among the algorithms', { algorithms: ['none'] }, /algorithms/],
    ['a secret of 31 bytes', { secret: SECRET.slice(0, 31) }, /at least 32 bytes/],
    ['a secret out of a manual', { secret: 'a-string-secret-at-least-256-bits-long' }, /guess/],
    ['a secret of one letter', { secret: 'a'.repeat(64) }, /guess/],
    ['no key', { secret: undefined }, /exactly one/],
    ['two keys', { publicKey: spki(PAIRS.RS256.publicKey) }, /exactly one/],
    ['a secret for RS256', { algorithms: ['RS256'] }, /algorithms/],
    ['a secret for HS256 and RS256', { algorithms: ['HS256', 'RS256'] }, /algorithms/],
    ['a public key for HS256', { secret: undefined, publicKey: spki(PAIRS.RS256.publicKey) }, /algorithms/],
    ['a key set for HS256', { secret: undefined, jwksUrl: 'https://issuer.example/keys' }, /algorithms/],
    ['a key set in a file', { secret: undefined, jwksUrl: 'file:///etc/passwd', algorithms: ['RS256'] }, /https/],
    ['a private key', { secret: undefined, publicKey: pkcs8(), algorithms: ['RS256'] }, /BEGIN PUBLIC KEY/],
    ['an RSA key of 1024 bits', { secret: undefined, publicKey: shortRsa(), algorithms: ['RS256'] }, /2048/],
    ['an EC key for RS256', { secret: undefined, publicKey: spki(PAIRS.ES256.publicKey), algorithms: ['RS256'] }, /ec/],
    ['a default grant that is no pattern', { defaultGrants: { subscribe: ['a b'] } }, /defaultGrants/],
    ['a default grant with {user} in a segment', { defaultGrants: { subscribe: ['a-{user}'] } }, /defaultGrants/],
  ]
  it.each(cases)('%s', (_, wrong, message) => {
    const options = { ...HS_OPTIONS, ...wrong } as unknown as JwtOptions
    expect(() => jwtSessions(options)).toThrowError(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringMatching(message) }),
    )
    expect(() => jwtSessions(options)).not.toThrowError(new RegExp(SECRET.slice(0, 31)))
  })

  it('takes each of the three keys', () => {
    expect(() => jwtSessions(HS_OPTIONS)).not.toThrow()
    expect(() => jwtSessions({ ...keyless, secret: Buffer.from(SECRET) })).not.toThrow()
    expect(() =>
      jwtSessions({ ...keyless, publicKey: spki(PAIRS.ES256.publicKey), algorithms: ['ES256'] }),
    ).not.toThrow()
    expect(() =>
      jwtSessions({ ...keyless, jwksUrl: 'https://issuer.example/keys', algorithms: ['RS256', 'ES256'] }),
    ).not.toThrow()
  })

  it.each(['exp', 'sub', 'iss', 'aud'])('a token without %s is refused', async claim => {
    const reason = claim === 'iss' ? 'issuer' : claim === 'aud' ? 'audience' : 'claims'
    const text = await token({ [claim]: undefined })
    expect(await refusalOf(() => enter(text))).toBe(`UNAUTHENTICATED ${reason}`)
  })
})

describe('F3: time', () => {
  const cases: [string, object, string][] = [
    ['expired 61 s ago', { exp: NOW_S - 61, iat: NOW_S - 600 }, 'UNAUTHENTICATED expired'],
    ['expired 60 s ago', { exp: NOW_S - 60, iat: NOW_S - 600 }, 'UNAUTHENTICATED expired'],
    ['expired 59 s ago', { exp: NOW_S - 59, iat: NOW_S - 600 }, 'taken'],
    ['not before 61 s from now', { nbf: NOW_S + 61 }, 'UNAUTHENTICATED early'],
    ['not before 60 s from now', { nbf: NOW_S + 60 }, 'taken'],
    ['made 61 s from now', { iat: NOW_S + 61 }, 'UNAUTHENTICATED early'],
    ['made 60 s from now', { iat: NOW_S + 60 }, 'taken'],
    ['good for more than a day', { iat: NOW_S, exp: NOW_S + 86_401 }, 'UNAUTHENTICATED claims'],
    ['good for a day', { iat: NOW_S, exp: NOW_S + 86_400 }, 'taken'],
    ['good for ever, and nobody knows since when', { iat: undefined, exp: NOW_S + 1e8 }, 'UNAUTHENTICATED claims'],
    ['of which nobody knows since when', { iat: undefined }, 'taken'],
    ['with a time as text', { exp: '1767225700' }, 'UNAUTHENTICATED claims'],
  ]
  it.each(cases)('%s', async (_, claims, answer) => {
    const text = await token(claims)
    expect(await refusalOf(() => enter(text))).toBe(answer)
  })

  it('what is let in within the skew ends with it', async () => {
    const { expiresAt } = await enter(await token({ exp: NOW_S - 30, iat: NOW_S - 600 }))
    expect(expiresAt).toBe(NOW + 30_000)
  })

  it('a token that does not say when it was made is as old as it can be', async () => {
    const { issuedAt } = await enter(await token({ iat: undefined, exp: NOW_S + 600 }))
    expect(issuedAt).toBe(NOW + 600_000 - 86_400_000)
  })
})

describe('claims', () => {
  const cases: [string, object][] = [
    ['an empty user', { sub: '' }],
    ['a user of 256 characters', { sub: 'x'.repeat(256) }],
    ['a user with a line end', { sub: 'a\nb' }],
    ['a user that is no text', { sub: 7 }],
    ['a token id of 256 characters', { jti: 'x'.repeat(256) }],
    ['topics that are a list', { topics: ['**'] }],
    ['topics with another key', { topics: { subscribes: ['**'] } }],
    ['a pattern that is none', { topics: { subscribe: ['a/**/b'] } }],
    ['a pattern of nine segments', { topics: { publish: ['a/b/c/d/e/f/g/h/*'] } }],
    ['a pattern that is no text', { topics: { subscribe: [7] } }],
    ['129 patterns', { topics: { subscribe: Array.from({ length: 129 }, (_, at) => `t/${at}`) } }],
    ['an info of more than 1 KiB', { info: 'x'.repeat(1023) }],
  ]
  it.each(cases)('%s', async (_, claims) => {
    const text = await token(claims)
    expect(await refusalOf(() => enter(text))).toBe('UNAUTHENTICATED claims')
  })

  it('an info of 1 KiB is taken, and one of two bytes a character by its bytes', async () => {
    expect((await enter(await token({ info: 'x'.repeat(1022) }))).info).toHaveLength(1022)
    const text = await token({ info: 'é'.repeat(600) })
    expect(await refusalOf(() => enter(text))).toBe('UNAUTHENTICATED claims')
  })

  it('__proto__ is a claim like any other that nobody asks for', async () => {
    const text = await signedText(`{"__proto__":{"topics":{"subscribe":["**"]}},${JSON.stringify(CLAIMS).slice(1)}`)
    const session = await enter(text)
    expect(session.grants).toEqual({ subscribe: [], publish: [] })
    expect(({} as { topics?: unknown }).topics).toBeUndefined()
  })
})

describe('F6: for somebody else, from somebody else, of another kind', () => {
  const cases: [string, object, object, string][] = [
    ['another audience', { aud: 'other' }, {}, 'audience'],
    ['several others', { aud: ['other', 'hub'] }, {}, 'audience'],
    ['another issuer', { iss: 'https://evil.example' }, {}, 'issuer'],
    ['an ID token by its typ', {}, { typ: 'logout+jwt' }, 'type'],
    ['a subscription token', { channel: 'news' }, {}, 'type'],
    [
      'a subscription token, whatever it has of the other kind',
      { channel: '', topics: { subscribe: ['**'] } },
      {},
      'type',
    ],
  ]
  it.each(cases)('%s', async (_, claims, header, reason) => {
    const text = await token(claims, { header })
    expect(await refusalOf(() => enter(text))).toBe(`UNAUTHENTICATED ${reason}`)
  })

  it.each(['JWT', 'at+jwt', 'application/at+jwt'])('takes typ %s', async typ => {
    expect((await enter(await token({}, { header: { typ } }))).user).toBe('ada')
  })

  it('takes only the type that the options name', async () => {
    const strict = jwtSessions({ ...HS_OPTIONS, type: 'at+jwt' })
    const plain = await token()
    expect(await refusalOf(() => strict.authenticate({ protocol: 'test', token: plain }))).toBe('UNAUTHENTICATED type')
    const typed = await token({}, { header: { typ: 'AT+JWT' } })
    expect((await strict.authenticate({ protocol: 'test', token: typed })).user).toBe('ada')
  })

  it('a connection token is no subscription token', async () => {
    const session = await enter(await token())
    const text = await token({ topics: { subscribe: ['**'] } })
    expect(await refusalOf(() => sessions.grant!(session, text, news))).toBe('UNAUTHENTICATED type')
  })
})

describe('F7: a subscription token', () => {
  const session = { user: 'ada' }

  it('lets its user into its topic until it ends', async () => {
    const text = await token({ channel: 'news', info: { role: 'reader' } })
    expect(await sessions.grant!(session, text, news)).toEqual({
      expiresAt: (NOW_S + 600) * 1000,
      info: { role: 'reader' },
    })
    const longer = await token({ channel: 'news', expire_at: NOW_S + 5000 })
    expect((await sessions.grant!(session, longer, news)).expiresAt).toBe((NOW_S + 5000) * 1000)
    const always = await token({ channel: 'news', expire_at: 0 })
    expect((await sessions.grant!(session, always, news)).expiresAt).toBeUndefined()
  })

  const cases: [string, object, string][] = [
    ['another topic', { channel: 'other' }, 'PERMISSION_DENIED'],
    ['a wildcard over it', { channel: '**' }, 'PERMISSION_DENIED'],
    ['another spelling', { channel: '/news' }, 'PERMISSION_DENIED'],
    ['another user', { channel: 'news', sub: 'eve' }, 'PERMISSION_DENIED'],
    ['a time that is over', { channel: 'news', exp: NOW_S - 61, iat: NOW_S - 100 }, 'UNAUTHENTICATED expired'],
    ['an expire_at that is over', { channel: 'news', expire_at: NOW_S - 600 }, 'UNAUTHENTICATED expired'],
    ['an expire_at that is now', { channel: 'news', expire_at: NOW_S }, 'UNAUTHENTICATED expired'],
    ['a channel that is no text', { channel: 7 }, 'UNAUTHENTICATED claims'],
  ]
  it.each(cases)('for %s is refused', async (_, claims, answer) => {
    const text = await token(claims)
    expect(await refusalOf(() => sessions.grant!(session, text, news))).toBe(answer)
  })

  it('for a pattern is refused to who asks for just that', async () => {
    const text = await token({ channel: 'news/*' })
    const asked = parsePattern('news/*') as never
    expect(await refusalOf(() => sessions.grant!(session, text, asked))).toBe('PERMISSION_DENIED')
  })

  it('is for nobody who has no user', async () => {
    const text = await token({ channel: 'news' })
    expect(await refusalOf(() => sessions.grant!({}, text, news))).toBe('PERMISSION_DENIED')
  })
})

describe('F8: revoked', () => {
  it('is refused at connect, at refresh and for a topic', async () => {
    const gone = new Set(['token-1'])
    const manager = jwtSessions({ ...HS_OPTIONS, revoked: ({ tokenId }) => gone.has(tokenId ?? '') })
    const [connection, subscription] = [await token(), await token({ channel: 'news' })]
    const ada = { user: 'ada' }
    const answers = [
      await refusalOf(() => manager.authenticate({ protocol: 'test', token: connection })),
      await refusalOf(() => manager.refresh!(ada, connection)),
      await refusalOf(() => manager.grant!(ada, subscription, news)),
    ]
    expect(answers).toEqual(Array(3).fill('UNAUTHENTICATED revoked'))
    expect(manager.revoked!({ tokenId: 'token-1' })).toBe(true)
    expect(manager.revoked!({ tokenId: 'token-2' })).toBe(false)
  })
})

function withHeader(text: string, header: object): string {
  return [base64(header), ...text.split('.').slice(1)].join('.')
}

function changed(text: string): string {
  const [header, , signature] = text.split('.')
  return [header, base64({ ...CLAIMS, sub: 'eve' }), signature].join('.')
}

/** A right signature over what need not be claims. */
async function signedText(payload: string): Promise<string> {
  const { CompactSign } = await import('jose')
  return new CompactSign(Buffer.from(payload)).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(SECRET))
}

function pkcs8(): string {
  return PAIRS.RS256.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
}

function shortRsa(): string {
  return spki(generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey)
}
