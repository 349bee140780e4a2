import { HubError } from '../../core/errors.ts'
import { openSessions, type RefusalReason, type Session, type SessionManager } from '../../core/sessions.ts'
import type { Edge } from './edge.ts'

/** Whoever is refused for these has guessed nothing: there was no token, or it was a real one. */
const NO_GUESS: ReadonlySet<RefusalReason | undefined> = new Set(['missing', 'expired', 'early', 'revoked'])

/**
 * A session manager that an address may not ask for ever: after too many logins that failed it is refused without a
 * look at what it brings. Whoever authenticates must say the peer's address.
 */
export function limitLogins(sessions: SessionManager, edge: Edge): SessionManager {
  // It is known by its identity as the one that need not be asked.
  if (sessions === openSessions) return sessions
  const failed = (error: unknown, address: string | undefined): never => {
    if (isGuess(error)) edge.loginFailed(address)
    throw error
  }
  return {
    authenticate(handshake): Session | Promise<Session> {
      const { address } = handshake
      edge.checkLogins(address)
      try {
        const session = sessions.authenticate(handshake)
        if (typeof (session as Promise<Session> | undefined)?.then !== 'function') return session
        // Of another library's making perhaps, whose `then` says nothing.
        return Promise.resolve(session).then(undefined, (error: unknown) => failed(error, address))
      } catch (error) {
        return failed(error, address)
      }
    },
    authorize: (session, action, topic) => sessions.authorize(session, action, topic),
    ...(sessions.grant && { grant: (session, token, topic) => sessions.grant!(session, token, topic) }),
    ...(sessions.refresh && { refresh: (session, token) => sessions.refresh!(session, token) }),
    ...(sessions.revoked && { revoked: session => sessions.revoked!(session) }),
  }
}

function isGuess(error: unknown): boolean {
  if (!(error instanceof HubError)) return false
  if (error.code === 'PERMISSION_DENIED') return true
  return error.code === 'UNAUTHENTICATED' && !NO_GUESS.has(error.reason)
}
