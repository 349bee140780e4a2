import type { FastifyPluginAsync } from 'fastify'
import { z } from 'zod'
import { HubError } from '../../core/errors.ts'
import { openSessions, type Session } from '../../core/sessions.ts'
import { MAX_GRANTED_PATTERNS, parseGrants } from '../../sessions/grants.ts'
import { MAX_TICKET_MS } from '../../sessions/tickets.ts'
import type { HubContext } from '../context.ts'
import { takeJsonOnly } from '../json-bodies.ts'
import { Api, type ApiRoute } from './route.ts'
import { grantedPattern, userName } from './schemas.ts'

const wantedTicket = z
  .strictObject({
    user: userName.optional(),
    topics: z.array(grantedPattern.max(255)).min(1).max(MAX_GRANTED_PATTERNS).optional(),
    ttlMs: z.int().min(1).max(MAX_TICKET_MS).optional(),
    expiresAt: z
      .int()
      .min(0)
      .optional()
      .meta({ description: 'When the session that it opens ends, in ms since 1970.' }),
  })
  .nullish()

/** Apart from the operators' routes: a client has a token for these, and no key. */
export const ticketRoutes: FastifyPluginAsync<{ context: HubContext }> = async (app, { context }) => {
  takeJsonOnly(app)
  new Api(app).add(ticketRoute(context))
}

/** `POST /api/tickets` looks at its own credentials. */
export function ticketRoute(
  context: HubContext,
): ApiRoute<z.ZodUndefined, z.ZodObject<Record<never, never>>, typeof wantedTicket> {
  const { tickets, gate } = context

  async function permit(session: Session, topics: readonly string[]): Promise<void> {
    for (const topic of parseGrants({ subscribe: topics }, session.user).subscribe) {
      if (await gate.permits(session, 'subscribe', topic)) continue
      throw new HubError('PERMISSION_DENIED', 'topics: this session may not subscribe to all of them')
    }
  }

  return {
    method: 'POST',
    path: '/api/tickets',
    tag: 'Sessions',
    access: 'session',
    summary: 'A one-use ticket for a URL: EventSource, <audio>, <img>',
    description:
      'With the token of a client, or the key of a backend, which says for whom and for which topics. On the public port, also where the API has a listener of its own.',
    body: wantedTicket,
    answers: {
      201: {
        description: 'Put it into the query of the URL, as `ticket`.',
        schema: z.looseObject({ ticket: z.string() }),
      },
    },
    errors: ['TOPIC_INVALID', 'AUTH_UNAVAILABLE', 'RATE_LIMITED', 'LIMIT_EXCEEDED'],
    handler: async ({ body, request, reply }) => {
      const wanted = body ?? {}
      const { user, topics, ttlMs } = wanted
      const bearer = await context.authenticate(request)
      // Nobody needs one: he is let in without. And nobody's would have no limit but that of all tickets.
      if (!bearer.backend && bearer.user === undefined && gate.sessions !== openSessions) {
        throw new HubError('UNAUTHENTICATED', 'token: a ticket is for a user or from a backend', { reason: 'missing' })
      }
      const session = bearer.backend ? onBehalf(wanted) : bearer
      if (!bearer.backend && ((user ?? bearer.user) !== bearer.user || wanted.expiresAt !== undefined)) {
        throw new HubError('PERMISSION_DENIED', 'user, expiresAt: only a backend, with its key, says them')
      }
      // A session without grants has a manager that decides by itself.
      if (session.grants === undefined) await permit(session, topics ?? [])
      reply.header('cache-control', 'no-store')
      return tickets.issue(session, { ttlMs, ...(topics && { topics }) })
    },
  }
}

const SESSION_MS = 24 * 60 * 60 * 1000

/** What a backend says of its user. It must say for which topics: a ticket for everything would be a key. */
function onBehalf({ user, topics, expiresAt }: NonNullable<z.infer<typeof wantedTicket>>): Session {
  const now = Date.now()
  if (topics === undefined)
    throw new HubError('REQUEST_INVALID', 'topics: a backend names the patterns that its ticket is for')
  return { user, backend: true, issuedAt: now, expiresAt: expiresAt ?? now + SESSION_MS }
}
