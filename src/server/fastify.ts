import type { Server } from 'node:http'
import cors from '@fastify/cors'
import helmet from '@fastify/helmet'
import websocket from '@fastify/websocket'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { HubError } from '../core/errors.ts'
import { checkValue, type Rules, readOptions } from '../core/options.ts'
import { openSessions, type SessionManager } from '../core/sessions.ts'
import { DEFAULT_MAX_MESSAGE_BYTES } from '../core/topics.ts'
import type { Hub } from '../hub.ts'
import type { ShutdownOptions } from '../sending/shutdown.ts'
import { checkedSessions } from '../sessions/checked.ts'
import type { Revocations } from '../sessions/revocations.ts'
import type { Tickets } from '../sessions/tickets.ts'
import type { TopicRules } from '../topics/registry.ts'
import type { ApiGatewayClients } from '../transports/api-gateway.ts'
import type { CallbackClients } from '../transports/callback.ts'
import type { KeyRing } from './api/guard.ts'
import { apiRoutes } from './api/index.ts'
import { ticketRoutes } from './api/tickets.ts'
import { HubContext } from './context.ts'
import { logDeliveries } from './delivery-log.ts'
import { Edge, type EdgeOptions } from './edge/edge.ts'
import { readBodies } from './edge/encodings.ts'
import { answerPreflight, corsOptions, SECURITY_HEADERS } from './edge/headers.ts'
import { limitLogins } from './edge/logins.ts'
import { boundSocket } from './edge/socket-bounds.ts'
import { ignoreUpgradeOffers } from './edge/upgrade-offers.ts'
import { errorHandler } from './errors.ts'
import { readPluginOptions } from './plugin-options.ts'
import { Receivers } from './receivers.ts'
import { Rejections } from './rejections.ts'
import { socketFailed } from './release.ts'
import { RouteMethods } from './route-methods.ts'
import { chooseSubprotocol, clientProtocolRoute } from './routes/client-protocol.ts'
import { connectionRoutes } from './routes/connections.ts'
import { healthRoutes, metricsRoute } from './routes/health.ts'
import { publishRoutes } from './routes/publishing.ts'
import { topicRoutes } from './routes/topics.ts'
import { checkRequest, endsPipelined } from './upgrade.ts'

export interface HublinePluginOptions {
  readonly hub: Hub
  /** How the hub ends when the app closes. Default: within 30 s, 3 s of them for clients that are behind. */
  readonly shutdown?: ShutdownOptions
  /** The hub's own, where /api/topic-rules is to show and change them. Default: there is no such route. */
  readonly topicRules?: TopicRules | undefined
  /** Default: everybody may do everything. */
  readonly sessions?: SessionManager
  /**
   * Who may call /api, /metrics and /@connections. Default: peers on loopback alone, where there are no `sessions`
   * either; else nobody.
   */
  readonly apiKeys?: KeyRing
  /**
   * true: without `apiKeys` these routes answer everybody who can reach them. false: loopback alone, and no warning
   * says so. Default: loopback alone, with a warning at start.
   */
  readonly open?: boolean | undefined
  /** false: these are not here, but on another app, which `hublineOperators` is registered with. Default true. */
  readonly operators?: boolean | undefined
  /** What of the session chain has routes: /api/tickets, /api/revocations. */
  readonly tickets?: Tickets
  readonly revocations?: Revocations
  /** Between two pings of a client, in ms; at least 100. Default 25,000. */
  readonly pingMs?: number
  /**
   * How long a client may take to answer one, in ms; at least 100. Default 10,000; never longer than until the next.
   */
  readonly pongMs?: number
  /** How long a WebSocket that takes part in nothing may stay, in ms. Default: for ever. */
  readonly idleMs?: number
  /** Largest body of a publication and largest WebSocket message, in bytes. At most 64 MiB, default 1 MiB. */
  readonly maxMessageBytes?: number
  /** Lets the API register clients that are URLs. Of the same hub; yours to close, after the app. */
  readonly callbacks?: CallbackClients | undefined
  /** Lets the API register connections of AWS API Gateway as clients. As above. */
  readonly gateways?: ApiGatewayClients | undefined
  /** What /@connections lets through; more is answered with 429. Default 10,000. */
  readonly requestsPerSecond?: number
  /**
   * Who is let in, by Host, Origin, address and rates. Default: pages of the app's own origin, under the limits of
   * docs/security.md.
   */
  readonly edge?: EdgeOptions
  /** What does not work, though the hub does: /health/ready tells it. */
  readonly degraded?: () => string | undefined
  /** false: /metrics has nothing of the process, only of the hub. Default true. */
  readonly processMetrics?: boolean
}

declare module 'fastify' {
  interface FastifyInstance {
    hub: Hub
    hubContext: HubContext
    /** The WebSockets of this app are ours. */
    hublineSockets: true
  }
}

/**
 * What a command may have around the message that it publishes: ws ends the connection where the hub would answer an
 * error.
 */
const ENVELOPE_BYTES = 64 * 1024
const REQUESTS_PER_SECOND = 10_000
/** A client that comes back sends a command for each of its topics, and one to leave those that it no longer wants. */
const BURST_PER_SUBSCRIPTION = 2

/**
 * How long a peer may take to answer a close frame before its socket is destroyed, in ms. No setting: it is the time of
 * one round trip, and no timer of a proxy has to fit it, because a proxy closes a connection on which nothing moves
 * after a minute, and not after seconds.
 */
const CLOSE_MS = 2000

/** Fragments without a byte that one message may have. */
const EMPTY_FRAGMENTS = 1024

/**
 * What ws may keep for one peer. The size of a message is its only limit: in how many segments and fragments it comes
 * is up to the network, and `boundSocket` bounds what they cost.
 */
function socketLimits(maxMessageBytes: number) {
  const maxPayload = maxMessageBytes + ENVELOPE_BYTES
  return {
    maxPayload,
    maxFragments: maxPayload + EMPTY_FRAGMENTS,
    maxBufferedChunks: 0,
    autoPong: false,
    closeTimeout: CLOSE_MS,
    perMessageDeflate: false,
  }
}

/**
 * Puts a hub's whole surface into a Fastify app: topics on every protocol, the client protocol, /api, /metrics,
 * /health. Closing the app closes the hub. Brings @fastify/websocket along, for the app's own routes as well, unless it
 * is there already. Errors of its own routes look as documented; the app's error handling stays the app's. Rejects with
 * CONFIG_INVALID for an option that is unknown or wrong.
 */
async function plugin(app: FastifyInstance, given: HublinePluginOptions): Promise<void> {
  const options = readPluginOptions(given)
  const { hub, pingMs = 25_000, maxMessageBytes = DEFAULT_MAX_MESSAGE_BYTES } = options
  const needsSockets = !app.hasDecorator('websocketServer')
  const ownSockets = needsSockets || app.hasDecorator('hublineSockets')
  const { operators: withOperators = true } = options
  const { shutdown: ending = {}, requestsPerSecond = REQUESTS_PER_SECOND, degraded = () => undefined } = options
  const receivers = new Receivers(hub, options)
  const edge = new Edge(
    options.edge ?? {},
    hub.scheduler,
    BURST_PER_SUBSCRIPTION * hub.limits.maxSubscriptionsPerClient,
  )
  const rejections = new Rejections(hub.scheduler, app.log)
  const sessions = limitLogins(checkedSessions(options.sessions ?? openSessions), edge)
  const context = new HubContext({
    ...{ hub, sessions, pingMs, maxMessageBytes, ownSockets, ending },
    ...{ pongMs: options.pongMs, idleMs: options.idleMs },
    ...{ receivers, edge, requestsPerSecond, rejections, degraded, topicRules: options.topicRules },
    ...{ operatorsApart: !withOperators, open: options.open ?? false, processMetrics: options.processMetrics ?? true },
    ...{ apiKeys: options.apiKeys, tickets: options.tickets, revocations: options.revocations },
  })
  ignoreUpgradeOffers(app.server)
  const warning = options.open === false ? undefined : context.guard.warning
  if (warning !== undefined) app.log.warn(warning)
  app.decorate('hub', hub)
  app.decorate('hubContext', context)
  hub.events.on('fault', ({ error, where }) => app.log.error({ err: error, where }, 'fault'))
  const endLog = logDeliveries(hub.events, hub.scheduler, app.log)
  // Before the plugin's own, which closes what is left (the app's sockets) without our codes.
  app.addHook('preClose', async () => {
    await context.close()
    endLog()
  })
  if (needsSockets) {
    checkSockets(app.server)
    app.decorate('hublineSockets', true)
    await app.register(websocket, {
      errorHandler: (error, webSocket, request) => socketFailed(webSocket, request.log, rejections, error),
      options: { ...socketLimits(maxMessageBytes), handleProtocols: chooseSubprotocol },
    })
    app.websocketServer.on('connection', boundSocket)
  }
  await app.register(surface, { context, withOperators, origins: options.edge?.origins ?? [] })
}

/** Servers that a plugin of ours has given sockets. */
const withSockets = new WeakSet<Server>()

/** Two @fastify/websocket beside each other would both answer each upgrade. */
function checkSockets(server: Server): void {
  if (withSockets.has(server)) {
    throw new HubError(
      'CONFIG_INVALID',
      'hubline: another scope of this app has a hub already; register @fastify/websocket on the app, before both',
    )
  }
  withSockets.add(server)
}

interface SurfaceOptions {
  readonly context: HubContext
  readonly withOperators: boolean
  /** Pages of which may read answers. */
  readonly origins: readonly string[]
}

/** In a scope of its own: what it adds to requests and how it tells errors is not the app's business. */
const surface: FastifyPluginAsync<SurfaceOptions> = async (app, { context, withOperators, origins }) => {
  await prepare(app, context, origins)
  const methods = new RouteMethods(app)
  topicRoutes(app, context)
  await publishRoutes(app, context)
  clientProtocolRoute(app, context)
  await app.register(probes, { context })
  await app.register(ticketRoutes, { context })
  if (withOperators) await app.register(operators, { context })
  methods.complete()
}

const OPERATORS_OPTIONS: Rules<{ context: HubContext }> = {
  context: value => (value instanceof HubContext ? undefined : 'the hubContext of the app that has the hub'),
}

/** The operators' part alone, on an app of its own. */
const operatorsAlone: FastifyPluginAsync<{ context: HubContext }> = async (app, options) => {
  const { context } = readOptions(options, OPERATORS_OPTIONS, 'hublineOperators: ', 'CONFIG_INVALID')
  checkValue(context, OPERATORS_OPTIONS.context, 'hublineOperators: context', 'CONFIG_INVALID')
  ignoreUpgradeOffers(app.server)
  await app.register(async scope => {
    await prepare(scope, context, [])
    const methods = new RouteMethods(scope)
    await scope.register(probes, { context })
    await scope.register(operators, { context })
    methods.complete()
  })
}

const probes: FastifyPluginAsync<{ context: HubContext }> = async (app, { context }) => {
  await app.register(helmet, SECURITY_HEADERS)
  healthRoutes(app, context)
}

/** All that is in here is guarded, whatever its path. */
const operators: FastifyPluginAsync<{ context: HubContext }> = async (app, { context }) => {
  // Not of the routes that publish and subscribe, which are asked far more often and never shown as a page.
  await app.register(helmet, SECURITY_HEADERS)
  context.guard.protect(app)
  metricsRoute(app, context)
  await connectionRoutes(app, context)
  await app.register(apiRoutes, { context })
}

/** What every scope of ours has, so that the app's own routes look as the app wants. */
async function prepare(app: FastifyInstance, context: HubContext, origins: readonly string[]): Promise<void> {
  app.decorateRequest('hubSession', undefined)
  app.decorateRequest('subscriber', undefined)
  app.decorateRequest('hubClientId', undefined)
  app.decorateRequest('hubResponse', undefined)
  app.setErrorHandler(
    errorHandler(context.maxMessageBytes, (error, request) => context.rejections.request(error, request)),
  )
  // With a callback, as all hooks of the way to a subscription: a promise would cost every connection a turn.
  const { edge } = context
  app.addHook('onRequest', (request, _reply, done) => {
    edge.admit(request)
    done()
  })
  // It has a route for all OPTIONS requests of the app, so it is there only where it is needed.
  if (origins.length > 0) {
    await app.register(cors, corsOptions(origins))
    app.addHook('onRequest', answerPreflight)
  }
  app.addHook('onRequest', (request, reply, done) => {
    if (endsPipelined(request, reply)) return
    // They are made anew at each look.
    const { config } = request.routeOptions
    edge.limit(request, reply, config)
    checkRequest(request, reply, config)
    done()
  })
  readBodies(app, edge)
}

/** `hubline/fastify` */
export const hubline = fp(plugin, { name: 'hubline', fastify: '5.x' })

/**
 * /api, /metrics and /@connections of a hub whose plugin was registered with `operators: false`, on another app, which
 * only operators can reach: without keys it answers loopback peers, or everybody where the hub's plugin has
 * `open: true`. `context` is the first app's `hubContext`. Closing this app closes no hub. Rejects with CONFIG_INVALID
 * for an option that is unknown or wrong.
 */
export const hublineOperators = fp(operatorsAlone, { name: 'hubline-operators', fastify: '5.x' })
