import type { IncomingMessage } from 'node:http'
import type { Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  preParsingHookHandler,
  preValidationHookHandler,
  RequestPayload,
} from 'fastify'
import { HubError } from '../../core/errors.ts'
import type { Edge } from './edge.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The body is a live source: the route reads it as it comes. */
    source?: true
  }
}

const DECODERS: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
}
const ACCEPTED = 'gzip, deflate, br'

/**
 * Decodes compressed bodies, so that messages are kept and sent without a coding. Fastify counts the decoded bytes
 * against the limit of the route. Other codings are refused with 415 and `Accept-Encoding` (RFC 9110, section 12.5.3).
 * So is every coding of a live source, because its pieces would no longer be the messages. The edge is told of each
 * body that has come.
 */
export function readBodies(scope: FastifyInstance, edge: Edge): void {
  const bodyRead: preValidationHookHandler = (request, _reply, done) => {
    edge.bodyRead(request)
    done()
  }
  scope.addHook('onRoute', route => {
    // A GET has no body and opens most connections, so it does without these hooks.
    if (route.method === 'GET' || route.method === 'HEAD') return
    route.preParsing = decodeBody
    route.preValidation = bodyRead
  })
}

const decodeBody: preParsingHookHandler = (request, reply, payload, done) => {
  const coding = request.raw.headers['content-encoding']?.trim().toLowerCase() ?? ''
  if (coding === '' || coding === 'identity' || !hasBody(request)) done(null, payload)
  else decode(request, reply, coding, payload as IncomingMessage, done)
}

function decode(
  request: FastifyRequest,
  reply: FastifyReply,
  coding: string,
  body: IncomingMessage,
  done: (error: Error | null, payload?: RequestPayload) => void,
): void {
  const live = request.routeOptions.config.source === true
  const create = live || !Object.hasOwn(DECODERS, coding) ? undefined : DECODERS[coding]
  if (create === undefined) {
    reply.header('accept-encoding', live ? 'identity' : ACCEPTED)
    const shown = JSON.stringify(coding.slice(0, 60))
    const how = live ? 'a live source is sent without a content coding' : `send ${ACCEPTED}, or no coding`
    done(new HubError('UNSUPPORTED_PAYLOAD', `content-encoding: ${shown} is not taken here; ${how}`))
    return
  }
  const decoder: Transform & { receivedEncodedLength?: number } = create()
  decoder.receivedEncodedLength = 0
  body.on('data', (piece: Buffer) => {
    decoder.receivedEncodedLength! += piece.length
  })
  const fail = (error: Error): void => void decoder.destroy(error)
  body.on('error', fail)
  // Fastify stops listening once it has refused the body. An error that nobody hears would end the process.
  decoder.on('error', ignore)
  decoder.once('close', () => {
    body.off('error', fail).unpipe(decoder)
    body.resume()
  })
  // Nobody reads what is left of a body that is answered.
  reply.raw.once('close', () => {
    if (reply.raw.writableEnded) decoder.destroy()
  })
  body.pipe(decoder)
  delete request.raw.headers['content-encoding']
  done(null, decoder)
}

function hasBody({ raw: { headers } }: FastifyRequest): boolean {
  return (headers['content-length'] ?? '0') !== '0' || headers['transfer-encoding'] !== undefined
}

function ignore(): void {}
