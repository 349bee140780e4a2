/** `hubline/sessions`: who somebody is, and what he may do. */
export type {
  Action,
  Grants,
  Handshake,
  RefusalReason,
  Session,
  SessionManager,
  SubscriptionGrant,
} from '../core/sessions.ts'
export { type ApiKeyEntry, ApiKeys, type KeyScope, type KnownKey, type NewKey, newApiKey } from './api-keys.ts'
export { type CallbackSessions, type CallbackSessionsOptions, callbackSessions } from './callback-sessions.ts'
export { type SessionChainOptions, sessionChain } from './chain.ts'
export { type GrantPatterns, userSegment } from './grants.ts'
export type { JwksOptions } from './jwks.ts'
export { type JwtOptions, jwtSessions } from './jwt.ts'
export type { JwtAlgorithm, JwtKeyOptions } from './jwt-keys.ts'
export { Revocations, type RevocationsOptions } from './revocations.ts'
export { SessionWatch, type SessionWatchOptions } from './session-watch.ts'
export { type Ticket, type TicketOptions, Tickets, type TicketsOptions } from './tickets.ts'
