import type { FastifyBaseLogger } from 'fastify'
import { HubError } from '../core/errors.ts'
import { createHub, type Hub } from '../hub.ts'
import { parsePolicy } from '../policies/catalog.ts'
import type { ShutdownOptions } from '../sending/shutdown.ts'
import { TopicRules } from '../topics/registry.ts'
import type { TopicRule } from '../topics/rule.ts'
import { type HubConfig, ServerClients } from './clients.ts'
import { edgeOptions, hubLimits } from './config/edge.ts'
import { toTopicRule } from './config/topics.ts'
import type { HublinePluginOptions } from './fastify.ts'
import { createSessions } from './sessions.ts'

/** Of `drainMs`, what is for the ends of responses, and for the store, once the hub is closed; in ms. */
const LAST_MS = 500

/**
 * A hub as a configuration says, with all that the plugin needs of it. Belongs to the server, which closes it after its
 * app.
 */
export interface ServerHub {
  readonly hub: Hub
  readonly plugin: HublinePluginOptions
  /**
   * Has the clients again that an earlier life left in the store: once it listens, for then no other process of the
   * node's name does.
   */
  recover(): Promise<void>
  close(): Promise<void>
}

/** `cut`, once aborted, ends what closing waits for. Throws CONFIG_INVALID. */
export async function openServerHub(
  config: HubConfig,
  inCode: Readonly<Record<string, TopicRule>> | undefined,
  cut: AbortSignal,
  logger: FastifyBaseLogger,
): Promise<ServerHub> {
  const { maxMessageBytes, pingMs, pongMs, idleMs, admin, hosts } = config
  const { tenant } = config.store
  const { close: closeSessions, ...sessions } = createSessions(
    config.sessions,
    tenant === undefined ? '' : `tenants.${tenant}.`,
  )
  const topicRules = configuredRules(config, inCode)
  const policy = parsePolicy(config.policy)
  const hub = createHub({ topics: topicRules, policy, limits: hubLimits(config.limits), maxMessageBytes })
  topicRules.onChange(pattern => hub.refreshTopics(pattern))
  const clients = await ServerClients.open(hub, config, logger)
  const apart = admin.port !== undefined
  return {
    hub,
    plugin: {
      ...{ hub, topicRules, pingMs, pongMs, idleMs, maxMessageBytes, ...sessions, ...clients.kinds },
      operators: !apart,
      open: config.insecure,
      requestsPerSecond: config.apiGateway.requestsPerSecond,
      degraded: () => clients.degraded,
      shutdown: endingOf(config, cut),
      edge: edgeOptions(apart ? { ...config, hosts: [...hosts, admin.host] } : config),
    },
    recover: () => clients.recover(),
    async close() {
      await Promise.all([clients.close(cut), closeSessions()])
    },
  }
}

/** Throws CONFIG_INVALID where a rule contradicts itself. */
export function configuredRules(config: HubConfig, inCode: Readonly<Record<string, TopicRule>> = {}): TopicRules {
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
function endingOf({ drainMs, shutdown }: HubConfig, signal: AbortSignal): ShutdownOptions {
  const deadlineMs = Math.max(0, drainMs - LAST_MS)
  return { ...shutdown, signal, deadlineMs, drainMs: deadlineMs / 2 }
}
