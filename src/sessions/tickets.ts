import { createHash, randomBytes } from 'node:crypto'
import { checkSession } from '../core/arguments.ts'
import { HubError } from '../core/errors.ts'
import { callable, integer, MAX_ENTRIES, number, type Rules, readOptions, texts } from '../core/options.ts'
import { covers } from '../core/patterns.ts'
import type { Session } from '../core/sessions.ts'
import { parseGrants } from './grants.ts'
import { refused } from './refusals.ts'

export interface TicketsOptions {
  /** How long one is good for, in ms. Default 30,000. */
  readonly ttlMs?: number | undefined
  /** Tickets at a time, used ones included until they expire. Default 100,000. */
  readonly max?: number | undefined
  /** Of one user. Default 256. */
  readonly maxPerUser?: number | undefined
  /** The wall clock, in ms since 1970. */
  readonly now?: (() => number) | undefined
}

export interface TicketOptions {
  /** In ms; no longer than the session lasts. Default: as all tickets. */
  readonly ttlMs?: number | undefined
  /** Only these patterns may be subscribed to, and nothing published. Default: all that the session may do. */
  readonly topics?: readonly string[]
}

export interface Ticket {
  readonly ticket: string
  /** In ms since 1970. */
  readonly expiresAt: number
}

interface Entry {
  readonly session: Session
  readonly expiresAt: number
  used: boolean
}

export const MAX_TICKET_MS = 300_000
const ttl = number(1, MAX_TICKET_MS)
const TICKETS: Rules<TicketsOptions> = {
  ttlMs: ttl,
  max: integer(1, MAX_ENTRIES),
  maxPerUser: integer(1),
  now: callable,
}
const TICKET: Rules<TicketOptions> = { ttlMs: ttl, topics: texts }
const FORM = /^[\w-]{43}$/

/**
 * Credentials for requests that can have no header (EventSource, `<audio>`, `<img>`, a browser's WebSocket): each opens
 * one session, within seconds, so that it may stand in a URL, where logs and histories keep it. Here only its hash is
 * kept.
 */
export class Tickets {
  readonly #ttlMs: number
  readonly #max: number
  readonly #maxPerUser: number
  readonly #now: () => number
  readonly #entries = new Map<string, Entry>()
  readonly #perUser = new Map<string, number>()
  #sweptAt = Number.NEGATIVE_INFINITY

  /** Throws CONFIG_INVALID. */
  constructor(options: TicketsOptions = {}) {
    const read = readOptions(options, TICKETS, 'tickets: ', 'CONFIG_INVALID')
    const { ttlMs = 30_000, max = 100_000, maxPerUser = 256, now = Date.now } = read
    this.#ttlMs = ttlMs
    this.#max = max
    this.#maxPerUser = maxPerUser
    this.#now = now
  }

  get size(): number {
    return this.#entries.size
  }

  /**
   * Throws REQUEST_INVALID, TOPIC_INVALID, PERMISSION_DENIED (a topic that the session may not have), LIMIT_EXCEEDED,
   * RATE_LIMITED.
   */
  issue(session: Session, options: TicketOptions = {}): Ticket {
    checkSession(session)
    const { ttlMs = this.#ttlMs, topics } = readOptions(options, TICKET, 'issue')
    // One that is undefined by mistake must not be a ticket for all of them.
    if (topics === undefined && Object.hasOwn(options, 'topics')) {
      throw new HubError(
        'REQUEST_INVALID',
        'topics must not be undefined; leave it out for all that the session may do',
      )
    }
    const now = this.#now()
    this.#makeRoom(now, session.user)
    const narrowed = topics === undefined ? session : narrow(session, topics)
    const expiresAt = Math.min(now + ttlMs, session.expiresAt ?? Number.POSITIVE_INFINITY)
    const ticket = randomBytes(32).toString('base64url')
    this.#entries.set(hashOf(ticket), { session: narrowed, expiresAt, used: false })
    const { user } = session
    if (user !== undefined) this.#perUser.set(user, (this.#perUser.get(user) ?? 0) + 1)
    return { ticket, expiresAt }
  }

  /** Once. Throws UNAUTHENTICATED: malformed, used, expired (which is also what was never issued). */
  redeem(ticket: string): Session {
    if (!FORM.test(ticket)) throw refused('malformed')
    const entry = this.#entries.get(hashOf(ticket))
    if (entry === undefined) throw refused('expired')
    if (entry.used) throw refused('used')
    if (this.#now() >= entry.expiresAt) throw refused('expired')
    entry.used = true
    return entry.session
  }

  #makeRoom(now: number, user: string | undefined): void {
    const crowded = (): boolean => user !== undefined && (this.#perUser.get(user) ?? 0) >= this.#maxPerUser
    // A walk over all of them: at most once a second, whoever asks for how many.
    if (
      (crowded() || this.#entries.size >= this.#max || now - this.#sweptAt >= this.#ttlMs) &&
      Math.abs(now - this.#sweptAt) >= 1000
    ) {
      this.#sweep(now)
    }
    if (this.#entries.size >= this.#max) {
      throw new HubError(
        'LIMIT_EXCEEDED',
        `tickets: there are ${this.#max}, as many as there may be; try again in some seconds`,
      )
    }
    if (crowded()) {
      throw new HubError('RATE_LIMITED', `tickets: this user has ${this.#maxPerUser}, as many as one may have`, {
        retryMs: this.#ttlMs,
      })
    }
  }

  #sweep(now: number): void {
    this.#sweptAt = now
    for (const [hash, { expiresAt, session }] of this.#entries) {
      if (now < expiresAt) continue
      this.#entries.delete(hash)
      if (session.user === undefined) continue
      const left = (this.#perUser.get(session.user) ?? 1) - 1
      if (left > 0) this.#perUser.set(session.user, left)
      else this.#perUser.delete(session.user)
    }
  }
}

/** A session whose manager decides by itself (no grants) has asked it already. */
function narrow(session: Session, topics: readonly string[]): Session {
  let grants: ReturnType<typeof parseGrants>
  try {
    grants = parseGrants({ subscribe: topics }, session.user)
  } catch (error) {
    if (error instanceof RangeError) throw new HubError('REQUEST_INVALID', error.message)
    throw error
  }
  for (const topic of grants.subscribe) {
    if (session.backend || session.grants === undefined) continue
    if (session.grants.subscribe.some(pattern => covers(pattern, topic))) continue
    throw new HubError('PERMISSION_DENIED', 'topics: this session may not subscribe to all of them')
  }
  // Whoever shows a ticket is no backend.
  const { backend: _, ...bearer } = session
  return { ...bearer, grants }
}

function hashOf(ticket: string): string {
  return createHash('sha256').update(ticket).digest('base64')
}
