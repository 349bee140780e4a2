import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK } from 'jose'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SessionManager } from '../../src/core/sessions.ts'
import { loadConfig } from '../../src/server/config.ts'
import { KeySetByUrl } from '../../src/sessions/jwks.ts'
import { jwtSessions } from '../../src/sessions/jwt.ts'
import { HS_OPTIONS, PAIRS, refusalOf, token } from './tokens.ts'

const { secret: _, ...rest } = HS_OPTIONS
const jwkOf = async (alg: keyof typeof PAIRS, kid: string) => ({ ...(await exportJWK(PAIRS[alg].publicKey)), kid, alg })
const signed = (kid: string | undefined, header: object = {}, alg: keyof typeof PAIRS = 'RS256') =>
  token({}, { alg, key: PAIRS[alg].privateKey, header: { ...(kid !== undefined && { kid }), ...header } })

describe('a key set by its URL', () => {
  let server: Server
  let url: string
  let fetches: number
  let answer: RequestListener
  let now: number
  let sessions: SessionManager

  beforeEach(async () => {
    fetches = 0
    now = 0
    const keys = [await jwkOf('RS256', 'one'), await jwkOf('ES256', 'two')]
    answer = (_request, response) => response.end(JSON.stringify({ keys }))
    server = createServer((request, response) => {
      fetches++
      answer(request, response)
    })
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`
    sessions = make()
  })
  afterEach(async () => {
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
  })

  function make(jwks: object = {}): SessionManager {
    const clock = () => now
    return jwtSessions({
      ...rest,
      jwksUrl: url,
      algorithms: ['RS256', 'ES256'],
      jwks: { coolDownMs: 1000, clock, ...jwks },
    })
  }
  const enter = async (text: Promise<string>) => {
    const given = await text
    return refusalOf(() => sessions.authenticate({ protocol: 'test', token: given }))
  }

  it('chooses by kid and algorithm, and is fetched once', async () => {
    const answers = await Promise.all([
      enter(signed('one')),
      enter(signed('two', {}, 'ES256')),
      enter(signed(undefined)),
      enter(signed('one')),
    ])
    expect(answers).toEqual(['taken', 'taken', 'taken', 'taken'])
    expect(await enter(signed('two'))).toBe('UNAUTHENTICATED key')
    expect(await enter(signed('two', {}, 'ES256'))).toBe('taken')
    expect(fetches).toBe(1)
  })

  it.each([
    'http://10.0.0.3/jwks',
    'http://127.0.0.1.example.org/',
    'http://[::2]/',
    'ftp://127.0.0.1/',
    'file:///etc/keys',
  ])('are not fetched from %s', text => {
    expect(() => new KeySetByUrl({ url: new URL(text) })).toThrow(/jwksUrl must begin with https/)
    expect(() => loadConfig({ flags: {}, env: { HUBLINE_SESSIONS_JWT_JWKS_URL: text } })).toThrow(/jwksUrl.*https/)
  })

  it.each([
    'https://id.example.org/jwks',
    'http://localhost:1/',
    'http://127.0.0.1/',
    'http://[::1]/',
    'http://id.localhost/',
  ])('may be fetched from %s', text => expect(() => new KeySetByUrl({ url: new URL(text) })).not.toThrow())

  it.each(['../../etc/passwd', "' OR 1=1 --", 'x'.repeat(4000), 'http://127.0.0.1:1/'])(
    'F4: kid %s chooses nothing, and fetches and reads nothing else',
    async kid => {
      expect(await enter(signed(kid))).toBe('UNAUTHENTICATED key')
      expect(fetches).toBe(1)
    },
  )

  it('F4: takes no key out of a token', async () => {
    let others = 0
    const evil = createServer((_request, response) => {
      others++
      response.end('{}')
    })
    await new Promise<void>(resolve => evil.listen(0, '127.0.0.1', resolve))
    const at = `http://127.0.0.1:${(evil.address() as AddressInfo).port}/`
    const { publicKey, privateKey } = PAIRS.PS256
    const jwk = await exportJWK(publicKey)
    for (const header of [{ jwk }, { jku: at }, { x5u: at }, { jwk, jku: at, x5u: at, kid: 'one' }]) {
      const forged = token({}, { alg: 'RS256', key: privateKey, header })
      expect(await enter(forged)).toBe('UNAUTHENTICATED signature')
    }
    await new Promise(resolve => evil.close(resolve))
    expect(others).toBe(0)
    expect(fetches).toBe(1)
  })

  it('F5: a thousand random kids make one fetch in a cool-down', async () => {
    expect(await enter(signed('one'))).toBe('taken')
    const text = await signed('x')
    const [, payload, signature] = text.split('.')
    const storm = (from: number) =>
      Promise.all(
        Array.from({ length: 1000 }, (_, at) => {
          const header = Buffer.from(JSON.stringify({ alg: 'RS256', kid: `k${from + at}` })).toString('base64url')
          return enter(Promise.resolve([header, payload, signature].join('.')))
        }),
      )
    now = 999
    expect(new Set(await storm(0))).toEqual(new Set(['UNAUTHENTICATED key']))
    expect(fetches).toBe(1)
    now = 1000
    await storm(1000)
    expect(fetches).toBe(2)
    now = 1999
    await storm(2000)
    expect(fetches).toBe(2)
  })

  it('F5: known keys work while it is down, and the storm of unknown ones makes no more fetches', async () => {
    expect(await enter(signed('one'))).toBe('taken')
    answer = (_request, response) => response.writeHead(500).end()
    for (now = 1000; now <= 5000; now += 500) {
      expect(await enter(signed('nobody'))).toBe('UNAUTHENTICATED key')
      expect(await enter(signed('one'))).toBe('taken')
    }
    expect(fetches).toBe(1 + 5)
    // Past its age as well, and with nobody there at all.
    server.closeAllConnections()
    now = 3_600_000
    expect(await enter(signed('one'))).toBe('taken')
  })

  it('a new key is found at once, an old one forgotten with the age of the set', async () => {
    expect(await enter(signed('one'))).toBe('taken')
    const keys = [await jwkOf('RS256', 'three')]
    answer = (_request, response) => response.end(JSON.stringify({ keys }))
    now = 1000
    expect(await enter(signed('three'))).toBe('taken')
    expect(await enter(signed('one'))).toBe('UNAUTHENTICATED key')
    expect(fetches).toBe(2)
  })

  it('is fetched anew in the background once it is old', async () => {
    expect(await enter(signed('one'))).toBe('taken')
    const keys = [await jwkOf('RS256', 'three')]
    const asked = new Promise<void>(resolve => {
      answer = (_request, response) => response.end(JSON.stringify({ keys }), () => resolve())
    })
    now = 600_000
    expect(await enter(signed('one'))).toBe('taken')
    await asked
    await expect.poll(() => enter(signed('one'))).toBe('UNAUTHENTICATED key')
  })

  const broken: [string, RequestListener][] = [
    ['an error', (_request, response) => response.writeHead(503).end()],
    ['no JSON', (_request, response) => response.end('<html>')],
    ['no key set', (_request, response) => response.end('{"keys":7}')],
    ['more than 256 KiB', (_request, response) => response.end(JSON.stringify({ keys: [], pad: 'x'.repeat(300_000) }))],
    ['a redirect', (_request, response) => response.writeHead(302, { location: '/elsewhere' }).end()],
    ['nothing in time', () => {}],
    ['half an answer in time', (_request, response) => void response.writeHead(200).write('{"keys":[')],
    ['a cut', request => void request.socket.destroy()],
  ]
  it.each(broken)('%s is no key set: nobody is let in, once a cool-down is asked', async (_, wrong) => {
    answer = wrong
    sessions = make({ timeoutMs: 100 })
    expect(await Promise.all([enter(signed('one')), enter(signed('one'))])).toEqual([
      'AUTH_UNAVAILABLE',
      'AUTH_UNAVAILABLE',
    ])
    expect(await enter(signed('one'))).toBe('AUTH_UNAVAILABLE')
    expect(fetches).toBe(1)
    now = 1000
    expect(await enter(signed('one'))).toBe('AUTH_UNAVAILABLE')
    expect(fetches).toBe(2)
  })

  it('a secret in the set signs nothing', async () => {
    answer = (_request, response) =>
      response.end(JSON.stringify({ keys: [{ kty: 'oct', k: 'A'.repeat(43), kid: 'one' }] }))
    const forged = token({}, { alg: 'HS256', key: Buffer.from('A'.repeat(43), 'base64url'), header: { kid: 'one' } })
    expect(await enter(forged)).toBe('UNAUTHENTICATED algorithm')
    expect(await enter(signed('one'))).toBe('UNAUTHENTICATED key')
  })
})
