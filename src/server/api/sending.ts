import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { ClientFilter } from '../../core/contract.ts'
import { HubError } from '../../core/errors.ts'
import type { BroadcastOptions, BroadcastResult, ClientOutcome } from '../../sending/broadcast.ts'
import { contentTypeOf } from '../../sending/content-type.ts'
import type { HubContext } from '../context.ts'
import { correlate } from '../correlation.ts'
import { errorBody } from '../errors.ts'
import { goneSignal } from '../gone.ts'
import { saidType } from '../publisher.ts'
import type { Api } from './route.ts'
import {
  anyTopicName,
  broadcastResult,
  clientPath,
  content,
  defaultType,
  formsWith,
  messageKey,
  ms,
  queryBoolean,
  queryNumber,
  SAY_WHAT,
  SAY_WHAT_FORMS,
  SENDING_ERRORS,
  saysWhatOnce,
} from './schemas.ts'

/** How many clients one request may name, and how many one answer lists. */
const MAX_CLIENTS = 10_000
/** What a body may have beside its message: the ids. JSON may write a byte as six, and base64 as four thirds. */
const IDS_BYTES = 2 * 1024 * 1024
const JSON_FACTOR = 6
const MAX_TIMEOUT_MS = 300_000

const timeoutMs = z.int().min(1).max(MAX_TIMEOUT_MS)
const sendQuery = z.strictObject({
  id: messageKey.optional().meta({ description: 'Of the message; or the header idempotency-key.' }),
  confirm: queryBoolean
    .optional()
    .meta({ description: 'true: wait until the peer has it, where its protocol can tell.' }),
  timeoutMs: queryNumber(timeoutMs).optional().meta({ description: 'Default 30000.' }),
})

/** Of messages to several: how, beside what and to whom. */
export const sendingOptions = {
  ...content,
  id: messageKey.optional(),
  concurrency: z.int().min(1).max(1000).optional(),
  timeoutMs: timeoutMs.optional(),
  confirm: z.boolean().optional(),
}
const broadcastBody = z
  .strictObject({
    clients: z
      .array(z.string())
      .max(MAX_CLIENTS, `it names at most ${MAX_CLIENTS} clients; send several, or a filter`)
      .optional(),
    filter: z
      .strictObject({
        topic: anyTopicName.optional(),
        user: z.string().optional(),
        protocol: z.string().optional(),
        all: z.literal(true).optional(),
        except: z.array(z.string()).max(MAX_CLIENTS, `it names at most ${MAX_CLIENTS} clients`).optional(),
      })
      .meta({ oneOf: [{ required: ['all'] }, { anyOf: formsWith('topic', 'user', 'protocol') }] })
      .optional()
      .meta({ description: 'What they have in common; `all` is everybody.' }),
    ...sendingOptions,
  })
  .refine(body => (body.clients === undefined) !== (body.filter === undefined), {
    path: ['clients'],
    error: 'say who: clients, a list of ids, or filter ({"all":true} is everybody)',
  })
  .refine(saysWhatOnce, SAY_WHAT)
  .meta({ allOf: [SAY_WHAT_FORMS, { oneOf: formsWith('clients', 'filter') }] })

/** What a body that has one message in it may have in bytes. */
export function bodyLimit(maxMessageBytes: number): number {
  return JSON_FACTOR * maxMessageBytes + IDS_BYTES
}

/** Messages to single clients. */
export async function sendingRoutes(app: FastifyInstance, api: Api, context: HubContext): Promise<void> {
  const { hub, maxMessageBytes } = context
  const tag = 'Sending'

  const raw: FastifyPluginAsync = async sends => {
    sends.removeAllContentTypeParsers()
    sends.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: maxMessageBytes }, (_request, body, done) =>
      done(null, body),
    )
    api.add(
      {
        method: 'POST',
        path: '/api/clients/{id}/send',
        tag,
        access: 'publish',
        summary: 'Sends to one client, and says how it ended',
        params: clientPath,
        query: sendQuery,
        rawBody: 'The message as it is, of any type but multipart/form-data.',
        bodyLimit: maxMessageBytes,
        answers: {
          200: {
            description: 'Its transport took it; `confirmed`: its peer has it.',
            schema: z.object({ id: z.string(), confirmed: z.boolean(), ms }),
          },
        },
        errors: [
          ...SENDING_ERRORS,
          'CONNECTION_NOT_FOUND',
          'CONNECTION_STALE',
          'LIMIT_EXCEEDED',
          'SEND_FAILED',
          'SEND_TIMEOUT',
          'SEND_ABORTED',
          'CIRCUIT_OPEN',
        ],
        handler: ({ params, query: { id, confirm, timeoutMs }, request, reply }) => {
          const body = (request.body as Buffer | undefined) ?? Buffer.alloc(0)
          return hub.send(params.id, body, {
            id: messageId(id, request),
            contentType: contentTypeOf(saidType(request), undefined, body),
            correlationId: correlate(request, reply),
            confirm,
            timeoutMs,
            signal: goneSignal(reply),
          })
        },
      },
      sends,
    )
  }
  await app.register(raw)

  api.add({
    method: 'POST',
    path: '/api/broadcast',
    tag,
    access: 'publish',
    summary: 'Sends to many clients, once to each',
    body: broadcastBody,
    bodyLimit: bodyLimit(maxMessageBytes),
    answers: {
      200: { description: 'All got it.', schema: broadcastResult },
      207: { description: 'Some did not get it.', schema: broadcastResult },
    },
    errors: [...SENDING_ERRORS, 'TOPIC_INVALID'],
    handler: ({ body: { clients, filter, ...message }, request, reply }) =>
      sendToMany(message, request, reply, (data, options) =>
        // JSON has no undefined, which a filter must not have either.
        hub.broadcast(clients ? new Set(clients) : (filter as ClientFilter), data, options),
      ),
  })
}

type Message = z.infer<z.ZodObject<typeof sendingOptions>>

/** Sends what a body says, by what is given, and answers with what came of it at each. */
export async function sendToMany(
  message: Message,
  request: FastifyRequest,
  reply: FastifyReply,
  send: (data: unknown, options: BroadcastOptions) => Promise<BroadcastResult>,
) {
  const { concurrency, timeoutMs, confirm } = message
  const id = messageId(message.id, request) ?? randomUUID()
  const result = await send(messageOf(message, request), {
    ...{ id, concurrency, timeoutMs, confirm },
    contentType: message.contentType ?? defaultType(message),
    correlationId: correlate(request, reply),
    signal: goneSignal(reply),
  })
  const { error } = result
  reply.code(error?.status ?? 200)
  return { ...(error && errorBody(error)), id, ...summary(result) }
}

/** `data` goes on as it stands in the body. */
function messageOf({ text, base64 }: Message, { jsonText }: FastifyRequest): Uint8Array {
  return base64 === undefined ? Buffer.from(text ?? jsonText!.member('data')!.text) : Buffer.from(base64, 'base64')
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
