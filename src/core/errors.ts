import type { RefusalReason } from './sessions.ts'

/** Every way in which the hub says no. Stable: a code is never renamed, only added. Table in docs/errors.md. */
export type ErrorCode =
  | 'TOPIC_INVALID'
  | 'TOPIC_UNKNOWN'
  | 'CLIENT_ID_INVALID'
  | 'CLIENT_EXISTS'
  | 'CONNECTION_NOT_FOUND'
  | 'CONNECTION_STALE'
  | 'CALLBACK_URL_INVALID'
  | 'LIMIT_EXCEEDED'
  | 'MESSAGE_TOO_LARGE'
  | 'INVALID_MESSAGE'
  | 'POLICY_INVALID'
  | 'POLICY_DENIED'
  | 'NOT_SUBSCRIBED'
  | 'POSITION_INVALID'
  | 'PERMISSION_DENIED'
  | 'UNAUTHENTICATED'
  | 'AUTH_UNAVAILABLE'
  | 'ORIGIN_DENIED'
  | 'HOST_DENIED'
  | 'RATE_LIMITED'
  | 'QUOTA_EXCEEDED'
  | 'SCHEMA_MISMATCH'
  | 'PRESENCE_OFF'
  | 'IDEMPOTENCY_CONFLICT'
  | 'UNSUPPORTED_PAYLOAD'
  | 'REQUEST_INVALID'
  | 'REQUEST_TIMEOUT'
  | 'HEADERS_TOO_MANY'
  | 'UPGRADE_INVALID'
  | 'UPGRADE_REQUIRED'
  | 'NOT_FOUND'
  | 'METHOD_NOT_ALLOWED'
  | 'CONFIG_INVALID'
  | 'PORT_IN_USE'
  | 'BIND_REFUSED'
  | 'SEND_FAILED'
  | 'SEND_TIMEOUT'
  | 'SEND_ABORTED'
  | 'CIRCUIT_OPEN'
  | 'BROADCAST_PARTIAL_FAILURE'
  | 'STORE_UNAVAILABLE'
  | 'SHUTTING_DOWN'
  | 'INTERNAL'

/**
 * The one error class of the hub. `message` is one sentence for people: it names the field and the limit and says
 * how to mend it. The message path returns literals instead and never throws.
 */
export class HubError extends Error {
  readonly code: ErrorCode
  /** Of BROADCAST_PARTIAL_FAILURE: who did not get it, and why. */
  readonly failures: readonly ClientFailure[] | undefined

  /** Of UNAUTHENTICATED: its class, which is all that a bearer is told. */
  readonly reason: RefusalReason | undefined
  /** Of RATE_LIMITED: when it may go again, in ms. */
  readonly retryMs: number | undefined

  constructor(code: ErrorCode, message: string, options?: ErrorOptions & HubErrorDetails) {
    super(message, options)
    this.name = 'HubError'
    this.code = code
    this.failures = options?.failures
    this.reason = options?.reason
    this.retryMs = options?.retryMs
  }
}

export interface HubErrorDetails {
  readonly failures?: readonly ClientFailure[]
  readonly reason?: RefusalReason
  readonly retryMs?: number
}

export interface ClientFailure {
  readonly clientId: string
  readonly error: HubError
}
