import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { HubError } from '../core/errors.ts'
import { callable, checkValue, oneOf, type Rule, type Rules, readOptions, shown, text, texts } from '../core/options.ts'
import { isWeak } from './weak-keys.ts'

/**
 * publish: a backend, which may do what topics allow backends. metrics: GET /metrics. read: metrics, and each GET under
 * /api. admin: everything under /api, metrics and publishing there.
 */
export type KeyScope = 'publish' | 'metrics' | 'read' | 'admin'

export interface ApiKeyEntry {
  /** For logs and metrics: who it was given to. */
  readonly name: string
  /** Of the key, in hex: the key itself is kept by whoever uses it. */
  readonly sha256: string
  readonly scopes: readonly KeyScope[]
}

export interface KnownKey {
  readonly name: string
  readonly scopes: readonly KeyScope[]
}

export const MIN_KEY_LENGTH = 32
const MAX_KEY_LENGTH = 1024
export const KEY_SCOPES = ['publish', 'metrics', 'read', 'admin'] as const satisfies readonly KeyScope[]

const named: Rule = value => (typeof value === 'string' && value.trim() !== '' ? undefined : 'a name')
const scope = oneOf(...KEY_SCOPES)
const scopeList: Rule = (value, field) => {
  if (texts(value, field) !== undefined) return 'an array of scopes'
  for (const [at, each] of (value as string[]).entries()) checkValue(each, scope, `${field}.${at}`, 'CONFIG_INVALID')
  return undefined
}
const ENTRY: Rules<ApiKeyEntry> = { name: named, sha256: text, scopes: scopeList }

/** Keys of backends and operators. Throws CONFIG_INVALID. */
export class ApiKeys {
  readonly #entries: readonly { readonly hash: Buffer; readonly known: KnownKey }[]

  constructor(entries: readonly ApiKeyEntry[] = []) {
    const names = new Set<string>()
    const hashes = new Set<string>()
    if (!Array.isArray(entries)) throw new HubError('CONFIG_INVALID', `apiKeys must be an array, got ${shown(entries)}`)
    this.#entries = entries.map((entry: ApiKeyEntry, at) => {
      const { name, sha256 = '', scopes = [] } = readOptions(entry, ENTRY, `apiKeys.${at}.`, 'CONFIG_INVALID', ['name'])
      if (names.has(name)) throw invalid(String(at), `name: another key has the name ${shown(name)}`)
      names.add(name)
      if (!/^[0-9a-f]{64}$/i.test(sha256))
        throw invalid(name, 'sha256: it is 64 hexadecimal digits; make key and hash with: hubline token key')
      if (scopes.length === 0) throw invalid(name, `scopes: one or more of ${KEY_SCOPES.join(', ')}`)
      const hex = sha256.toLowerCase()
      if (DEFAULTS.has(hex))
        throw invalid(name, 'sha256: it is the hash of a key that everybody knows; make one with: hubline token key')
      if (hashes.has(hex)) throw invalid(name, 'sha256: another name has the same key')
      hashes.add(hex)
      return { hash: Buffer.from(hex, 'hex'), known: { name, scopes: [...scopes] } }
    })
  }

  get size(): number {
    return this.#entries.length
  }

  /** Is there one that may do this? */
  offers(scope: KeyScope): boolean {
    return this.#entries.some(({ known }) => known.scopes.includes(scope))
  }

  /**
   * Whose key it is. A wrong length, a wrong byte and a right key take the same way: each is hashed, and the hash
   * compared with every other, so that time tells nothing. A key that is too short or easy to guess is never right,
   * though its hash may be configured.
   */
  verify(key: string): KnownKey | undefined {
    if (typeof key !== 'string' || key.length > MAX_KEY_LENGTH || this.#entries.length === 0) return undefined
    const hash = createHash('sha256').update(key).digest()
    let found: KnownKey | undefined
    for (const entry of this.#entries) if (timingSafeEqual(entry.hash, hash)) found = entry.known
    return found && weakness(key) === undefined ? found : undefined
  }
}

export interface NewKey {
  readonly key: string
  readonly sha256: string
}

/** 256 random bits, with what they are for before them. */
export function newApiKey(random: (bytes: number) => Buffer = randomBytes): NewKey {
  checkValue(random, callable, 'random')
  const key = `hubline_${random(32).toString('base64url')}`
  return { key, sha256: hashOf(key) }
}

function hashOf(key: string): string {
  return createHash('sha256').update(key).digest('hex')
}

function weakness(key: string): string | undefined {
  if (key.length < MIN_KEY_LENGTH) return `it has at least ${MIN_KEY_LENGTH} characters`
  return isWeak(key) ? 'others can guess it' : undefined
}

/** A hash hides what it is of, but not these. */
const DEFAULTS: ReadonlySet<string> = new Set(
  [
    '',
    'admin',
    'api-key',
    'apikey',
    'changeme',
    'default',
    'hubline',
    'key',
    'password',
    'secret',
    'test',
    'token',
    '123456',
  ].map(hashOf),
)

function invalid(name: string, what: string): HubError {
  return new HubError('CONFIG_INVALID', `apiKeys.${name}.${what}`)
}
