import { createSecretKey } from 'node:crypto'
import { decodeJwt, decodeProtectedHeader, SignJWT } from 'jose'
import type { GrantPatterns } from './grants.ts'

export interface MintOptions {
  readonly secret: string
  readonly algorithm: string
  readonly issuer: string
  readonly audience: string
  readonly user: string
  readonly ttlMs: number
  readonly tokenId?: string | undefined
  /** Of a connection token. */
  readonly topics?: GrantPatterns | undefined
  /** Makes it a subscription token. */
  readonly channel?: string | undefined
  /** The wall clock, in ms since 1970. */
  readonly now: number
}

/** A token as a backend would make it, for tests and trials. */
export function mintToken({
  secret,
  algorithm,
  user,
  ttlMs,
  tokenId,
  topics,
  channel,
  now,
  ...rest
}: MintOptions): Promise<string> {
  const issuedAt = Math.floor(now / 1000)
  const claims = {
    ...(topics && { topics }),
    ...(channel !== undefined && { channel }),
    ...(tokenId !== undefined && { jti: tokenId }),
  }
  return new SignJWT(claims)
    .setProtectedHeader({ alg: algorithm, typ: 'JWT' })
    .setSubject(user)
    .setIssuer(rest.issuer)
    .setAudience(rest.audience)
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + Math.max(1, Math.floor(ttlMs / 1000)))
    .sign(createSecretKey(Buffer.from(secret)))
}

/** What a token says, whether it is true or not. Undefined: it cannot be read. */
export function readToken(
  token: string,
): { readonly header: Record<string, unknown>; readonly claims: Record<string, unknown> } | undefined {
  try {
    return { header: { ...decodeProtectedHeader(token) }, claims: decodeJwt(token) }
  } catch {
    return undefined
  }
}
