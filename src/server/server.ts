import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import helmet from '@fastify/helmet'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyPluginAsync,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify'
import { pino } from 'pino'
import { HubError } from '../core/errors.ts'
import { createHub, type Hub } from '../hub.ts'
import { parsePolicy } from '../policies/catalog.ts'
import type { ShutdownOptions, ShutdownReport } from '../sending/shutdown.ts'
import { TopicRules } from '../topics/registry.ts'
import type { TopicRule } from '../topics/rule.ts'
import { missingTcpProbe, tcpProbe } from '../transports/tcp-probe.ts'
import { ServerClients } from './clients.ts'
import { edgeOptions, hubLimits } from './config/edge.ts'
import { toTopicRule } from './config/topics.ts'
import type { Config } from './config.ts'
import { SECURITY_HEADERS } from './edge/headers.ts'
import { errorHandler, refuseUnrouted } from './errors.ts'
import { hubline, hublineOperators } from './fastify.ts'
import { guide } from './guide.ts'
import { malformed } from './malformed.ts'
import { requestLog } from './request-log.ts'
import { createSessions } from './sessions.ts'
import { endsPipelined, refuseUpgrade } from './upgrade.ts'

/** How often Node looks for heads of requests that do not come, in ms: so much later is the limit. */
const CHECK_MS = 1000
/** Of `drainMs`, what is for the ends of responses, and for the store, once the hub is closed; in ms. */
const LAST_MS = 500
/** Longest name in a path, that of a user, as it is escaped there. */
const MAX_PARAM_LENGTH = 9 * 255

export interface RunningServer {
  readonly url: string
  /** Where /api is, if it has a listener of its own. */
  readonly adminUrl: string | undefined
  readonly hub: Hub
  readonly app: FastifyInstance
  /**
   * Drains: accepts no more, hands over what it can, closes every client, and cuts what is left after `drainMs`, or when the signal says so.
   */
  close(options?: { readonly signal?: AbortSignal }): Promise<ShutdownReport | undefined>
}

export interface ServerOptions {
  /** More routes on the same app. Without any, `/` says what to try. */
  readonly plugins?: readonly FastifyPluginAsync<{ hub: Hub }>[]
  /** Rules of topics that a config file cannot say. It may add to them, field by field. */
  readonly topics?: Readonly<Record<string, TopicRule>>
}

/**
 * A hub and its Fastify app, not listening yet. `recover` has the clients again that an earlier life left in the store: once it listens, for
 * then no other process of the node's name does. `cut`, once aborted, ends what closing the app waits for. Throws CONFIG_INVALID.
 */
async function createApp(
  config: Config,
  options: ServerOptions,
  cut: AbortSignal,
): Promise<{ hub: Hub; app: FastifyInstance; admin: FastifyInstance | undefined; recover: () => Promise<void> }> {
  const { maxMessageBytes, pingMs, pongMs, idleMs } = config
  const ownAdmin = config.admin.port !== undefined
  const { close: closeSessions, ...sessions } = createSessions(config.sessions)
  const topicRules = configuredRules(config, options.topics)
  const hub = createConfiguredHub(config, topicRules)
  const logger: FastifyBaseLogger = pino({ level: config.logLevel }, pino.destination({ fd: 2, sync: false }))
  const app = createFastify(config, logger)
  const clients = await ServerClients.open(hub, config, logger)
  await app.register(hubline, {
    ...{ hub, topicRules, pingMs, pongMs, idleMs, maxMessageBytes, ...sessions, ...clients.kinds },
    operators: !ownAdmin,
    requestsPerSecond: config.apiGateway.requestsPerSecond,
    degraded: () => clients.degraded,
    shutdown: endingOf(config, cut),
    edge: edgeOptions(ownAdmin ? { ...config, hosts: [...config.hosts, config.admin.host] } : config),
  })
  const { edge } = app.hubContext
  edge.guard(app.server)
  const enter = (request: FastifyRequest, reply: FastifyReply): void => {
    edge.admit(request)
    edge.limit(request, reply, {})
  }
  // Behind the plugin's own, which closes the hub.
  app.addHook('preClose', () => clients.close(cut))
  app.addHook('preClose', closeSessions)
  // Also of the routes above: Fastify hands a hook down to scopes that are there already. They have passed the gate.
  app.addHook('onRequest', (request, reply, done) => {
    if (endsPipelined(request, reply)) return
    const { config: route } = request.routeOptions
    if (request.is404) enter(request, reply)
    refuseUpgrade(request, route)
    refuseUnrouted(request)
    done()
  })
  const { plugins = [guide] } = options
  const pages: FastifyPluginAsync = async scope => {
    scope.addHook('onRequest', (request, reply, done) => {
      enter(request, reply)
      done()
    })
    await scope.register(helmet, SECURITY_HEADERS)
    for (const plugin of plugins) await scope.register(plugin, { hub })
  }
  await app.register(pages)
  const admin = ownAdmin ? createFastify(config, logger) : undefined
  if (admin) {
    edge.guard(admin.server)
    admin.addHook('onRequest', (request, reply, done) => {
      if (endsPipelined(request, reply)) return
      if (request.is404) enter(request, reply)
      refuseUnrouted(request)
      done()
    })
    await admin.register(hublineOperators, { context: app.hubContext })
  }
  return { hub, app, admin, recover: () => clients.recover() }
}

function createFastify(config: Config, logger: FastifyBaseLogger): FastifyInstance {
  const { maxMessageBytes } = config
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: maxMessageBytes,
    // No limit for the whole of a request: a live source is one request for days.
    requestTimeout: 0,
    keepAliveTimeout: 5000,
    http: { connectionsCheckingInterval: CHECK_MS },
    ...(config.trustedProxies.length > 0 && { trustProxy: config.trustedProxies }),
    clientErrorHandler: malformed,
    forceCloseConnections: 'idle',
    // While it drains, the routes say so themselves.
    return503OnClosing: false,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    // What no route is found for: a path that cannot be read, or is too long.
    frameworkErrors: errorHandler(maxMessageBytes),
    genReqId: () => randomUUID(),
    childLoggerFactory: requestLog,
  })
  app.server.headersTimeout = config.timeouts.headersMs
  app.setErrorHandler(errorHandler(maxMessageBytes))
  return app
}

function createConfiguredHub(config: Config, rules: TopicRules): Hub {
  const { limits, maxMessageBytes } = config
  const policy = parsePolicy(config.policy)
  const hub = createHub({ topics: rules, policy, limits: hubLimits(limits), maxMessageBytes })
  rules.onChange(() => hub.refreshTopics())
  return hub
}

/** Throws CONFIG_INVALID where a rule contradicts itself. */
export function configuredRules(config: Config, inCode: ServerOptions['topics'] = {}): TopicRules {
  const { history, maxMessageBytes, lingerMs, unknownTopics } = config
  const rules = new TopicRules({ defaults: { history, maxMessageBytes, lingerMs }, rules: inCode, unknownTopics })
  for (const [pattern, given] of Object.entries(config.topics)) {
    try {
      rules.set(pattern, { ...rules.get(pattern), ...toTopicRule(given) })
    } catch (error) {
      throw new HubError('CONFIG_INVALID', `config: topics.${pattern}.${(error as HubError).message}`)
    }
  }
  return rules
}

/** Half of the time is for what is under way and for clients that are behind. */
function endingOf({ drainMs, shutdown }: Config, signal: AbortSignal): ShutdownOptions {
  const deadlineMs = Math.max(0, drainMs - LAST_MS)
  return { ...shutdown, signal, deadlineMs, drainMs: deadlineMs / 2 }
}

/** Throws PORT_IN_USE. */
export async function startServer(config: Config, options: ServerOptions = {}): Promise<RunningServer> {
  const cut = new AbortController()
  const { hub, app, admin, recover } = await createApp(config, options, cut.signal)
  const sockets = [app, ...(admin ? [admin] : [])].map(trackSockets)
  tuneSockets(app, config.tcp)
  const end = async (): Promise<void> => {
    app.server.close()
    await app.close()
    // Last, so that operators see how it ends.
    await admin?.close()
  }
  let url: string
  let adminUrl: string | undefined
  try {
    url = await listen(app, 'port', config.host, config.port)
    adminUrl = admin && (await listen(admin, 'admin.port', config.admin.host, config.admin.port!))
  } catch (error) {
    await end()
    throw error
  }
  await recover()
  cut.signal.addEventListener('abort', () => {
    for (const socket of sockets.flatMap(each => [...each])) socket.destroy()
  })
  return {
    ...{ url, adminUrl, hub, app },
    async close({ signal } = {}) {
      const deadline = setTimeout(() => cut.abort(), config.drainMs)
      signal?.addEventListener('abort', () => cut.abort(), { once: true })
      if (signal?.aborted) cut.abort()
      await end()
      clearTimeout(deadline)
      return app.hubContext.report
    },
  }
}

async function listen(app: FastifyInstance, setting: string, host: string, port: number): Promise<string> {
  try {
    return await app.listen({ host, port })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    const how = setting === 'port' ? ' with --port' : ''
    throw new HubError('PORT_IN_USE', `${setting}: ${port} on ${host} is in use; choose another${how}`)
  }
}

/** Bounds what the kernel hides of each connection, where it can be told to. */
function tuneSockets(app: FastifyInstance, { notSentLowatBytes, sendBufferBytes }: Config['tcp']): void {
  const probe = tcpProbe()
  if (probe === undefined) {
    app.log.info({ why: missingTcpProbe() }, 'no TCP probe: drop-slow can measure its own queue only')
    return
  }
  const buffers = {
    ...(notSentLowatBytes > 0 && { notSentLowatBytes }),
    ...(sendBufferBytes > 0 && { sendBufferBytes }),
  }
  if (Object.keys(buffers).length === 0) return
  app.server.on('connection', (socket: Socket) => probe.tune(socket, buffers))
}

/** Node closes idle HTTP connections at best, and knows nothing of upgraded ones. */
function trackSockets(app: FastifyInstance): ReadonlySet<Socket> {
  const sockets = new Set<Socket>()
  // One function for all of them: a closure per socket would be there as long as the socket.
  function forget(this: Socket): void {
    sockets.delete(this)
  }
  app.server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', forget)
  })
  return sockets
}
