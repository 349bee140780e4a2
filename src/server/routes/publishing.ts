import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { HubError } from '../../core/errors.ts'
import { parseTopicName } from '../../core/ids.ts'
import type { Action } from '../../core/sessions.ts'
import { contentTypeOf } from '../../sending/content-type.ts'
import { turnTime } from '../../transports/turn-time.ts'
import { isText } from '../../wire/content-type.ts'
import { callerOf } from '../api/idempotency.ts'
import type { HubContext } from '../context.ts'
import { correlate } from '../correlation.ts'
import { checkPublisher } from '../long-publishing.ts'
import { publishSource, resultBody, saidType, sourceContentType } from '../publisher.ts'
import { readInput } from '../read-input.ts'

interface TopicPath {
  Params: { '*': string }
}

export const publishQuery = z.strictObject({
  key: z.string().max(255).optional().meta({ description: 'What the message is the newest value of (policy latest).' }),
})
export const sourceQuery = publishQuery.extend({
  split: z.enum(['lines', 'none']).default('none').meta({ description: 'lines: each line is a message.' }),
})

const PUBLISH: readonly Action[] = ['publish']

/** `POST` one message, `PUT` a live source. */
export async function publishRoutes(app: FastifyInstance, context: HubContext): Promise<void> {
  const { hub, maxMessageBytes } = context

  function read<Q extends z.ZodType>(request: FastifyRequest<TopicPath>, schema: Q) {
    const topic = parseTopicName(request.params['*'])
    const known = hub.resolveTopic(topic).contentType ?? undefined
    return { topic, known, query: readInput(schema, request.query, 'query') }
  }

  const posting: FastifyPluginAsync = async posts => {
    posts.removeAllContentTypeParsers()
    posts.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: maxMessageBytes }, (_request, body, done) =>
      done(null, body),
    )
    posts.post<TopicPath>('/topics/*', { bodyLimit: maxMessageBytes }, async (request, reply) => {
      const { topic, known, query } = read(request, publishQuery)
      await context.authorize(request, PUBLISH, [topic])
      const body = (request.body as Buffer | undefined) ?? Buffer.alloc(0)
      const contentType = contentTypeOf(saidType(request), known, body)
      const correlationId = correlate(request, reply)
      const parts = [topic, contentType, query.key, body]
      // The check of one message may be slow, and requests of many clients come in one turn.
      if (turnTime.over) await turnTime.wait()
      return context.idempotency.once(request, reply, callerOf(request), parts, async () => {
        const publisher = { session: request.hubSession }
        const result = await hub.publishBytes(topic, body, { contentType, key: query.key, correlationId, publisher })
        return { status: 202, body: { topic, ...resultBody(result) } }
      })
    })
  }

  const sourcing: FastifyPluginAsync = async sources => {
    sources.removeAllContentTypeParsers()
    sources.addContentTypeParser('*', (_request, _body, done) => done(null))
    const live = { bodyLimit: Number.MAX_SAFE_INTEGER, config: { source: true } } as const
    sources.put<TopicPath>('/topics/*', live, async (request, reply) => {
      const { topic, known, query } = read(request, sourceQuery)
      await context.authorize(request, PUBLISH, [topic])
      const contentType = sourceContentType(saidType(request), known, query.split)
      if (query.split === 'lines' && !isText(contentType)) {
        throw new HubError(
          'REQUEST_INVALID',
          `split: ${contentType} has no lines; say what the lines are with content-type`,
        )
      }
      request.log.info({ topic, contentType }, 'source connected')
      const session = request.hubSession!
      const options = {
        contentType,
        key: query.key,
        correlationId: correlate(request, reply),
        publisher: { session },
        split: query.split,
        maxBytes: maxMessageBytes,
        signal: context.closing,
        idleMs: context.edge.sourceIdleMs,
        idle: () => context.edge.count('sourceIdleMs'),
        check: () => checkPublisher(context, session, topic),
        pace: context.edge.pace(request),
      }
      const result = await publishSource(hub, topic, request.raw, options)
      request.log.info({ topic, ...result }, 'source ended')
      return reply.code(200).send({ topic, ...result })
    })
  }

  await app.register(posting)
  await app.register(sourcing)
}
