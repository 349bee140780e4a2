import { HubError } from '../core/errors.ts'
import {
  callable,
  flag,
  having,
  integer,
  nested,
  number,
  period,
  positive,
  type Rules,
  readOptions,
  text,
  texts,
} from '../core/options.ts'
import { MOST_MESSAGE_BYTES } from '../core/topics.ts'
import { HEARTBEAT_OPTIONS } from '../hub.ts'
import { SHUTDOWN_OPTIONS } from '../sending/shutdown.ts'
import type { EdgeOptions } from './edge/edge.ts'
import { DEFAULT_EDGE_LIMITS, type EdgeLimits } from './edge/limits.ts'
import type { HublinePluginOptions } from './fastify.ts'

/** Counts, and bytes a second. */
const count = number(0, 1024 ** 4)
const LIMITS = Object.fromEntries(Object.keys(DEFAULT_EDGE_LIMITS).map(name => [name, count])) as Rules<EdgeLimits>

const EDGE: Rules<EdgeOptions> = {
  hosts: texts,
  origins: texts,
  boundTo: text,
  limits: nested(LIMITS, 'CONFIG_INVALID'),
  exempt: texts,
  trustedProxies: texts,
  bodyMs: period,
  sourceIdleMs: period,
}

const OPTIONS: Rules<HublinePluginOptions> = {
  hub: having('a hub', 'publish', 'registerClient', 'shutdown'),
  shutdown: nested(SHUTDOWN_OPTIONS, 'CONFIG_INVALID'),
  topicRules: having('the topic rules of the hub', 'set', 'delete', 'list'),
  sessions: having('a session manager', 'authenticate', 'authorize'),
  apiKeys: having('API keys, as new ApiKeys([...])', 'verify'),
  open: flag,
  operators: flag,
  tickets: having('tickets, as new Tickets()', 'issue', 'redeem'),
  revocations: having('revocations, as new Revocations()', 'revokeUser', 'revokeToken'),
  ...HEARTBEAT_OPTIONS,
  maxMessageBytes: integer(1, MOST_MESSAGE_BYTES),
  callbacks: having('a CallbackClients', 'register', 'restore'),
  gateways: having('an ApiGatewayClients', 'register', 'restore'),
  requestsPerSecond: positive(1_000_000_000),
  edge: nested(EDGE, 'CONFIG_INVALID'),
  degraded: callable,
  processMetrics: flag,
}

/** Without one of these the hub is open to more: one that is undefined by mistake must not open it. */
const GUARDS = ['sessions', 'apiKeys'] as const

/** Throws CONFIG_INVALID. */
export function readPluginOptions(given: HublinePluginOptions): HublinePluginOptions {
  if (typeof given === 'object' && given !== null && Object.hasOwn(given, 'prefix')) {
    throw invalid('prefix has no effect on this plugin; register it in a scope: app.register(scope, { prefix })')
  }
  const options = readOptions(given, OPTIONS, 'hubline: ', 'CONFIG_INVALID')
  if (options.hub === undefined) throw invalid('hub must be a hub, got undefined; make one with createHub()')
  const missing = GUARDS.find(name => Object.hasOwn(given, name) && options[name] === undefined)
  if (missing !== undefined) throw invalid(`${missing} must not be undefined; leave it out for a hub without logins`)
  return options
}

function invalid(what: string): HubError {
  return new HubError('CONFIG_INVALID', `hubline: ${what}`)
}
