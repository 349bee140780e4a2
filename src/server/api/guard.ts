import type { FastifyInstance, FastifyRequest } from 'fastify'
import { HubError } from '../../core/errors.ts'
import type { SessionManager } from '../../core/sessions.ts'
import type { ApiKeys, KeyScope, KnownKey } from '../../sessions/api-keys.ts'
import { isLocalPeer } from '../edge/local-peer.ts'

/** Knows the keys: an ApiKeys, or what a test has in its place. Compares in constant time; never throws. */
export type KeyRing = Pick<ApiKeys, 'size' | 'verify'>

/** Counts keys that are wrong, by address. `checkLogins` throws RATE_LIMITED where there were too many. */
export interface Logins {
  checkLogins(address: string | undefined): void
  loginFailed(address: string | undefined): void
}

/**
 * What a route of the operators' surface requires: a key with that scope or a wider one, a session (the route asks the
 * session manager itself), or nothing (open).
 */
export type Access = KeyScope | 'session' | 'open'

/** What a key of each scope opens. */
const OPENS: Readonly<Record<KeyScope, readonly Access[]>> = {
  publish: ['publish'],
  metrics: ['metrics'],
  read: ['read', 'metrics'],
  admin: ['admin', 'read', 'metrics', 'publish'],
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** On the operators' surface. Default admin: what is forgotten is closed. */
    access?: Access
  }
  interface FastifyRequest {
    /** Whose key opened the operators' surface to it; undefined where none is needed. */
    apiKey: KnownKey | undefined
  }
}

/** Longer ones are not looked at. */
const MAX_KEY_LENGTH = 1024
const BEARER = /^Bearer +(\S+)$/i
/** Three parts with points between them: a client's token (RFC 7519), which no key looks like. */
const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]*$/

/**
 * Who may call what operators and backends call: whoever has a key. Where there are no keys, peers on this machine
 * (`loopback`), or everybody.
 */
export class AdminGuard {
  readonly #keys: KeyRing | undefined
  readonly #localOnly: boolean
  readonly #sessions: SessionManager
  readonly #logins: Logins

  constructor(keys: KeyRing | 'loopback' | 'everybody', sessions: SessionManager, logins: Logins) {
    this.#keys = typeof keys === 'string' ? undefined : keys
    this.#localOnly = keys === 'loopback'
    this.#sessions = sessions
    this.#logins = logins
  }

  /** For every route of the scope, those that are added later too. */
  protect(scope: FastifyInstance): void {
    scope.decorateRequest('apiKey', undefined)
    scope.addHook('onRequest', (request, _reply, done) => {
      this.#admit(request).then(() => done(), done)
    })
  }

  /** Rejects with UNAUTHENTICATED, PERMISSION_DENIED, RATE_LIMITED, AUTH_UNAVAILABLE. */
  async #admit(request: FastifyRequest): Promise<void> {
    const { access = 'admin' } = request.routeOptions.config
    if (access === 'open' || access === 'session') return
    if (this.#keys === undefined) {
      if (this.#localOnly && !isLocalPeer(request)) throw notLocal()
      return
    }
    const credential = credentialOf(request)
    this.#logins.checkLogins(request.ip)
    const key = this.#keys.verify(credential)
    if (key === undefined) throw await this.#refusal(request, credential)
    if (!key.scopes.some(scope => OPENS[scope].includes(access))) {
      throw new HubError('PERMISSION_DENIED', `key: ${key.name} has not the scope ${access} that this asks for`)
    }
    request.apiKey = key
  }

  /** For the log at start; undefined: there are keys. */
  get warning(): string | undefined {
    if (this.#keys !== undefined) return undefined
    if (this.#localOnly) return `there are no API keys: ${SURFACE} answer loopback addresses only; ${HOW_TO_OPEN}`
    return `open: true: whoever reaches this server may use ${SURFACE} without a key; to close them give apiKeys`
  }

  /** A client's own token is known here, and may not do this: that is another answer than to what nobody knows. */
  async #refusal(request: FastifyRequest, token: string): Promise<HubError> {
    if (TOKEN.test(token)) {
      try {
        await this.#sessions.authenticate({ protocol: 'http', address: request.ip, token })
        return new HubError('PERMISSION_DENIED', 'key: this is a token of a client; the API takes keys')
      } catch (error) {
        if (error instanceof HubError && error.code === 'AUTH_UNAVAILABLE') return error
      }
    }
    this.#logins.loginFailed(request.ip)
    return new HubError('UNAUTHENTICATED', 'key: nobody has this key', { reason: 'key' })
  }
}

const SURFACE = '/api, /metrics and /@connections'
const HOW_TO_OPEN = 'give it API keys (docs/security.md), or the plugin open: true where everybody may use them'

function notLocal(): HubError {
  const proxy =
    'a local request names a loopback Host, such as localhost; one through a proxy counts only if the proxy is trusted (trustedProxies of a server, trustProxy of an app)'
  return new HubError(
    'PERMISSION_DENIED',
    `key: this hub has no API keys, so ${SURFACE} answer loopback addresses only; ${HOW_TO_OPEN}; ${proxy}`,
  )
}

/** AWS's SDKs sign with `Authorization`, so the key may stand where API Gateway has its own. Throws UNAUTHENTICATED. */
function credentialOf({ headers }: FastifyRequest): string {
  const { authorization } = headers
  const said = headers['x-api-key'] ?? (authorization && (BEARER.exec(authorization)?.[1] ?? ''))
  if (said === undefined) {
    throw new HubError('UNAUTHENTICATED', 'key: this needs a key, as authorization: Bearer <key>', {
      reason: 'missing',
    })
  }
  if (typeof said !== 'string' || said === '' || said.length > MAX_KEY_LENGTH) {
    throw new HubError('UNAUTHENTICATED', 'key: it looks like authorization: Bearer <key>', { reason: 'malformed' })
  }
  return said
}
