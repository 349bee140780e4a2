import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import type { HubConfig } from './clients.ts'
import type { TenantConfig } from './config/tenants.ts'
import type { Config } from './config.ts'
import type { HubContext } from './context.ts'
import { hubline, hublineOperators } from './fastify.ts'
import type { ServerHub } from './server-hub.ts'

/** A tenant, once its routes are there. */
export interface Tenant {
  readonly name: string
  readonly hub: ServerHub
  readonly context: HubContext
}

/**
 * The configuration that a tenant's hub would have as a server of its own. Keys, tokens, topics and origins are never
 * the host's.
 */
export function tenantConfig(host: Config, name: string, tenant: TenantConfig): HubConfig {
  const { history, limits, ...said } = tenant
  return {
    ...host,
    ...defined(said),
    sessions: tenant.sessions,
    topics: tenant.topics,
    origins: tenant.origins,
    history: { ...host.history, ...defined(history ?? {}) },
    limits: { ...host.limits, ...defined(limits ?? {}) },
    // Records of two tenants must never meet, whatever their clients are called.
    store: { ...host.store, tenant: name },
    // Whoever may use the process's credentials at AWS is not for a tenant to say.
    apiGateway: { ...host.apiGateway, endpoints: [] },
    tenants: {},
  }
}

/** Under /tenants/{name} there is what a hub has at /: another hub, with nothing of the first but its process. */
export async function addTenant(app: FastifyInstance, name: string, hub: ServerHub): Promise<Tenant> {
  const { edge } = app.hubContext
  let context: HubContext | undefined
  const scope: FastifyPluginAsync = async routes => {
    // Connections are counted at the door, which is the process's.
    routes.addHook('onRequest', (request, _reply, done) => {
      edge.checkConnection(request)
      done()
    })
    await routes.register(hubline, { ...hub.plugin, processMetrics: false })
    context = routes.hubContext
  }
  await app.register(scope, { prefix: prefixOf(name) })
  return { name, hub, context: context! }
}

/** Its operators' routes, where those have a listener of their own. */
export async function addTenantOperators(admin: FastifyInstance, { name, context }: Tenant): Promise<void> {
  const scope: FastifyPluginAsync = async routes => {
    await routes.register(hublineOperators, { context })
  }
  await admin.register(scope, { prefix: prefixOf(name) })
}

export function prefixOf(name: string): string {
  return `/tenants/${name}`
}

function defined<T extends object>(given: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>
  }
}
