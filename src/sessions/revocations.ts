import { HubError } from '../core/errors.ts'
import {
  callable,
  checkValue,
  integer,
  MAX_ENTRIES,
  object,
  positive,
  type Rules,
  readOptions,
  text,
} from '../core/options.ts'
import type { Session } from '../core/sessions.ts'
import { DEFAULT_MAX_TOKEN_MS } from './jwt.ts'
import { SKEW_MS } from './jwt-claims.ts'

export interface RevocationsOptions {
  /**
   * The longest life of a token, in ms: after it a revocation is forgotten. As `jwtSessions` has it. Default 24 hours.
   */
  readonly maxTokenMs?: number | undefined
  /** Users and tokens together. Default 100,000. */
  readonly max?: number | undefined
  /** The wall clock, in ms since 1970. */
  readonly now?: (() => number) | undefined
}

const OPTIONS: Rules<RevocationsOptions> = { maxTokenMs: positive(), max: integer(1, MAX_ENTRIES), now: callable }

/**
 * Who was sent away before the time of their tokens. In this process alone, and gone with it: whoever needs more has
 * tokens that live for minutes. When it is full nothing is forgotten for it: the next revocation is refused, and an old
 * one stays in force.
 */
export class Revocations {
  readonly #keptMs: number
  readonly #max: number
  readonly #now: () => number
  /** When each was revoked, the oldest first. */
  readonly #users = new Map<string, number>()
  readonly #tokens = new Map<string, number>()

  /** Throws CONFIG_INVALID. */
  constructor(options: RevocationsOptions = {}) {
    const read = readOptions(options, OPTIONS, 'revocations: ', 'CONFIG_INVALID')
    const { maxTokenMs = DEFAULT_MAX_TOKEN_MS, max = 100_000, now = Date.now } = read
    // A token that has expired is taken for the time of the skew.
    this.#keptMs = maxTokenMs + 2 * SKEW_MS
    this.#max = max
    this.#now = now
  }

  get size(): number {
    this.#forget()
    return this.#users.size + this.#tokens.size
  }

  /** All that was issued to the user up to this second, for `iat` has whole seconds. Throws LIMIT_EXCEEDED. */
  revokeUser(user: string): void {
    this.#add(this.#users, user, 'user')
  }

  /** Throws LIMIT_EXCEEDED. */
  revokeToken(tokenId: string): void {
    this.#add(this.#tokens, tokenId, 'tokenId')
  }

  /** A session that does not say when it was issued is older than any revocation. */
  readonly revoked = (session: Session): boolean => {
    checkValue(session, object, 'session')
    const { user, tokenId, issuedAt = 0 } = session
    if (tokenId !== undefined && this.#tokens.has(tokenId)) return true
    const at = user === undefined ? undefined : this.#users.get(user)
    return at !== undefined && issuedAt <= at
  }

  #add(entries: Map<string, number>, key: string, field: string): void {
    checkValue(key, text, field)
    if (!entries.has(key) && this.size >= this.#max) {
      throw new HubError(
        'LIMIT_EXCEEDED',
        `revocations: there are ${this.#max}, as many as there may be; raise the limit`,
      )
    }
    entries.delete(key)
    entries.set(key, this.#now())
  }

  #forget(): void {
    const before = this.#now() - this.#keptMs
    for (const entries of [this.#users, this.#tokens]) {
      for (const [key, at] of entries) {
        if (at >= before) break
        entries.delete(key)
      }
    }
  }
}
