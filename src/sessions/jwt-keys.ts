import { createPublicKey, createSecretKey, type KeyObject } from 'node:crypto'
import { HubError } from '../core/errors.ts'
import { callable, checkValue, number, oneOf, period, type Rules } from '../core/options.ts'
import { type JwksOptions, KeySetByUrl } from './jwks.ts'
import { isWeak } from './weak-keys.ts'

/** By the kind of key that they need. */
const FAMILIES = {
  secret: ['HS256', 'HS384', 'HS512'],
  rsa: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ec: ['ES256', 'ES384', 'ES512'],
  ed25519: ['EdDSA', 'Ed25519'],
} as const

export type JwtAlgorithm = (typeof FAMILIES)[keyof typeof FAMILIES][number]

export const JWT_ALGORITHMS = Object.values(FAMILIES).flat()

/** RFC 7518, section 3.2 asks for as many as the hash has; below 32 a secret can be guessed. */
export const MIN_SECRET_BYTES = 32
const MIN_RSA_BITS = 2048

/** Exactly one of the three. */
export interface JwtKeyOptions {
  /** For HS algorithms: at least 32 bytes; text is taken as UTF-8. */
  readonly secret?: string | Uint8Array | undefined
  /** A public key in PEM (SPKI). */
  readonly publicKey?: string | undefined
  /** Where the issuer publishes its keys. */
  readonly jwksUrl?: string | URL | undefined
  readonly algorithms: readonly JwtAlgorithm[]
  readonly jwks?: Omit<JwksOptions, 'url'> | undefined
}

const algorithm = oneOf(...JWT_ALGORITHMS)
const ms = number(0)
export const JWKS: Rules<Omit<JwksOptions, 'url'>> = {
  coolDownMs: ms,
  timeoutMs: period,
  maxAgeMs: ms,
  clock: callable,
}

/**
 * For jose's jwtVerify. A KeyObject, and not bytes: jose would import those again for each token. Throws
 * CONFIG_INVALID.
 */
export function verificationKey(options: JwtKeyOptions): KeyObject | KeySetByUrl['find'] {
  const { secret, publicKey, jwksUrl, jwks } = options
  const given = [secret, publicKey, jwksUrl].filter(each => each !== undefined)
  if (given.length !== 1) {
    throw new HubError('CONFIG_INVALID', 'jwt: give exactly one of secret, publicKey (PEM) and jwksUrl')
  }
  const algorithms = readAlgorithms(options.algorithms)
  if (secret !== undefined) return secretKey(secret, algorithms)
  if (publicKey !== undefined) return publicKeyOf(publicKey, algorithms)
  // With a public key for a secret, whoever knows it could sign.
  requireFamily(algorithms, ['rsa', 'ec', 'ed25519'], 'a jwksUrl')
  return new KeySetByUrl({ ...jwks, url: readUrl(jwksUrl!) }).find
}

function readAlgorithms(algorithms: readonly JwtAlgorithm[]): readonly JwtAlgorithm[] {
  if (!Array.isArray(algorithms) || algorithms.length === 0) {
    throw new HubError('CONFIG_INVALID', 'jwt: algorithms: name those that tokens may be signed by, such as HS256')
  }
  for (const [at, each] of algorithms.entries()) checkValue(each, algorithm, `jwt: algorithms.${at}`, 'CONFIG_INVALID')
  return algorithms
}

function secretKey(secret: string | Uint8Array, algorithms: readonly JwtAlgorithm[]): KeyObject {
  requireFamily(algorithms, ['secret'], 'a secret')
  const bytes = Buffer.from(secret as string)
  if (bytes.byteLength < MIN_SECRET_BYTES) {
    throw new HubError(
      'CONFIG_INVALID',
      `jwt: secret: it has at least ${MIN_SECRET_BYTES} bytes; make one with: openssl rand -base64 48`,
    )
  }
  if (isWeak(bytes.toString('latin1'))) {
    throw new HubError('CONFIG_INVALID', 'jwt: secret: others can guess it; make one with: openssl rand -base64 48')
  }
  return createSecretKey(bytes)
}

function publicKeyOf(pem: string, algorithms: readonly JwtAlgorithm[]): KeyObject {
  let key: KeyObject
  try {
    // From a private key Node would make the public one: a private key has no business here.
    if (!pem.includes('-----BEGIN PUBLIC KEY-----')) throw new TypeError('no SPKI')
    key = createPublicKey(pem)
  } catch {
    throw new HubError('CONFIG_INVALID', 'jwt: publicKey: it is PEM that begins with -----BEGIN PUBLIC KEY-----')
  }
  const type = key.asymmetricKeyType
  const bits = key.asymmetricKeyDetails?.modulusLength
  if (bits !== undefined && bits < MIN_RSA_BITS) {
    throw new HubError(
      'CONFIG_INVALID',
      `jwt: publicKey: an RSA key has at least ${MIN_RSA_BITS} bits, this one ${bits}`,
    )
  }
  if (type !== 'rsa' && type !== 'ec' && type !== 'ed25519') {
    throw new HubError('CONFIG_INVALID', 'jwt: publicKey: it is of RSA, EC or Ed25519')
  }
  requireFamily(algorithms, [type], `a public key of ${type}`)
  return key
}

function requireFamily(
  algorithms: readonly JwtAlgorithm[],
  families: readonly (keyof typeof FAMILIES)[],
  what: string,
): void {
  const fitting: readonly string[] = families.flatMap(family => FAMILIES[family])
  if (algorithms.every(each => fitting.includes(each))) return
  throw new HubError('CONFIG_INVALID', `jwt: algorithms: with ${what} they are of ${fitting.join(', ')}`)
}

function readUrl(url: string | URL): URL {
  if (URL.canParse(String(url))) return new URL(url)
  throw new HubError('CONFIG_INVALID', 'jwt: jwksUrl: it is no URL')
}
