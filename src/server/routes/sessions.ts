import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { HubError } from '../../core/errors.ts'
import { parsePattern } from '../../core/patterns.ts'
import { openSessions, type Session } from '../../core/sessions.ts'
import { MAX_GRANTED_PATTERNS } from '../../sessions/grants.ts'
import { refused } from '../../sessions/refusals.ts'
import { MAX_TICKET_MS } from '../../sessions/tickets.ts'
import { credentialsOf, type HubContext } from '../context.ts'

const name = z.string().min(1).max(255)
const wantedTicket = z
  .strictObject({
    user: name.optional(),
    topics: z.array(z.string().max(255)).min(1).max(MAX_GRANTED_PATTERNS).optional(),
    ttlMs: z.int().min(1).max(MAX_TICKET_MS).optional(),
    /** When the session that it opens ends, in ms since 1970. */
    expiresAt: z.int().min(0).optional(),
  })
  .prefault({})
const revocation = z.union([z.strictObject({ user: name }), z.strictObject({ tokenId: name })], 'give user, or tokenId')

/** `POST /api/tickets`, `POST /api/revocations`: each looks at its own credentials. All bodies are JSON. */
export function sessionRoutes(app: FastifyInstance, context: HubContext): void {
  const { tickets, revocations, apiKeys, gate } = context

  app.post('/api/tickets', async (request, reply) => {
    const wanted = wantedTicket.parse(request.body ?? undefined)
    const { user, topics, ttlMs } = wanted
    const bearer = await context.authenticate(request)
    const session = bearer.backend ? onBehalf(wanted) : bearer
    if (!bearer.backend && ((user ?? bearer.user) !== bearer.user || wanted.expiresAt !== undefined)) {
      throw new HubError('PERMISSION_DENIED', 'user, expiresAt: only a backend, with its key, says them')
    }
    // A session without grants has a manager that decides by itself.
    if (session.grants === undefined) await permit(session, topics ?? [])
    return reply.code(201).header('cache-control', 'no-store').send(tickets.issue(session, { topics, ttlMs }))
  })

  app.post('/api/revocations', (request, reply) => {
    requireAdmin(request)
    const said = revocation.parse(request.body)
    if ('user' in said) revocations.revokeUser(said.user)
    else revocations.revokeToken(said.tokenId)
    request.log.info(said, 'sessions revoked')
    reply.code(204).send()
  })

  async function permit(session: Session, topics: readonly string[]): Promise<void> {
    for (const topic of topics) {
      if (await gate.permits(session, 'subscribe', parsePattern(topic))) continue
      throw new HubError('PERMISSION_DENIED', 'topics: this session may not subscribe to all of them')
    }
  }

  /** Where nobody has to log in, nobody has to here. */
  function requireAdmin(request: FastifyRequest): void {
    if (gate.sessions === openSessions && apiKeys.size === 0) return
    const { token, headers } = credentialsOf(request)
    const key = token ?? headers?.['x-api-key']
    if (typeof key !== 'string') throw refused('missing')
    const known = apiKeys.verify(key)
    if (known === undefined) throw refused('key')
    if (!known.scopes.includes('admin')) throw new HubError('PERMISSION_DENIED', 'key: it has not the scope admin')
  }
}

const SESSION_MS = 24 * 60 * 60 * 1000

/** What a backend says of its user. It must say for which topics: a ticket for everything would be a key. */
function onBehalf({ user, topics, expiresAt }: z.infer<typeof wantedTicket>): Session {
  const now = Date.now()
  if (topics === undefined)
    throw new HubError('REQUEST_INVALID', 'topics: a backend names the patterns that its ticket is for')
  return { user, backend: true, issuedAt: now, expiresAt: expiresAt ?? now + SESSION_MS }
}
