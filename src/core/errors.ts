import type { RefusalReason } from './sessions.ts'

/**
 * The codes of all errors, each with its HTTP status. Stable: a code is never renamed, only added. Table in
 * docs/errors.md.
 */
export const HTTP_STATUS = Object.freeze({
  TOPIC_INVALID: 400,
  TOPIC_UNKNOWN: 404,
  CLIENT_ID_INVALID: 400,
  CLIENT_EXISTS: 409,
  CONNECTION_NOT_FOUND: 404,
  CONNECTION_STALE: 410,
  CALLBACK_URL_INVALID: 400,
  LIMIT_EXCEEDED: 503,
  MESSAGE_TOO_LARGE: 413,
  INVALID_MESSAGE: 400,
  POLICY_INVALID: 400,
  POLICY_DENIED: 403,
  NOT_SUBSCRIBED: 404,
  POSITION_INVALID: 409,
  PERMISSION_DENIED: 403,
  UNAUTHENTICATED: 401,
  AUTH_UNAVAILABLE: 503,
  ORIGIN_DENIED: 403,
  HOST_DENIED: 421,
  RATE_LIMITED: 429,
  QUOTA_EXCEEDED: 429,
  EXPECTATION_FAILED: 417,
  SCHEMA_MISMATCH: 422,
  PRESENCE_OFF: 403,
  IDEMPOTENCY_CONFLICT: 409,
  UNSUPPORTED_PAYLOAD: 415,
  REQUEST_INVALID: 400,
  REQUEST_TIMEOUT: 408,
  HEADERS_TOO_MANY: 431,
  UPGRADE_INVALID: 400,
  UPGRADE_REQUIRED: 426,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  CONFIG_INVALID: 500,
  PORT_IN_USE: 500,
  BIND_REFUSED: 500,
  SEND_FAILED: 502,
  SEND_TIMEOUT: 504,
  SEND_ABORTED: 503,
  CIRCUIT_OPEN: 503,
  BROADCAST_PARTIAL_FAILURE: 207,
  STORE_UNAVAILABLE: 503,
  SHUTTING_DOWN: 503,
  INTERNAL: 500,
} satisfies Record<string, number>)

/** Every way in which the hub says no. */
export type ErrorCode = keyof typeof HTTP_STATUS

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

  /**
   * The HTTP status of its code, from 207 to 504, for servers of your own. 500 for a code that the hub does not know.
   */
  get status(): number {
    return HTTP_STATUS[this.code] ?? HTTP_STATUS.INTERNAL
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
