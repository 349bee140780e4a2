import { createSecretKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { SignJWT } from 'jose'
import type { HubError } from '../../src/core/errors.ts'
import type { JwtOptions } from '../../src/sessions/jwt.ts'

export const SECRET = 'k3J9-qfXw7Zp0aVd2LmR8sTtYb5HcNe1UuGgQi4'
/** 2026-01-01T00:00:00Z */
export const NOW = 1_767_225_600_000
export const NOW_S = NOW / 1000

export const PAIRS = {
  RS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  PS256: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: generateKeyPairSync('ed25519'),
} as const

export const spki = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }) as string

export const HS_OPTIONS = {
  secret: SECRET,
  algorithms: ['HS256'],
  issuer: 'https://issuer.example',
  audience: 'hubline',
  now: () => NOW,
} as const satisfies JwtOptions

export const CLAIMS = {
  sub: 'ada',
  iss: 'https://issuer.example',
  aud: 'hubline',
  iat: NOW_S - 10,
  exp: NOW_S + 600,
  jti: 'token-1',
}

interface Signing {
  readonly alg?: string
  readonly key?: KeyObject | Uint8Array
  readonly header?: object
}

/** A token with these claims in place of, or beside, good ones; undefined takes one away. */
export function token(claims: object = {}, { alg = 'HS256', key, header = {} }: Signing = {}): Promise<string> {
  const all = Object.fromEntries(Object.entries({ ...CLAIMS, ...claims }).filter(([, value]) => value !== undefined))
  return new SignJWT(all)
    .setProtectedHeader({ alg, ...header } as { alg: string })
    .sign(key ?? createSecretKey(Buffer.from(SECRET)))
}

/** The code of the HubError that came, with its reason class. */
export async function refusalOf(run: () => unknown): Promise<string> {
  try {
    await run()
  } catch (error) {
    const { code, reason, message, cause } = error as HubError
    if (cause !== undefined || /ada|issuer\.example|token-1|eyJ/.test(message)) throw new Error(`it tells: ${message}`)
    return reason === undefined ? code : `${code} ${reason}`
  }
  return 'taken'
}
