import { HubError } from '../core/errors.ts'
import type { ClientId } from '../core/ids.ts'
import type { ConnectionManager } from '../core/manager.ts'
import { callable, checkValue, having, period, type Rule, type Rules, readOptions } from '../core/options.ts'
import type { DeliveryPolicy } from '../core/policy.ts'
import { openSessions, type SessionManager } from '../core/sessions.ts'
import { PROTOBUF } from './client-codec.ts'
import { gateOf } from './client-gate.ts'
import { Grants } from './client-grants.ts'
import { JoinsAndLeaves } from './client-presence.ts'
import { ClientSession } from './client-session.ts'
import type { WebSocketChannel } from './frame-socket.ts'
import type { Transport } from './transport.ts'

/** How long a socket may stay without a connect command, in ms. */
const CONNECT_TIMEOUT_MS = 10_000
/** The SDKs put their connect and all their subscriptions into one frame, so a frame must have room for them. */
const MIN_COMMANDS = 512

export interface ClientProtocolOptions {
  readonly hub: ConnectionManager
  /** Default: everybody may do everything. */
  readonly sessions?: SessionManager
  /** Makes a policy of what a subscriber wishes for (`data.policy` of its subscribe command). Throws POLICY_INVALID. */
  readonly parsePolicy: (input: unknown) => DeliveryPolicy
  /** Default 10,000. */
  readonly connectTimeoutMs?: number
  /**
   * Called for each command that is answered with an error of the hub, or ends the connection by one. For counters and
   * logs.
   */
  readonly rejected?: (error: HubError, clientId: string) => void
}

const OPTIONS: Rules<ClientProtocolOptions> = {
  hub: having('a hub', 'registerClient', 'subscribe'),
  sessions: having('a session manager', 'authenticate', 'authorize'),
  parsePolicy: callable,
  connectTimeoutMs: period,
  rejected: callable,
}

/**
 * Many topics on one WebSocket, changed at run time: the Centrifuge client protocol in its JSON form (channel = topic),
 * whose SDKs are ours. `open` returns at once; the peer becomes a client of the hub with its connect command, and is
 * subscribed to the opening's topics then. One of these per hub: it listens to the hub's events for all its clients.
 */
export function clientProtocol(given: ClientProtocolOptions): Transport<WebSocketChannel> {
  const options = readOptions(given, OPTIONS, 'clientProtocol: ', 'CONFIG_INVALID', ['hub', 'parsePolicy'])
  const { hub, sessions = openSessions, parsePolicy, connectTimeoutMs = CONNECT_TIMEOUT_MS } = options
  const rejected = (error: unknown, id: string): void => {
    if (error instanceof HubError) options.rejected?.(error, id)
  }
  const byId = new Map<ClientId, ClientSession>()
  const maxCommands = Math.max(MIN_COMMANDS, 2 * hub.limits.maxSubscriptionsPerClient)
  const presence = new JoinsAndLeaves(hub)
  const grants = new Grants(({ id }, topic) => byId.get(id)?.topics?.expired(topic))
  const gate = gateOf(hub, sessions)
  const context = { hub, sessions, gate, parsePolicy, connectTimeoutMs, maxCommands, byId, presence, grants, rejected }
  hub.events.on('subscribe', ({ id, client, topic }) => {
    byId.get(id)?.topics?.subscribed(topic)
    presence.joined(topic, client)
  })
  hub.events.on('unsubscribe', ({ id, client, topic }) => {
    byId.get(id)?.topics?.unsubscribed(topic)
    presence.left(topic, client)
  })
  hub.events.on('unsubscribePattern', ({ id, pattern }) => byId.get(id)?.topics?.patternEnded(pattern))
  hub.events.on('unregister', ({ id }) => byId.get(id)?.end())
  return { name: 'centrifuge', open: (channel, opening) => new ClientSession(channel, opening, context) }
}

const subprotocols: Rule = value => (value instanceof Set ? undefined : 'a Set of subprotocols')

/**
 * The subprotocol for the handshake: `false` is none, which is JSON. Undefined: the peer offers the Protobuf form only,
 * and is to be refused with 400. Without this, ws would accept whatever the peer offers first.
 */
export function clientSubprotocol(offered: ReadonlySet<string>): string | false | undefined {
  checkValue(offered, subprotocols, 'offered')
  if (offered.has('centrifuge-json')) return 'centrifuge-json'
  return offered.has(PROTOBUF) && offered.size === 1 ? undefined : false
}
