import { HubError } from '../core/errors.ts'
import type { TopicName } from '../core/ids.ts'
import { having, nested, type Rules, readOptions, text } from '../core/options.ts'
import type { TopicPattern } from '../core/patterns.ts'
import type { Action, Handshake, Session, SessionManager, SubscriptionGrant } from '../core/sessions.ts'
import type { ApiKeys } from './api-keys.ts'
import { checkedSessions } from './checked.ts'
import { cookieOf } from './cookie.ts'
import { allows, GRANTS, type GrantPatterns, namesUser, parseGrants } from './grants.ts'
import { refused } from './refusals.ts'
import type { Revocations } from './revocations.ts'
import type { Tickets } from './tickets.ts'

export interface SessionChainOptions {
  readonly tickets?: Tickets | undefined
  readonly apiKeys?: ApiKeys | undefined
  /** Of tokens: `jwtSessions`, `callbackSessions`, or one of your own. */
  readonly tokens?: SessionManager | undefined
  /** The name of the cookie that has the token where nothing else has. Default: none is read. */
  readonly cookie?: string | undefined
  /** What those may do who bring nothing at all. Default: they are refused. */
  readonly anonymous?: GrantPatterns | undefined
  readonly revocations?: Revocations | undefined
}

/**
 * Who somebody is, by the first thing that he brings: a ticket, an API key, a token (of the connect command, the
 * Authorization header, or a cookie), nothing. Throws CONFIG_INVALID. What is brought and refused is refused: nobody
 * with a wrong token is let in as nobody.
 */
export function sessionChain(options: SessionChainOptions): SessionManager {
  return new SessionChain(options)
}

const OPTIONS: Rules<SessionChainOptions> = {
  tickets: having('tickets, as new Tickets()', 'issue', 'redeem'),
  apiKeys: having('API keys, as new ApiKeys([...])', 'verify'),
  tokens: having('a session manager', 'authenticate', 'authorize'),
  cookie: text,
  anonymous: nested(GRANTS, 'CONFIG_INVALID'),
  revocations: having('revocations, as new Revocations()', 'revoked'),
}

class SessionChain implements SessionManager {
  readonly #options: SessionChainOptions
  readonly #anonymous: Session | undefined
  readonly grant?: NonNullable<SessionManager['grant']>
  readonly refresh?: NonNullable<SessionManager['refresh']>

  constructor(given: SessionChainOptions) {
    const options = readOptions(given, OPTIONS, 'sessionChain: ', 'CONFIG_INVALID')
    const { anonymous, tokens } = options
    this.#options = { ...options, tokens: tokens && checkedSessions(tokens) }
    if (anonymous && namesUser(anonymous)) {
      throw new HubError('CONFIG_INVALID', 'anonymous: a pattern has {user}, and anonymous clients have no user')
    }
    this.#anonymous = anonymous && { anonymous: true, grants: parseGrants(anonymous) }
    // Absent where the tokens' manager has none: then there are no such tokens.
    if (tokens?.grant) this.grant = (session, token, topic) => this.#grant(session, token, topic)
    if (tokens?.refresh) this.refresh = (session, token) => this.#refresh(session, token)
  }

  async authenticate(handshake: Handshake): Promise<Session> {
    const session = await this.#identify(handshake)
    if (this.revoked(session)) throw refused('revoked')
    return session
  }

  authorize(session: Session, action: Action, topic: TopicName | TopicPattern): boolean | Promise<boolean> {
    if (session.backend) return true
    if (session.grants) return allows(session.grants, action, topic)
    return this.#options.tokens?.authorize(session, action, topic) ?? false
  }

  revoked(session: Session): boolean {
    const { revocations, tokens } = this.#options
    return revocations?.revoked(session) === true || tokens?.revoked?.(session) === true
  }

  async #identify(handshake: Handshake): Promise<Session> {
    const { tickets, tokens, cookie } = this.#options
    const { ticket, headers = {} } = handshake
    if (ticket !== undefined) {
      if (tickets === undefined) throw refused('key')
      return tickets.redeem(ticket)
    }
    const key = headers['x-api-key']
    const given = handshake.token ?? (typeof key === 'string' ? key : undefined)
    const backend = given === undefined ? undefined : this.#backend(given)
    if (backend) return backend
    // A key that is none is not asked about elsewhere.
    if (handshake.token === undefined && given !== undefined) throw refused('key')
    const token = given ?? (cookie === undefined ? undefined : cookieOf(headers.cookie, cookie))
    try {
      if (tokens === undefined) throw refused(token === undefined ? 'missing' : 'key')
      return await tokens.authenticate({ ...handshake, token })
    } catch (error) {
      const nothing = token === undefined && error instanceof HubError && error.reason === 'missing'
      if (nothing && this.#anonymous) return this.#anonymous
      throw error
    }
  }

  #backend(key: string): Session | undefined {
    const known = this.#options.apiKeys?.verify(key)
    if (known === undefined) return undefined
    if (known.scopes.includes('publish')) return { backend: true, key: known.name }
    throw new HubError(
      'PERMISSION_DENIED',
      'key: it is for the API alone; give it the scope publish to connect with it',
    )
  }

  async #grant(session: Session, token: string, topic: TopicName): Promise<SubscriptionGrant> {
    return this.#options.tokens!.grant!(session, token, topic)
  }

  async #refresh(session: Session, token: string): Promise<Session> {
    const newer = await this.#options.tokens!.refresh!(session, token)
    if (newer.user !== session.user) throw new HubError('PERMISSION_DENIED', 'token: it is of another user')
    if (this.revoked(newer)) throw refused('revoked')
    return newer
  }
}
