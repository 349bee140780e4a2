import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { type ErrorCode, HubError } from '../../core/errors.ts'
import { TokenBucket } from '../../core/token-bucket.ts'
import { contentTypeOf } from '../../sending/content-type.ts'
import type { HubContext } from '../context.ts'
import { correlate } from '../correlation.ts'
import { toHubError } from '../errors.ts'
import { goneSignal } from '../gone.ts'
import type { Rejections } from '../rejections.ts'

interface ConnectionPath {
  Params: { id: string }
}

/** What API Gateway takes of one message, in bytes. */
const MAX_BYTES = 128 * 1024
/** The SDKs append `/@connections/{id}` to an endpoint, which ends with the name of a stage or does not. */
const PATHS = ['/@connections/:id', '/:stage/@connections/:id']

/** What API Gateway calls it, and its status there. What is not here has our own status. */
const EXCEPTIONS: Readonly<Partial<Record<ErrorCode, readonly [status: number, name: string]>>> = {
  CONNECTION_NOT_FOUND: [410, 'GoneException'],
  CONNECTION_STALE: [410, 'GoneException'],
  MESSAGE_TOO_LARGE: [413, 'PayloadTooLargeException'],
  LIMIT_EXCEEDED: [429, 'LimitExceededException'],
  UNSUPPORTED_PAYLOAD: [400, 'BadRequestException'],
  PERMISSION_DENIED: [403, 'ForbiddenException'],
  INTERNAL: [500, 'InternalServerErrorException'],
}

/**
 * `/@connections/{id}`, as AWS API Gateway has it for the backend of a WebSocket API, so that one which was written for
 * it runs against the hub with another endpoint and no other change.
 */
export async function connectionRoutes(app: FastifyInstance, context: HubContext): Promise<void> {
  const { hub, userAgents } = context
  const rate = new TokenBucket(context.requestsPerSecond, hub.scheduler.now())

  async function post(request: FastifyRequest<ConnectionPath>, reply: FastifyReply): Promise<void> {
    const body = (request.body as Buffer | undefined) ?? Buffer.alloc(0)
    await hub.send(request.params.id, body, {
      // The SDKs say octet-stream of everything.
      contentType: contentTypeOf(undefined, undefined, body),
      correlationId: correlate(request, reply),
      signal: goneSignal(reply),
    })
    reply.code(200).send()
  }

  function get({ params }: FastifyRequest<ConnectionPath>) {
    const { address = '', connectedMs, sinceSendMs = connectedMs } = hub.getClient(params.id)
    // Wall time: dates for people.
    const now = Date.now()
    return {
      connectedAt: new Date(now - connectedMs),
      identity: { sourceIp: address, userAgent: userAgents.of(params.id) ?? '' },
      lastActiveAt: new Date(now - sinceSendMs),
    }
  }

  function end({ params }: FastifyRequest<ConnectionPath>, reply: FastifyReply): void {
    hub.getClient(params.id)
    hub.unregisterClient(params.id, 'ended')
    reply.code(204).send()
  }

  const scope: FastifyPluginAsync = async routes => {
    routes.setErrorHandler((error, request, reply) => fail(error, request, reply, context.rejections))
    routes.addHook('onRequest', (_request, _reply, done) => {
      if (rate.take(hub.scheduler.now())) done()
      else
        done(
          new HubError(
            'LIMIT_EXCEEDED',
            `limit: there may be at most ${context.requestsPerSecond} requests a second here`,
          ),
        )
    })
    routes.removeAllContentTypeParsers()
    routes.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: MAX_BYTES }, (_request, body, done) =>
      done(null, body),
    )
    for (const url of PATHS) {
      routes.post<ConnectionPath>(url, { bodyLimit: MAX_BYTES, config: { access: 'publish' } }, post)
      routes.get<ConnectionPath>(url, { config: { access: 'read' } }, get)
      routes.delete<ConnectionPath>(url, end)
    }
  }
  await app.register(scope)
}

/** As the SDKs read it: the name of the exception in a header, its sentence in the body. */
function fail(error: unknown, request: FastifyRequest, reply: FastifyReply, rejections: Rejections): void {
  const known = toHubError(error)
  rejections.request(known, request)
  const [status, name] = EXCEPTIONS[known.code] ?? [known.status, nameOf(known.status)]
  if (known.code === 'INTERNAL') request.log.error({ err: error }, 'request failed')
  if (status === 429 || status === 503) reply.header('retry-after', '1')
  // Fastify would end the connection over a body that is too large: the reset that follows may overtake the answer.
  // Node reads on.
  if (status === 413) reply.removeHeader('connection')
  const message =
    status === 413 ? `body: it is larger than the ${MAX_BYTES} bytes that one message may have` : known.message
  reply.code(status).header('x-amzn-errortype', name).send({ message })
}

function nameOf(status: number): string {
  if (status === 503) return 'ServiceUnavailableException'
  return status >= 500 ? 'InternalServerErrorException' : 'BadRequestException'
}
