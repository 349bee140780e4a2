import { HubError } from '../core/errors.ts'
import { parseTopicName } from '../core/ids.ts'
import type { ConnectionManager } from '../core/manager.ts'
import { isPattern, parsePattern } from '../core/patterns.ts'
import { checkAllowed, tooMany } from '../core/refusals.ts'
import { parsePolicy } from '../policies/catalog.ts'
import type { ApiGatewayClients } from '../transports/api-gateway.ts'
import type { CallbackClients } from '../transports/callback.ts'
import type { RequestOpening } from '../transports/request-clients.ts'
import { subscribeAll } from '../transports/transport.ts'

/** Kinds of clients that are URLs; those that are not there cannot be registered. */
export interface ReceiverKinds {
  readonly callbacks?: CallbackClients | undefined
  readonly gateways?: ApiGatewayClients | undefined
}

/** What a backend asks for. Either a URL, or an endpoint and a connection id. */
export interface Wanted {
  readonly url?: string | undefined
  readonly secret?: string | undefined
  readonly endpoint?: string | undefined
  readonly connectionId?: string | undefined
  /** Undefined: none for a new client, as they are for one that is there. */
  readonly topics?: readonly { readonly name: string; readonly policy?: unknown }[] | undefined
  readonly user?: string | undefined
  readonly ifExists: 'keep' | 'replace'
}

/** What a transport gave a store to keep of its client: that of CallbackClients or of ApiGatewayClients. */
type Kept = Readonly<Record<string, unknown>>

/**
 * Registers clients that are URLs so that a backend which does it at every start of its own loses nothing: a client
 * that is there already, with the same receiver, is kept with all that waits for it.
 */
export class Receivers {
  readonly #hub: ConnectionManager
  readonly #kinds: ReceiverKinds
  /** Of those that are registered, whoever registered them. Holds secrets. */
  readonly #kept = new Map<string, Kept>()

  constructor(hub: ConnectionManager, kinds: ReceiverKinds) {
    this.#hub = hub
    this.#kinds = kinds
    hub.events.on('register', ({ id, restore }) => {
      if (restore !== undefined) this.#kept.set(id, restore as Kept)
    })
    hub.events.on('unregister', ({ id }) => void this.#kept.delete(id))
  }

  /**
   * Throws REQUEST_INVALID, CALLBACK_URL_INVALID, POLICY_INVALID, PERMISSION_DENIED, CLIENT_EXISTS, SHUTTING_DOWN, and
   * the other HubErrors of registerClient and subscribe. False: it was there already.
   */
  register(id: string, wanted: Wanted): boolean {
    if (this.#hub.draining) throw new HubError('SHUTTING_DOWN', 'the hub is shutting down')
    const { topics, user, ifExists } = wanted
    const subscriptions = topics?.map(({ name, policy }) => ({
      name: isPattern(name) ? parsePattern(name) : parseTopicName(name),
      policy: policy === undefined ? undefined : parsePolicy(policy),
    }))
    if (ifExists === 'keep' && this.#isThere(id, wanted)) {
      this.#align(id, subscriptions)
      return false
    }
    const opening: RequestOpening = {
      id,
      topics: subscriptions,
      session: user === undefined ? undefined : { user },
      ifExists: ifExists === 'replace' ? 'seize' : 'refuse',
    }
    this.#open(wanted, opening)
    return true
  }

  #open({ url, secret, endpoint, connectionId }: Wanted, opening: RequestOpening) {
    const { callbacks, gateways } = this.#kinds
    if (url !== undefined && endpoint === undefined && connectionId === undefined) {
      if (callbacks === undefined) throw unavailable('url', 'callbacks.enabled')
      return callbacks.register({ ...opening, url, secret })
    }
    if (endpoint !== undefined && connectionId !== undefined && url === undefined && secret === undefined) {
      if (gateways === undefined) throw unavailable('endpoint', 'apiGateway.endpoints')
      return gateways.register({ ...opening, endpoint, connectionId })
    }
    throw new HubError(
      'REQUEST_INVALID',
      'url: give a url, and its secret if it has one; or an endpoint and a connectionId',
    )
  }

  /** The same receiver under the same id, for the same user. */
  #isThere(id: string, { url, secret, endpoint, connectionId, user }: Wanted): boolean {
    const kept = this.#kept.get(id)
    if (kept === undefined || this.#hub.getClient(id).user !== user) return false
    if (url !== undefined) return kept.url === normal(url) && kept.secret === secret
    return endpoint !== undefined && kept.endpoint === normal(endpoint) && kept.connectionId === connectionId
  }

  /** Gives a client exactly these subscriptions; what waits on those that it has already goes on waiting. */
  #align(id: string, wanted: RequestOpening['topics']): void {
    if (wanted === undefined) return
    this.#checkAll(wanted)
    const client = this.#hub.handleOf(id)!
    const names = new Set(wanted.map(({ name }) => name))
    const { subscriptions, patterns } = this.#hub.getClient(id)
    for (const { pattern } of patterns) if (!names.has(pattern)) this.#hub.unsubscribePattern(id, pattern)
    for (const { topic, pattern } of subscriptions) {
      if (!names.has(topic) && pattern === undefined) this.#hub.unsubscribe(id, topic)
    }
    const topics = wanted.map(({ name, policy }) => ({ name, options: { policy } }))
    subscribeAll(this.#hub, client, topics)
  }

  /** What is refused must change nothing: what waits on a topic is lost with the subscription. */
  #checkAll(wanted: NonNullable<RequestOpening['topics']>): void {
    const { maxSubscriptionsPerClient, maxPatternsPerClient } = this.#hub.limits
    const names = new Set(wanted.map(({ name }) => name))
    const patterns = [...names].filter(isPattern).length
    if (names.size - patterns > maxSubscriptionsPerClient) {
      throw tooMany('subscriptions of one client', maxSubscriptionsPerClient, 'limits.maxSubscriptionsPerClient')
    }
    if (patterns > maxPatternsPerClient)
      throw tooMany('patterns of one client', maxPatternsPerClient, 'limits.maxPatternsPerClient')
    for (const { name, policy } of wanted) {
      if (isPattern(name)) continue
      checkAllowed({ name: parseTopicName(name), spec: this.#hub.resolveTopic(name) }, policy)
    }
  }
}

/** As the transports keep a URL: without its fragment. */
function normal(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined
  const url = new URL(text)
  url.hash = ''
  return url.href
}

function unavailable(field: string, setting: string): HubError {
  return new HubError('PERMISSION_DENIED', `${field}: such clients are turned off here (${setting})`)
}
