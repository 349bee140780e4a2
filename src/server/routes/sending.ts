import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { HubError } from '../../core/errors.ts'
import type { BroadcastResult, ClientOutcome } from '../../sending/broadcast.ts'
import type { HubContext } from '../context.ts'
import { correlate } from '../correlation.ts'
import { errorBody, HTTP_STATUS } from '../errors.ts'
import { goneSignal } from '../gone.ts'
import { contentTypeOf } from '../publisher.ts'

interface ClientPath {
  Params: { id: string }
}

/** How many clients one request may name, and how many one answer lists. */
const MAX_CLIENTS = 10_000
/** What a body may have beside its message: the ids. JSON may write a byte as six, and base64 as four thirds. */
const IDS_BYTES = 2 * 1024 * 1024
const JSON_FACTOR = 6
const MAX_TIMEOUT_MS = 300_000

const timeoutMs = z.int().min(1).max(MAX_TIMEOUT_MS)
const sendQuery = z.strictObject({
  id: z.string().optional(),
  confirm: z
    .enum(['true', 'false'])
    .transform(text => text === 'true')
    .optional(),
  timeoutMs: z.string().transform(Number).pipe(timeoutMs).optional(),
})

const broadcastBody = z
  .strictObject({
    clients: z
      .array(z.string())
      .max(MAX_CLIENTS, `it names at most ${MAX_CLIENTS} clients; send several, or a filter`)
      .optional(),
    filter: z
      .strictObject({
        topic: z.string().optional(),
        user: z.string().optional(),
        protocol: z.string().optional(),
        except: z.array(z.string()).max(MAX_CLIENTS, `it names at most ${MAX_CLIENTS} clients`).optional(),
      })
      .optional(),
    data: z.unknown().optional(),
    text: z.string().optional(),
    base64: z.base64('it is not base64').optional(),
    contentType: z
      .string()
      .min(1)
      .max(255)
      .regex(/^[\x20-\x7e]+$/, 'it must be printable ASCII')
      .optional(),
    id: z.string().optional(),
    concurrency: z.int().min(1).max(1000).optional(),
    timeoutMs: timeoutMs.optional(),
    confirm: z.boolean().optional(),
  })
  .refine(body => (body.clients === undefined) !== (body.filter === undefined), {
    path: ['clients'],
    error: 'say who: clients, a list of ids, or filter ({} is everybody)',
  })
  .refine(body => ['data', 'text', 'base64'].filter(key => Object.hasOwn(body, key)).length === 1, {
    path: ['data'],
    error: 'say what, once: data (any JSON), text or base64',
  })

/** `POST /api/clients/{id}/send`: the body is the message as it is, of any type. */
export async function sendRoute(app: FastifyInstance, { hub, maxMessageBytes }: HubContext): Promise<void> {
  const raw: FastifyPluginAsync = async sends => {
    sends.removeAllContentTypeParsers()
    sends.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: maxMessageBytes }, (_request, body, done) =>
      done(null, body),
    )
    sends.post<ClientPath>('/api/clients/:id/send', { bodyLimit: maxMessageBytes }, (request, reply) => {
      const { id, confirm, timeoutMs } = sendQuery.parse(request.query)
      const body = (request.body as Buffer | undefined) ?? Buffer.alloc(0)
      return hub.send(request.params.id, body, {
        id: messageId(id, request),
        contentType: contentTypeOf(request.headers['content-type'], undefined, body),
        correlationId: correlate(request, reply),
        confirm,
        timeoutMs,
        signal: goneSignal(reply),
      })
    })
  }
  await app.register(raw)
}

/** `POST /api/broadcast`: JSON, which has the message in it. */
export function broadcastRoute(app: FastifyInstance, { hub, maxMessageBytes }: HubContext): void {
  const bodyLimit = JSON_FACTOR * maxMessageBytes + IDS_BYTES
  app.post('/api/broadcast', { bodyLimit }, async (request, reply) => {
    const { clients, filter, concurrency, timeoutMs, confirm, ...content } = broadcastBody.parse(request.body)
    const id = messageId(content.id, request) ?? randomUUID()
    const result = await hub.broadcast(clients ? new Set(clients) : filter!, messageOf(content), {
      ...{ id, concurrency, timeoutMs, confirm },
      contentType: content.contentType ?? ('data' in content ? 'application/json' : undefined),
      correlationId: correlate(request, reply),
      signal: goneSignal(reply),
    })
    const { error } = result
    reply.code(error ? HTTP_STATUS[error.code] : 200)
    return { ...(error && errorBody(error)), id, ...summary(result) }
  })
}

/** `data` is the hub's to write as JSON, for not all JSON that can be read can be written. But a string it would take for text. */
function messageOf({ data, text, base64 }: Pick<z.infer<typeof broadcastBody>, 'data' | 'text' | 'base64'>): unknown {
  if (base64 !== undefined) return Buffer.from(base64, 'base64')
  return text ?? (typeof data === 'string' ? JSON.stringify(data) : data)
}

/** The key against duplicates has a header of its own, as elsewhere. */
function messageId(id: string | undefined, { headers }: FastifyRequest): string | undefined {
  const key = headers['idempotency-key'] as string | undefined
  if (id === undefined || key === undefined || id === key) return id ?? key
  throw new HubError('REQUEST_INVALID', 'id: it is not what the header idempotency-key says; give one of them')
}

/** Everybody may be many: of more than one request may name, those that failed are listed alone. */
function summary({ sent, failed, results }: BroadcastResult) {
  const listed = results.length > MAX_CLIENTS ? results.filter(({ ok }) => !ok).slice(0, MAX_CLIENTS) : results
  return { sent, failed, results: listed.map(outcome) }
}

function outcome(outcome: ClientOutcome) {
  const { clientId, ok } = outcome
  if (!outcome.ok) return { clientId, ok, ...errorBody(outcome.error) }
  return { clientId, ok, confirmed: outcome.confirmed, ms: outcome.ms }
}
