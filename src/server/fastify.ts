import websocket from '@fastify/websocket'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { HubError } from '../core/errors.ts'
import type { ConnectionManager } from '../core/manager.ts'
import { openSessions, type SessionManager } from '../core/sessions.ts'
import { DEFAULT_MAX_MESSAGE_BYTES } from '../core/topics.ts'
import { HubContext } from './context.ts'
import { errorBody, errorHandler } from './errors.ts'
import { apiRoutes } from './routes/api.ts'
import { chooseSubprotocol, clientProtocolRoute } from './routes/client-protocol.ts'
import { healthRoutes } from './routes/health.ts'
import { publishRoutes, topicRoutes } from './routes/topics.ts'
import { checkRequest } from './upgrade.ts'

export interface HublinePluginOptions {
  readonly hub: ConnectionManager
  /** Default: everybody may do everything. */
  readonly sessions?: SessionManager
  /** Between two pings of a client, in ms. Default 25,000. */
  readonly pingMs?: number
  /** Largest body of a publication and largest WebSocket message, in bytes. Default 1 MiB. */
  readonly maxMessageBytes?: number
}

declare module 'fastify' {
  interface FastifyInstance {
    hub: ConnectionManager
    hubContext: HubContext
  }
}

/** What a command may have around the message that it publishes: ws ends the connection where the hub would answer an error. */
const ENVELOPE_BYTES = 64 * 1024

/** What ws may keep for one peer. Its own defaults are made for trusted peers. */
const WS_LIMITS = {
  maxFragments: 64,
  maxBufferedChunks: 1024,
  maxPendingAutoPongs: 8,
  closeTimeout: 2000,
  perMessageDeflate: false,
  clientTracking: false,
}

/**
 * Puts a hub's whole surface into a Fastify app: topics on every protocol, the client protocol, /api, /metrics, /health.
 * Closing the app closes the hub. Register it before your own WebSocket routes; it brings @fastify/websocket along.
 */
async function plugin(app: FastifyInstance, options: HublinePluginOptions): Promise<void> {
  const { hub, sessions = openSessions, pingMs = 25_000, maxMessageBytes = DEFAULT_MAX_MESSAGE_BYTES } = options
  const context = new HubContext({ hub, sessions, pingMs, maxMessageBytes })
  app.decorate('hub', hub)
  app.decorate('hubContext', context)
  app.decorateRequest('session', undefined)
  app.decorateRequest('subscriber', undefined)
  app.decorateRequest('clientId', undefined)
  hub.events.on('fault', ({ error, where }) => app.log.error({ err: error, where }, 'fault'))

  app.setErrorHandler(errorHandler(maxMessageBytes))
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?')[0]
    reply.code(404).send(errorBody(new HubError('NOT_FOUND', `there is nothing at ${request.method} ${path}`)))
  })
  await app.register(websocket, {
    options: { ...WS_LIMITS, maxPayload: maxMessageBytes + ENVELOPE_BYTES, handleProtocols: chooseSubprotocol },
    errorHandler: (error, webSocket, request) => {
      request.log.warn({ err: error }, 'websocket failed')
      webSocket.terminate()
    },
    preClose: () => context.close(),
  })
  app.addHook('onRequest', async request => checkRequest(request))

  topicRoutes(app, context)
  await publishRoutes(app, context)
  clientProtocolRoute(app, context)
  const operators: FastifyPluginAsync = async api => {
    // JSON only: a text/plain body could come from a form on any page.
    api.removeContentTypeParser('text/plain')
    apiRoutes(api, context)
  }
  await app.register(operators)
  healthRoutes(app, context)
}

/** `hubline/fastify` */
export const hubline = fp(plugin, { name: 'hubline', fastify: '5.x' })
