import { atOnce } from '../core/attempt.ts'
import type { ErrorCode } from '../core/errors.ts'
import type { ClientId } from '../core/ids.ts'
import type { ConnectionManager } from '../core/manager.ts'
import { callable, checkValue, having, nested, object, type Rule, type Rules, readOptions } from '../core/options.ts'
import type { Scheduler } from '../core/scheduler.ts'
import type { Session, SessionManager } from '../core/sessions.ts'
import { Deadlines } from '../deadlines.ts'

export interface SessionWatchOptions {
  readonly hub: Pick<ConnectionManager, 'events' | 'sessionOf' | 'unregisterClient'>
  /** Says whether a session was revoked. Default: none ever is. */
  readonly sessions?: Pick<SessionManager, 'revoked'> | undefined
  /** For the ticks. */
  readonly scheduler: Pick<Scheduler, 'every' | 'defer'>
  /** The wall clock, in ms since 1970: the times of tokens are compared with it and nothing else is. */
  readonly now?: (() => number) | undefined
}

/**
 * Other keys are allowed, because programs usually pass the whole session manager. What has neither of its members has
 * a mistake in a name.
 */
const manager =
  (code: ErrorCode): Rule =>
  (value, field) => {
    const { revoked, authenticate } = (value ?? {}) as Partial<SessionManager>
    if (object(value, field) === undefined && revoked === undefined && authenticate === undefined) {
      return nested({ revoked: callable }, code)(value, field)
    }
    const isManager =
      typeof value === 'object' && value !== null && (revoked === undefined || typeof revoked === 'function')
    return isManager ? undefined : 'an object whose revoked is a function or absent'
  }

const OPTIONS: Rules<SessionWatchOptions> = {
  hub: having('a hub', 'sessionOf', 'unregisterClient'),
  sessions: manager('CONFIG_INVALID'),
  scheduler: having('a scheduler', 'every', 'defer'),
  now: callable,
}
const MANAGER = manager('REQUEST_INVALID')

const TICK_MS = 250
/** Each open session is asked about within so many ticks: a second. */
const TICKS_PER_ROUND = 4
/** Clients that one turn of the event loop ends: a socket takes about 0.1 ms. */
export const ENDS_PER_TURN = 32
/** Sessions that one turn asks about. */
const ASKED_PER_TURN = 1024

interface Watched {
  readonly id: ClientId
  session: Session
  /** Where it is in the list that is asked for revocations. */
  index: number
}

/**
 * Ends what is over: a client within two seconds of its session's `expiresAt` as `expired`, one whose session was
 * revoked as `revoked`. Forgets a client with its end. Subscriptions with tokens of their own are the client protocol's
 * business.
 */
export class SessionWatch implements Disposable {
  readonly #options: Omit<SessionWatchOptions, 'sessions'>
  #sessionManager: Pick<SessionManager, 'revoked'>
  readonly #now: () => number
  readonly #clients = new Map<ClientId, Watched>()
  /** Dense, for the walk. */
  readonly #round: Watched[] = []
  readonly #sessions: Deadlines<Watched>
  /** While there is anybody to watch. */
  #timer: Disposable | undefined
  #cursor = 0

  /** Throws CONFIG_INVALID. */
  constructor(given: SessionWatchOptions) {
    const options = readOptions(given, OPTIONS, 'sessionWatch: ', 'CONFIG_INVALID', ['hub', 'scheduler'])
    const { hub, now = Date.now } = options
    this.#options = options
    this.#sessionManager = options.sessions ?? {}
    this.#now = now
    this.#sessions = new Deadlines(now())
    hub.events.on('register', this.#begin).on('session', this.#renew).on('unregister', this.#end)
  }

  /**
   * Says from now on whether a session was revoked. Clients that are registered later are asked about. Throws
   * REQUEST_INVALID where `revoked` is neither absent nor a function, and for an unknown name.
   */
  ask(sessions: Pick<SessionManager, 'revoked'>): void {
    checkValue(sessions, MANAGER, 'sessions')
    this.#sessionManager = sessions
  }

  /** Clients that are watched. */
  get size(): number {
    return this.#clients.size
  }

  [Symbol.dispose](): void {
    const { events } = this.#options.hub
    this.#rest()
    events.off('register', this.#begin).off('session', this.#renew).off('unregister', this.#end)
  }

  readonly #begin = ({ id }: { id: ClientId }): void => {
    const session = this.#options.hub.sessionOf(id)
    // Nothing can end it: where nobody logs in, a client costs nothing here.
    if (session?.expiresAt === undefined && this.#sessionManager.revoked === undefined) return
    this.#watched(id)
  }

  readonly #renew = ({ id, session }: { id: ClientId; session: Session }): void => {
    const client = this.#watched(id)
    if (client === undefined) return
    client.session = session
    // Later than before: it is looked at when it would have been over, and then stands under the later time.
    if (session.expiresAt !== undefined) this.#sessions.add(client, session.expiresAt)
  }

  /** Undefined: a handler of the hub's events has ended it already. */
  #watched(id: ClientId): Watched | undefined {
    const known = this.#clients.get(id)
    const session = this.#options.hub.sessionOf(id)
    if (known !== undefined || session === undefined) return known
    const client: Watched = { id, session, index: this.#round.length }
    this.#clients.set(id, client)
    this.#start()
    this.#round.push(client)
    if (session.expiresAt !== undefined) this.#sessions.add(client, session.expiresAt)
    return client
  }

  readonly #end = ({ id }: { id: ClientId }): void => {
    const client = this.#clients.get(id)
    if (client === undefined) return
    this.#clients.delete(id)
    this.#sessions.remove(client)
    if (this.#clients.size === 0) this.#rest()
    const last = this.#round.pop()!
    if (last === client) return
    last.index = client.index
    this.#round[client.index] = last
  }

  #start(): void {
    this.#timer ??= this.#options.scheduler.every(TICK_MS, () => this.#tick())
  }

  #rest(): void {
    this.#timer?.[Symbol.dispose]()
    this.#timer = undefined
  }

  #tick(): void {
    // Tokens end by the wall clock, also while the process is stopped. The process reads a newer token that came
    // meanwhile before this tick.
    this.#expireSome()
    const { length } = this.#round
    if (this.#sessionManager.revoked) this.#askSome(Math.ceil(length / TICKS_PER_ROUND), length)
  }

  /** Ends expired sessions: a bounded number in this turn, and the others in the next turns. */
  #expireSome(): void {
    const now = this.#now()
    const due = this.#sessions.due(now, ENDS_PER_TURN)
    for (const client of due) this.#expire(client, now)
    if (due.length === ENDS_PER_TURN) this.#nextTurn(() => this.#expireSome())
  }

  /** Runs in the next turn, unless no client is left to watch. */
  #nextTurn(run: () => void): void {
    this.#options.scheduler.defer(() => {
      if (this.#timer !== undefined) run()
    })
  }

  #expire(client: Watched, now: number): void {
    const { expiresAt } = client.session
    if (expiresAt === undefined || !this.#watches(client)) return
    // The clock was set back since.
    if (expiresAt > now) this.#sessions.add(client, expiresAt)
    else this.#options.hub.unregisterClient(client.id, 'expired')
  }

  /**
   * Asks about at most `asks` sessions, until `stays` of them are not revoked. Takes several turns where there are
   * many.
   */
  #askSome(stays: number, asks: number): void {
    const { hub } = this.#options
    let left = stays
    let ended = 0
    let failed = false
    const isRevoked = (session: Session): boolean => {
      try {
        return wasRevoked(this.#sessionManager, session)
      } catch (error) {
        // The session goes on. There may be one error for each client.
        if (!failed) hub.events.emit('fault', { error, where: 'revoked of the session manager' })
        failed = true
        return false
      }
    }
    for (let asked = 0; left > 0 && asked < asks && this.#round.length > 0; asked++) {
      if (asked === ASKED_PER_TURN || ended === ENDS_PER_TURN) {
        this.#nextTurn(() => this.#askSome(left, asks - asked))
        return
      }
      if (this.#cursor >= this.#round.length) this.#cursor = 0
      const client = this.#round[this.#cursor]!
      if (!isRevoked(client.session)) left--
      else if (hub.unregisterClient(client.id, 'revoked')) ended++
      // Who takes the place of one that is ended is asked next.
      if (this.#round[this.#cursor] === client) this.#cursor++
    }
  }

  /** A handler of another one's end may have ended it. */
  #watches(client: Watched): boolean {
    return this.#clients.get(client.id) === client
  }
}

/** Throws what `revoked` throws, and a TypeError where it answers with a promise. */
export function wasRevoked(sessions: Pick<SessionManager, 'revoked'>, session: Session): boolean {
  return atOnce(sessions.revoked?.(session), 'revoked of the session manager') === true
}
