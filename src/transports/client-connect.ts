import { checkSession } from '../core/arguments.ts'
import type { Connection } from '../core/connection.ts'
import type { ClientId, Position } from '../core/ids.ts'
import { isPattern } from '../core/patterns.ts'
import { openSessions, type Session } from '../core/sessions.ts'
import { ERRORS, errorReply, resultReply } from '../wire/client-protocol.ts'
import { clientCodec } from './client-codec.ts'
import type { Command } from './client-commands.ts'
import { expiry, sessionOf, type TopicsContext, type TopicsOwner } from './client-gate.ts'
import { ServerSubscriptions } from './client-recovery.ts'
import type { Heartbeat } from './heartbeat.ts'
import type { Opening } from './transport.ts'

/** Rejects as SessionManager.authenticate, and where its answer is no session. */
export async function authenticate(
  { gate: { sessions } }: TopicsContext,
  token: string | undefined,
  { address, credentials }: Opening,
  connection: Connection,
): Promise<Session> {
  // A system call, and nobody who wants to know.
  const from = sessions === openSessions ? undefined : (address ?? connection.address)
  const session = await sessions.authenticate({
    ...{ protocol: clientCodec.name, address: from },
    ...credentials,
    ...((token ?? '') !== '' && { token, ticket: undefined }),
  })
  checkSession(session)
  return session
}

/**
 * The reply to a connect, once the client is registered: who it is, when its session ends, how often it is pinged, and
 * what the server has subscribed it to. Behind it, a push for each of these topics in which something was missed that
 * is not JSON. Throws CONNECTION_NOT_FOUND where a handler of the hub's events has ended it already.
 */
export function connectReply(
  { hub }: TopicsContext,
  client: ClientId,
  { id, positions }: { readonly id: number; readonly positions: ReadonlyMap<string, Position> },
  session: Session,
  heartbeat: Heartbeat | undefined,
): string {
  const subscriptions = new ServerSubscriptions(hub, client, positions)
  const subs = subscriptions.text()
  const pings = heartbeat && { ping: heartbeat.seconds, pong: true }
  const result = { ...identity(client, session), ...pings }
  if (subs === undefined) return resultReply(id, 'connect', result)
  // What was recovered is JSON text already.
  const reply = `{"id":${id},"connect":${JSON.stringify(result).slice(0, -1)},"subs":${subs}}}`
  return [reply, ...subscriptions.gaps].join('\n')
}

function identity(client: ClientId, { expiresAt }: Session): object {
  return { client, version: 'hubline', ...expiry(expiresAt) }
}

/**
 * A newer token of the same user. What it no longer grants ends. Throws what the session manager throws,
 * PERMISSION_DENIED.
 */
export async function refresh(
  context: TopicsContext,
  owner: TopicsOwner,
  { id, token }: Extract<Command, { method: 'refresh' }>,
): Promise<string | undefined> {
  const { hub, sessions } = context
  if (sessions.refresh === undefined) return errorReply(id, ERRORS.notAvailable)
  const before = sessionOf(context, owner)
  if (before === undefined) return undefined
  const session = await sessions.refresh(before, token)
  if (!owner.current) return undefined
  hub.setSession(owner.id, session)
  await endForbidden(context, owner, before, session)
  return resultReply(id, 'refresh', identity(owner.id, session))
}

/**
 * Subscriptions that the older session allowed and the newer does not. What somebody else subscribed the client to is
 * not its session's.
 */
async function endForbidden(
  { hub, gate }: TopicsContext,
  owner: TopicsOwner,
  older: Session,
  newer: Session,
): Promise<void> {
  const { subscriptions, patterns } = hub.getClient(owner.id)
  const named = subscriptions.flatMap(({ topic, pattern }) => (pattern === undefined ? topic : []))
  for (const name of [...named, ...patterns.map(({ pattern }) => pattern)]) {
    const allowed = async (session: Session) => (await gate.permits(session, 'subscribe', name)) === true
    if ((await allowed(newer)) || !(await allowed(older))) continue
    // Somebody may have been quicker, or have taken over the id.
    if (hub.sessionOf(owner.id) !== newer) return
    if (isPattern(name)) hub.unsubscribePattern(owner.id, name)
    else hub.unsubscribe(owner.id, name)
  }
}
