import { type ErrorCode, HubError } from '../core/errors.ts'
import { Gate } from '../core/gate.ts'
import { type ClientId, parseTopicName, type TopicName } from '../core/ids.ts'
import type { ConnectionManager } from '../core/manager.ts'
import type { TopicPattern } from '../core/patterns.ts'
import type { DeliveryPolicy } from '../core/policy.ts'
import type { Action, Session, SessionManager } from '../core/sessions.ts'
import { DISCONNECTS, type Disconnect, ERRORS, type ErrorName, type ProtocolError } from '../wire/client-protocol.ts'
import { CLIENT_CLOSE_CODES } from './client-codec.ts'
import type { Grants } from './client-grants.ts'
import type { JoinsAndLeaves } from './client-presence.ts'

/** What all clients of the protocol share. */
export interface TopicsContext {
  readonly hub: ConnectionManager
  readonly sessions: SessionManager
  readonly gate: Gate
  readonly parsePolicy: (input: unknown) => DeliveryPolicy
  readonly presence: JoinsAndLeaves
  readonly grants: Grants
  /** Called with each error that is answered, or ends a connection. */
  readonly rejected: (error: unknown, clientId: string) => void
}

/** Whose subscriptions they are. */
export interface TopicsOwner {
  readonly id: ClientId
  /** The registration under this id is still its own: somebody else may have taken it over while we waited. */
  readonly current: boolean
  reply(text: string): void
  /** Sends it, if the connection would take it at once. */
  hint(frame: Uint8Array): void
}

/** What the hub's errors are in the client protocol. What is not here is 100. */
const ERROR_OF: Readonly<Partial<Record<ErrorCode, ErrorName>>> = {
  TOPIC_INVALID: 'badRequest',
  TOPIC_UNKNOWN: 'unknownChannel',
  PERMISSION_DENIED: 'permissionDenied',
  UNAUTHENTICATED: 'permissionDenied',
  POLICY_INVALID: 'badRequest',
  POLICY_DENIED: 'permissionDenied',
  LIMIT_EXCEEDED: 'limitExceeded',
  QUOTA_EXCEEDED: 'limitExceeded',
  RATE_LIMITED: 'tooManyRequests',
  MESSAGE_TOO_LARGE: 'limitExceeded',
  INVALID_MESSAGE: 'badRequest',
  SCHEMA_MISMATCH: 'badRequest',
  UNSUPPORTED_PAYLOAD: 'notAvailable',
  PRESENCE_OFF: 'notAvailable',
  NOT_SUBSCRIBED: 'badRequest',
  POSITION_INVALID: 'badRequest',
}

/** The error of the table with the hub's sentence in it; undefined for what nobody expected. */
export function protocolError(error: unknown): ProtocolError | undefined {
  if (!(error instanceof HubError)) return undefined
  // Whoever knows cannot be asked now: that is nobody's fault, and passes.
  if (error.code === 'AUTH_UNAVAILABLE') return ERRORS.internal
  // The SDKs get a new token then, and come again.
  if (error.code === 'UNAUTHENTICATED' && error.reason === 'expired') return ERRORS.tokenExpired
  const name = ERROR_OF[error.code]
  return name && { ...ERRORS[name], message: `${ERRORS[name].message}: ${error.message}` }
}

/** The close code of a connect that failed; undefined for what nobody expected. */
export function refusalOf(error: unknown, token: string | undefined): Disconnect | undefined {
  if (!(error instanceof HubError)) return undefined
  if (error.code === 'UNAUTHENTICATED' && error.reason === 'expired') return DISCONNECTS.expired
  const refused = token === undefined ? DISCONNECTS.permissionDenied : DISCONNECTS.invalidToken
  const codes: Partial<Record<ErrorCode, Disconnect>> = {
    PERMISSION_DENIED: refused,
    // Its class, and nothing that would help to make a better one.
    UNAUTHENTICATED: [DISCONNECTS.invalidToken[0], `${DISCONNECTS.invalidToken[1]}: ${error.reason ?? 'refused'}`],
    CONNECTION_NOT_FOUND: DISCONNECTS.permissionDenied,
    AUTH_UNAVAILABLE: [DISCONNECTS.serverError[0], 'who decides did not answer: try again later'],
    QUOTA_EXCEEDED: DISCONNECTS.connectionLimit,
    LIMIT_EXCEEDED: CLIENT_CLOSE_CODES.overloaded,
    RATE_LIMITED: CLIENT_CLOSE_CODES.overloaded,
    SHUTTING_DOWN: DISCONNECTS.shutdown,
  }
  return codes[error.code]
}

/** The gate of a hub whose sessions these are. */
export function gateOf(hub: ConnectionManager, sessions: SessionManager): Gate {
  return new Gate(sessions, { resolve: name => hub.resolveTopic(name) })
}

/**
 * False: the client has gone meanwhile. Throws PERMISSION_DENIED, TOPIC_UNKNOWN, and what the session manager throws.
 */
export async function permitted(
  { hub, gate }: TopicsContext,
  owner: TopicsOwner,
  action: Action,
  topic: TopicName | TopicPattern,
): Promise<boolean> {
  const session = owner.current ? hub.sessionOf(owner.id) : undefined
  if (session === undefined) return false
  if ((await gate.permits(session, action, topic)) !== true) throw denied(action, topic)
  return owner.current
}

/** The words for a refused action in an error, before the name of the topic. */
export const VERBS: Readonly<Record<Action, string>> = {
  subscribe: 'subscribe to',
  publish: 'publish to',
  presence: 'read the presence of',
  history: 'read the history of',
}

export function denied(action: Action, topic: string): HubError {
  return new HubError('PERMISSION_DENIED', `this session may not ${VERBS[action]} ${topic}`)
}

/** Pushes name the topic as the hub does; a client that asked for another spelling would not recognise them. */
export function topicOf(channel: string): TopicName {
  const topic = parseTopicName(channel)
  if (topic !== channel) throw new HubError('TOPIC_INVALID', `channel: leave the leading / away: the topic is ${topic}`)
  return topic
}

/**
 * What an SDK is told of when something ends: somewhat before, for a new token that comes once the old one is over
 * comes too late.
 *
 * @param expiresAt in ms since 1970
 */
export function expiry(expiresAt: number | undefined): { readonly expires?: true; readonly ttl?: number } {
  if (expiresAt === undefined) return {}
  const left = (expiresAt - Date.now()) / 1000
  return { expires: true, ttl: Math.max(1, Math.floor(left - Math.min(30, left / 10))) }
}

/** The session of a client that is connected. */
export function sessionOf({ hub }: TopicsContext, owner: TopicsOwner): Session | undefined {
  return owner.current ? hub.sessionOf(owner.id) : undefined
}
