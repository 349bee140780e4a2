import { errors, type JWTPayload, jwtVerify } from 'jose'
import { HubError } from '../core/errors.ts'
import type { TopicName } from '../core/ids.ts'
import { anything, callable, nested, number, type Rule, type Rules, readOptions, text, texts } from '../core/options.ts'
import { isPattern, type TopicPattern } from '../core/patterns.ts'
import type { Action, Grants, RefusalReason, Session, SessionManager, SubscriptionGrant } from '../core/sessions.ts'
import { allows, GRANTS, type GrantPatterns, grantsByUser, NO_GRANTS } from './grants.ts'
import { type ClaimRules, SKEW_MS, sessionOf, subscriptionOf } from './jwt-claims.ts'
import { JWKS, type JwtKeyOptions, verificationKey } from './jwt-keys.ts'
import { refused } from './refusals.ts'

/** Before anything of a token is read. */
const MAX_TOKEN_BYTES = 8 * 1024
export const DEFAULT_MAX_TOKEN_MS = 24 * 60 * 60 * 1000

export interface JwtOptions extends JwtKeyOptions {
  /** Who may have made a token (iss). */
  readonly issuer: string | readonly string[]
  /** Whom a token must be for (aud). */
  readonly audience: string | readonly string[]
  /** What the header must say that the token is (typ). Default: nothing, JWT or at+jwt. */
  readonly type?: string | undefined
  /** The longest life of a token, from iat to exp, in ms. Default 24 hours. */
  readonly maxTokenMs?: number | undefined
  /** Grants of a token without the claim `topics`, for example `users/{user}/**`. Default: none. */
  readonly defaultGrants?: GrantPatterns | undefined
  /** Asked of each token, those for one topic included, and of each session while it is open. */
  readonly revoked?: ((session: Session) => boolean) | undefined
  /** The wall clock, in ms since 1970. */
  readonly now?: (() => number) | undefined
}

/**
 * Sessions of JSON Web Tokens: `sub` is the user, `topics: {subscribe, publish}` has the patterns of what it may do.
 * `exp`, `sub`, `iss` and `aud` must be there. No key is ever taken from a token. Throws CONFIG_INVALID for options
 * that would let too much through.
 */
export function jwtSessions(options: JwtOptions): SessionManager {
  return new JwtSessions(options)
}

/** Checks the type. The error does not contain the secret. */
const secretRule: Rule = value => {
  if (typeof value === 'string' || value instanceof Uint8Array) return undefined
  throw new HubError('CONFIG_INVALID', 'jwt: secret: it must be a string of at least 32 bytes')
}

const names: Rule = (value, field) =>
  typeof value === 'string' ? undefined : texts(value, field) && 'a string or an array of strings'

const OPTIONS: Rules<JwtOptions> = {
  issuer: names,
  audience: names,
  type: text,
  maxTokenMs: number(1000),
  defaultGrants: nested(GRANTS, 'CONFIG_INVALID'),
  revoked: callable,
  now: callable,
  // `verificationKey` checks the rest.
  secret: secretRule,
  publicKey: anything,
  jwksUrl: anything,
  algorithms: anything,
  jwks: nested(JWKS, 'CONFIG_INVALID'),
}

class JwtSessions implements SessionManager {
  readonly #key: ReturnType<typeof verificationKey>
  readonly #expected: { algorithms: string[]; issuer: string[]; audience: string[] }
  readonly #types: readonly (string | undefined)[]
  readonly #rules: ClaimRules
  readonly #revoked: (session: Session) => boolean

  constructor(given: JwtOptions) {
    const options = readOptions(given, OPTIONS, 'jwt: ', 'CONFIG_INVALID')
    const { maxTokenMs = DEFAULT_MAX_TOKEN_MS, type, now = Date.now, revoked = () => false } = options
    this.#key = verificationKey(options)
    this.#expected = {
      algorithms: [...options.algorithms],
      issuer: required(options.issuer, 'issuer'),
      audience: required(options.audience, 'audience'),
    }
    this.#types = type === undefined ? [undefined, 'jwt', 'at+jwt'] : [plainType(type)]
    this.#rules = { maxTokenMs, now, defaultGrants: grantsOf(options.defaultGrants) }
    this.#revoked = revoked
  }

  async authenticate({ token }: { readonly token?: string | undefined }): Promise<Session> {
    return this.#live(sessionOf(await this.#verify(token), this.#rules))
  }

  authorize({ grants = NO_GRANTS }: Session, action: Action, topic: TopicName | TopicPattern): boolean {
    return allows(grants, action, topic)
  }

  async grant({ user }: Session, token: string, topic: TopicName): Promise<SubscriptionGrant> {
    const { bearer, channel, grant } = subscriptionOf(await this.#verify(token), this.#rules)
    if (bearer.user !== user || channel !== topic || isPattern(channel)) {
      throw new HubError('PERMISSION_DENIED', 'token: it is not for this topic and this user')
    }
    this.#live(bearer)
    return grant
  }

  async refresh({ user }: Session, token: string): Promise<Session> {
    const newer = await this.authenticate({ token })
    if (newer.user !== user) throw new HubError('PERMISSION_DENIED', 'token: it is of another user')
    return newer
  }

  revoked(session: Session): boolean {
    return this.#revoked(session)
  }

  #live(session: Session): Session {
    if (this.#revoked(session)) throw refused('revoked')
    return session
  }

  async #verify(token: string | undefined): Promise<JWTPayload> {
    if (token === undefined || token === '') throw refused('missing')
    if (token.length > MAX_TOKEN_BYTES) throw refused('malformed')
    try {
      const { payload, protectedHeader } = await jwtVerify(token, this.#key as Parameters<typeof jwtVerify>[1], {
        ...this.#expected,
        requiredClaims: ['exp', 'sub'],
        clockTolerance: SKEW_MS / 1000,
        currentDate: new Date(this.#rules.now()),
      })
      if (!this.#types.includes(plainType(protectedHeader.typ))) throw refused('type')
      return payload
    } catch (error) {
      throw error instanceof HubError ? error : refused(reasonOf(error))
    }
  }
}

const REASONS: Readonly<Record<string, RefusalReason>> = {
  ERR_JOSE_ALG_NOT_ALLOWED: 'algorithm',
  ERR_JWS_SIGNATURE_VERIFICATION_FAILED: 'signature',
  ERR_JWT_EXPIRED: 'expired',
  ERR_JWKS_NO_MATCHING_KEY: 'key',
  ERR_JWKS_MULTIPLE_MATCHING_KEYS: 'key',
}

const CLAIMS: Readonly<Record<string, RefusalReason>> = { aud: 'audience', iss: 'issuer', nbf: 'early' }

/** Whatever is not foreseen is a token that cannot be read, and refused all the same. */
function reasonOf(error: unknown): RefusalReason {
  if (error instanceof errors.JWTClaimValidationFailed) return CLAIMS[error.claim] ?? 'claims'
  if (!(error instanceof errors.JOSEError)) return 'key'
  return REASONS[error.code] ?? 'malformed'
}

/** RFC 7515, section 4.1.9: "application/" may be left away, and case does not count. */
function plainType(type: string | undefined): string | undefined {
  return type === undefined
    ? undefined
    : String(type)
        .toLowerCase()
        .replace(/^application\//, '')
}

function required(value: string | readonly string[], field: string): string[] {
  const values = [value].flat() as string[]
  if (values.length > 0 && values.every(each => typeof each === 'string' && each !== '')) return values
  throw new HubError('CONFIG_INVALID', `jwt: ${field}: it must be named, or tokens made for others would be taken`)
}

function grantsOf(patterns: GrantPatterns = {}): (user: string) => Grants {
  try {
    return grantsByUser(patterns)
  } catch (error) {
    throw new HubError('CONFIG_INVALID', `jwt: defaultGrants: ${(error as Error).message}`)
  }
}
