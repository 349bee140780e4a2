import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import helmet from '@fastify/helmet'
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyPluginAsync,
  type FastifyReply,
  type FastifyRequest,
  type FastifyServerOptions,
} from 'fastify'
import { pino } from 'pino'
import { HubError } from '../core/errors.ts'
import { eventLoop } from '../event-loop.ts'
import type { Hub } from '../hub.ts'
import type { ShutdownReport } from '../sending/shutdown.ts'
import type { TopicRule } from '../topics/rule.ts'
import { missingTcpProbe, tcpProbe } from '../transports/tcp-probe.ts'
import type { Config } from './config.ts'
import type { HubContext } from './context.ts'
import { SECURITY_HEADERS } from './edge/headers.ts'
import { errorHandler, refuseUnrouted } from './errors.ts'
import { hubline, hublineOperators } from './fastify.ts'
import { fileLimit, warnAtFileLimit } from './file-limit.ts'
import { guide } from './guide.ts'
import { stderrLog } from './log-output.ts'
import { malformed, refuseExpectations } from './malformed.ts'
import { requestLog } from './request-log.ts'
import { RouteMethods } from './route-methods.ts'
import { openServerHub, type ServerHub } from './server-hub.ts'
import { addTenant, addTenantOperators, type Tenant, tenantConfig } from './tenants.ts'
import { endsPipelined, refuseUpgrade } from './upgrade.ts'

/** How often Node looks for heads of requests that do not come, in ms: so much later is the limit. */
const CHECK_MS = 1000
/** Longest name in a path, that of a user, as it is escaped there. */
const MAX_PARAM_LENGTH = 9 * 255

export interface RunningServer {
  readonly url: string
  /** Where /api is, if it has a listener of its own. */
  readonly adminUrl: string | undefined
  readonly hub: Hub
  /** Those of the tenants, by name. */
  readonly tenants: Readonly<Record<string, Hub>>
  readonly app: FastifyInstance
  /**
   * Drains: accepts no more, hands over what it can, closes every client, and cuts what is left after `drainMs`, or
   * when the signal says so.
   */
  close(options?: { readonly signal?: AbortSignal }): Promise<ShutdownReport | undefined>
}

export interface ServerOptions {
  /** More routes on the same app. Without any, `/` says what to try. */
  readonly plugins?: readonly FastifyPluginAsync<{ hub: Hub }>[]
  /** Rules of topics that a config file cannot say. It may add to them, field by field. */
  readonly topics?: Readonly<Record<string, TopicRule>>
}

/** A server that does not listen yet. */
interface Parts {
  readonly app: FastifyInstance
  /** Of the operators' routes, if they have a listener of their own. */
  readonly admin: FastifyInstance | undefined
  /** The hub of the server itself, and those of its tenants. */
  readonly hubs: readonly ServerHub[]
  readonly contexts: readonly HubContext[]
  readonly tenants: readonly Tenant[]
}

/** `cut`, once aborted, ends what closing the app waits for. Throws CONFIG_INVALID. */
async function createApp(config: Config, options: ServerOptions, cut: AbortSignal): Promise<Parts> {
  const logger: FastifyBaseLogger = pino(
    { level: config.logLevel },
    stderrLog(output => pino({}, output)),
  )
  const own = await openServerHub(config, options.topics, cut, logger)
  // The plugin makes the context, and no request comes before it.
  const app: FastifyInstance = createFastify(config, logger, () => app.hubContext)
  await app.register(hubline, own.plugin)
  const context = app.hubContext
  context.edge.guard(app.server)
  // Also of the routes above: Fastify hands a hook down to scopes that are there already. They have passed the gate.
  app.addHook('onRequest', (request, reply, done) => {
    if (endsPipelined(request, reply)) return
    const { config: route } = request.routeOptions
    if (request.is404) enter(context, request, reply)
    refuseUpgrade(request, route)
    refuseUnrouted(request)
    done()
  })
  const { plugins = [guide(config)] } = options
  await app.register(pages, { context, plugins })
  const tenants: Tenant[] = []
  for (const [name, said] of Object.entries(config.tenants)) {
    const hub = await openServerHub(tenantConfig(config, name, said), undefined, cut, logger.child({ tenant: name }))
    tenants.push(await addTenant(app, name, hub))
  }
  const hubs = [own, ...tenants.map(({ hub }) => hub)]
  // Behind the plugins' own, which close the hubs.
  app.addHook('preClose', async () => {
    await Promise.all(hubs.map(hub => hub.close()))
  })
  const admin = config.admin.port === undefined ? undefined : await createAdmin(config, context, tenants, logger)
  return { app, admin, hubs, tenants, contexts: [context, ...tenants.map(({ context }) => context)] }
}

/** What there is besides the hub, and what there is not, passes its gate too. */
function enter({ edge }: HubContext, request: FastifyRequest, reply: FastifyReply): void {
  edge.admit(request)
  edge.limit(request, reply, {})
}

const pages: FastifyPluginAsync<{ context: HubContext; plugins: NonNullable<ServerOptions['plugins']> }> = async (
  app,
  { context, plugins },
) => {
  app.addHook('onRequest', (request, reply, done) => {
    enter(context, request, reply)
    done()
  })
  await app.register(helmet, SECURITY_HEADERS)
  const methods = new RouteMethods(app)
  for (const plugin of plugins) await app.register(plugin, { hub: context.hub })
  methods.complete()
}

async function createAdmin(
  config: Config,
  context: HubContext,
  tenants: readonly Tenant[],
  logger: FastifyBaseLogger,
): Promise<FastifyInstance> {
  const admin = createFastify(config, logger, () => context)
  context.edge.guard(admin.server)
  admin.addHook('onRequest', (request, reply, done) => {
    if (endsPipelined(request, reply)) return
    if (request.is404) enter(context, request, reply)
    refuseUnrouted(request)
    done()
  })
  await admin.register(hublineOperators, { context })
  for (const tenant of tenants) await addTenantOperators(admin, tenant)
  return admin
}

function createFastify(config: Config, logger: FastifyBaseLogger, context: () => HubContext): FastifyInstance {
  const { maxMessageBytes } = config
  const onError = errorHandler(maxMessageBytes, (error, request) => context().rejections.request(error, request))
  const app: FastifyInstance = Fastify({
    loggerInstance: logger,
    ...withoutRequestLogs(),
    bodyLimit: maxMessageBytes,
    // No limit for the whole of a request: a live source is one request for days.
    requestTimeout: 0,
    // The edge refuses a request without a Host: Node would do so without a word.
    http: { connectionsCheckingInterval: CHECK_MS, requireHostHeader: false },
    ...(config.trustedProxies.length > 0 && { trustProxy: config.trustedProxies }),
    clientErrorHandler: malformed(context),
    forceCloseConnections: 'idle',
    // While it drains, the routes say so themselves.
    return503OnClosing: false,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    // What no route is found for: a path that cannot be read, or is too long.
    frameworkErrors: onError,
    genReqId: requestIds(),
    childLoggerFactory: requestLog,
  })
  refuseExpectations(app.server, context)
  app.server.headersTimeout = config.timeouts.headersMs
  // Fastify takes 0 for its default.
  app.server.keepAliveTimeout = config.timeouts.keepAliveMs
  app.setErrorHandler(onError)
  // @fastify/cors has a route for all OPTIONS requests, which finds only later that there is nothing.
  app.setNotFoundHandler(async request => refuseUnrouted(request))
  return app
}

/** Unique among all processes, because a message may take it for its correlation id. Cheap: each request has one. */
function requestIds(): () => string {
  const prefix = randomBytes(8).toString('hex')
  let count = 0
  return () => `${prefix}-${(count++).toString(36)}`
}

/** Fastify before 5.10 has no LogController. Later versions deprecate the option that it replaces. */
function withoutRequestLogs(): Pick<FastifyServerOptions, 'logController' | 'disableRequestLogging'> {
  const { LogController } = Fastify as Partial<Pick<typeof Fastify, 'LogController'>>
  if (LogController === undefined) return { disableRequestLogging: true }
  return { logController: new LogController({ disableRequestLogging: true }) }
}

/** Throws PORT_IN_USE. */
export async function startServer(config: Config, options: ServerOptions = {}): Promise<RunningServer> {
  const cut = new AbortController()
  const { app, admin, hubs, contexts, tenants } = await createApp(config, options, cut.signal)
  const sockets = [app, ...(admin ? [admin] : [])].map(trackSockets)
  tuneSockets(app, config.tcp)
  const files = fileLimit()
  if (files !== undefined) warnAtFileLimit(app.server, files, app.hub.scheduler, app.log)
  const end = async (): Promise<void> => {
    app.server.close()
    // All at once: the app would close one hub after the other.
    await Promise.all(contexts.map(context => context.close()))
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
  await Promise.all(hubs.map(hub => hub.recover()))
  cut.signal.addEventListener('abort', () => {
    for (const socket of sockets.flatMap(each => [...each])) socket.destroy()
  })
  return {
    ...{ url, adminUrl, hub: app.hub, app },
    tenants: Object.fromEntries(tenants.map(({ name, hub }) => [name, hub.hub])),
    async close({ signal } = {}) {
      const deadline = eventLoop.after(config.drainMs, () => cut.abort())
      signal?.addEventListener('abort', () => cut.abort(), { once: true })
      if (signal?.aborted) cut.abort()
      await end()
      deadline[Symbol.dispose]()
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
    app.log.info(
      { why: missingTcpProbe() },
      'no TCP probe: the kernel may hold megabytes for slow clients, and drop-slow can measure its own queue only',
    )
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
