import { checkSession } from '../core/arguments.ts'
import { openSessions, type Session, type SessionManager, type SubscriptionGrant } from '../core/sessions.ts'

/**
 * A session manager whose answers are checked. What is no session, or no grant, is an error of the manager: a TypeError
 * that names the method and the field.
 */
export function checkedSessions(sessions: SessionManager): SessionManager {
  // It is known by its identity as the one that need not be asked.
  if (sessions === openSessions) return sessions
  return {
    authenticate: handshake => checked(sessions.authenticate(handshake), 'authenticate'),
    authorize: (session, action, topic) => sessions.authorize(session, action, topic),
    ...(sessions.grant && {
      grant: (session, token, topic) => checked(sessions.grant!(session, token, topic), 'grant'),
    }),
    ...(sessions.refresh && { refresh: (session, token) => checked(sessions.refresh!(session, token), 'refresh') }),
    ...(sessions.revoked && { revoked: session => sessions.revoked!(session) }),
  }
}

/** A grant has fields of a session. */
function checked<T extends Session | SubscriptionGrant>(answer: T | Promise<T>, method: string): T | Promise<T> {
  // Of another library's making perhaps, whose `then` says nothing.
  if (isPromise(answer)) return Promise.resolve(answer).then(value => checked(value, method))
  try {
    checkSession(answer)
  } catch (error) {
    throw new TypeError(`${method} of the session manager: ${(error as Error).message}`, { cause: error })
  }
  return answer
}

function isPromise<T>(answer: T | Promise<T>): answer is Promise<T> {
  return typeof (answer as Promise<T> | undefined)?.then === 'function'
}
