import type { JWTPayload } from 'jose'
import { z } from 'zod'
import type { Grants, Session, SubscriptionGrant } from '../core/sessions.ts'
import { MAX_GRANTED_PATTERNS, parseGrants } from './grants.ts'
import { refused } from './refusals.ts'

/** How far the clocks of issuer and hub may be apart, in ms. */
export const SKEW_MS = 60_000
const MAX_INFO_BYTES = 1024

const patterns = z.array(z.string().max(255)).max(MAX_GRANTED_PATTERNS).optional()
/** Whom presence, logs and other users' screens show. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be in it
const name = z.string().regex(/^[^\x00-\x1f\x7f]{1,255}$/)
const seconds = z.number().min(0).max(1e11)

export const infoSchema = z.json().refine(info => Buffer.byteLength(JSON.stringify(info)) <= MAX_INFO_BYTES)
export const userSchema = name
export const grantsSchema = z.strictObject({ subscribe: patterns, publish: patterns })

const common = {
  sub: name,
  exp: seconds,
  iat: seconds.optional(),
  jti: name.optional(),
  info: infoSchema.optional(),
}
/** What else is in a token is its issuer's business. */
const connectionClaims = z.object({ ...common, topics: grantsSchema.optional() })
const subscriptionClaims = z.object({ ...common, channel: z.string(), expire_at: seconds.optional() })

export interface ClaimRules {
  readonly maxTokenMs: number
  /** Grants of a token without the claim `topics`. */
  readonly defaultGrants: (user: string) => Grants
  readonly now: () => number
}

/** A token with the claims of the other kind is refused as such, whatever else is wrong with it. */
export function sessionOf(claims: JWTPayload, rules: ClaimRules): Session {
  if (claims.channel !== undefined) throw refused('type')
  const { topics, ...told } = read(connectionClaims, claims)
  const grants = topics === undefined ? rules.defaultGrants(told.sub) : readGrants(topics, told.sub)
  return { ...identityOf(told, rules), info: told.info, grants }
}

export interface SubscriptionToken {
  /** Whose it is, with the times that a revocation looks at. */
  readonly bearer: Session
  readonly channel: string
  readonly grant: SubscriptionGrant
}

export function subscriptionOf(claims: JWTPayload, rules: ClaimRules): SubscriptionToken {
  if (claims.channel === undefined) throw refused('type')
  const { channel, expire_at: until, ...told } = read(subscriptionClaims, claims)
  const bearer = identityOf(told, rules)
  // Centrifuge's: 0 is for as long as the connection, and any other time is instead of exp.
  const expiresAt = until === undefined ? bearer.expiresAt : until === 0 ? undefined : until * 1000
  if (expiresAt !== undefined && expiresAt <= rules.now()) throw refused('expired')
  return { bearer, channel, grant: { expiresAt, info: told.info } }
}

function read<T>(schema: z.ZodType<T>, claims: JWTPayload): T {
  const { success, data } = schema.safeParse(claims)
  if (!success) throw refused('claims')
  return data
}

function readGrants(topics: z.infer<typeof grantsSchema>, user: string): Grants {
  try {
    return parseGrants(topics, user)
  } catch {
    throw refused('claims')
  }
}

interface Identity {
  readonly sub: string
  readonly exp: number
  readonly iat?: number | undefined
  readonly jti?: string | undefined
}

/**
 * A revocation is kept for as long as the longest token may live, so a token that lives longer is refused. One that
 * does not say when it was made counts as being as old as it can be.
 */
function identityOf({ sub, exp, iat, jti }: Identity, rules: ClaimRules): Session {
  const now = rules.now()
  const ends = exp * 1000
  const issuedAt = iat === undefined ? ends - rules.maxTokenMs : iat * 1000
  if (ends - issuedAt > rules.maxTokenMs) throw refused('claims')
  if (issuedAt > now + SKEW_MS) throw refused(iat === undefined ? 'claims' : 'early')
  // What was let in within the skew would otherwise be closed at once, and come back, for a minute.
  const expiresAt = ends > now ? ends : ends + SKEW_MS
  return { user: sub, tokenId: jti, issuedAt, expiresAt }
}
