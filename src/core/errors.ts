/** Every way in which the hub says no. Stable: a code is never renamed, only added. Table in docs/errors.md. */
export type ErrorCode =
  | 'TOPIC_INVALID'
  | 'TOPIC_UNKNOWN'
  | 'CLIENT_ID_INVALID'
  | 'CLIENT_EXISTS'
  | 'CONNECTION_NOT_FOUND'
  | 'LIMIT_EXCEEDED'
  | 'MESSAGE_TOO_LARGE'
  | 'MESSAGE_INVALID'
  | 'POLICY_INVALID'
  | 'POLICY_DENIED'
  | 'PERMISSION_DENIED'
  | 'UNSUPPORTED_PAYLOAD'
  | 'REQUEST_INVALID'
  | 'HEADERS_TOO_MANY'
  | 'UPGRADE_INVALID'
  | 'UPGRADE_REQUIRED'
  | 'NOT_FOUND'
  | 'CONFIG_INVALID'
  | 'PORT_IN_USE'
  | 'BIND_REFUSED'
  | 'SHUTTING_DOWN'
  | 'INTERNAL'

/**
 * The one error class of the hub. `message` is one sentence for people: it names the field and the limit and says
 * how to mend it. The message path returns literals instead and never throws.
 */
export class HubError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'HubError'
    this.code = code
  }
}
