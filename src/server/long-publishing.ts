import type { CloseReason } from '../core/connection.ts'
import { type ErrorCode, HubError } from '../core/errors.ts'
import type { TopicName } from '../core/ids.ts'
import type { Session } from '../core/sessions.ts'
import { isOpenTo } from '../core/topics.ts'
import { wasRevoked } from '../sessions/session-watch.ts'
import type { HubContext } from './context.ts'

/**
 * Checks at each message of a long publication that its session is still good, and that the topic's rule still allows
 * it. Asks only what answers at once. Throws UNAUTHENTICATED, PERMISSION_DENIED, TOPIC_UNKNOWN.
 */
export function checkPublisher({ gate: { sessions }, hub }: HubContext, session: Session, topic: TopicName): void {
  if (session.expiresAt !== undefined && session.expiresAt <= Date.now()) {
    throw new HubError('UNAUTHENTICATED', 'session: it is over; come back with a newer token', { reason: 'expired' })
  }
  if (wasRevoked(sessions, session)) {
    throw new HubError('UNAUTHENTICATED', 'session: it was revoked', { reason: 'revoked' })
  }
  if (isOpenTo(hub.resolveTopic(topic).publish, session)) return
  throw new HubError('PERMISSION_DENIED', `topic: this session may not publish to ${topic} any more`)
}

const REASONS: Readonly<Partial<Record<ErrorCode, CloseReason>>> = {
  LIMIT_EXCEEDED: 'overloaded',
  PERMISSION_DENIED: 'denied',
  UNAUTHENTICATED: 'expired',
}

/** What a WebSocket that publishes, and has no answers, is closed for when it is refused. */
export function reasonOf({ code, reason }: HubError): CloseReason {
  return reason === 'revoked' ? reason : (REASONS[code] ?? 'protocol')
}

/** ws hands out views of a larger buffer that it read at once, which a message of a few bytes would keep alive. */
export function owned(data: Buffer): Uint8Array {
  return data.byteLength === data.buffer.byteLength ? data : Uint8Array.prototype.slice.call(data)
}
