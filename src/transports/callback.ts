import type { Client } from '../core/connection.ts'
import { HubError } from '../core/errors.ts'
import { anything, checkValue, type Rule, type Rules, readOptions, text } from '../core/options.ts'
import { CallbackRequests } from './callback-request.ts'
import { Egress } from './egress.ts'
import type { Resolver } from './name-resolver.ts'
import {
  ATTEMPT_RULES,
  OPENING_RULES,
  openReceiver,
  REQUEST_RULES,
  type RequestHub,
  type RequestOpening,
  type RequestRules,
  requestHub,
} from './request-clients.ts'
import { newClientId } from './transport.ts'
import { parseSecret } from './webhook-signature.ts'

export interface CallbackOptions extends RequestRules {
  /**
   * Addresses and networks (CIDR) beside the public ones that may be posted to, such as 127.0.0.1/32. Default: none.
   */
  readonly allow?: readonly string[] | undefined
  /** Finds the addresses of a name; each is checked, whoever says it. Default: DNS, then the system's. */
  readonly resolve?: Resolver | undefined
  /** How long one attempt may take, in ms. Default 5,000. */
  readonly timeoutMs?: number | undefined
  /** Signs the requests to clients that bring no secret of their own. `whsec_` and base64. */
  readonly secret?: string | undefined
}

export interface CallbackOpening extends RequestOpening {
  /** http: or https:, on an address that may be posted to. */
  readonly url: string
  /** Signs its requests, as Standard Webhooks says. `whsec_` and base64. */
  readonly secret?: string | undefined
}

const OPTIONS: Rules<CallbackOptions> = { ...REQUEST_RULES, ...ATTEMPT_RULES, secret: text }
/**
 * The error of `parseSecret` does not contain the secret. null is refused: without a secret, requests would go
 * unsigned.
 */
const secretRule: Rule = value => {
  parseSecret(value)
  return undefined
}
// The address has an error of its own.
const OPENING: Rules<CallbackOpening> = { ...OPENING_RULES, url: anything, secret: secretRule }

/** What a store keeps of such a client. */
interface StoredCallback {
  readonly transport: 'callback'
  readonly url: string
  readonly secret?: string | undefined
}

/**
 * Clients that are URLs: what they subscribe to, and what is sent to them, becomes POSTs (docs/sending.md). All of them
 * share one pool of kept-alive connections.
 */
export class CallbackClients {
  readonly #hub: RequestHub
  readonly #options: CallbackOptions
  readonly #egress: Egress
  readonly #requests: CallbackRequests

  /** Throws CONFIG_INVALID where an option is unknown or wrong. */
  constructor(hub: RequestHub, given: CallbackOptions = {}) {
    const options = readOptions(given, OPTIONS, 'callbacks: ', 'CONFIG_INVALID')
    checkValue(hub, requestHub, 'callbacks: hub', 'CONFIG_INVALID')
    this.#hub = hub
    this.#options = options
    if (options.secret !== undefined) parseSecret(options.secret, 'callbacks: secret', 'CONFIG_INVALID')
    this.#egress = new Egress(options.allow, { resolve: options.resolve, field: 'callbacks: allow' })
    this.#requests = new CallbackRequests({ egress: this.#egress, timeoutMs: options.timeoutMs })
  }

  /**
   * Registers the URL as a client and subscribes it, or neither; posts nothing yet. Throws CALLBACK_URL_INVALID,
   * REQUEST_INVALID, and the HubErrors of registerClient and subscribe.
   */
  register(given: CallbackOpening): Client {
    const opening = readOptions(given, OPENING, 'register')
    const url = this.#egress.checkUrl(opening.url)
    const { secret, id = newClientId() } = opening
    const restore: StoredCallback = { transport: 'callback', url: url.href, ...(secret !== undefined && { secret }) }
    const attempt = this.#requests.attempt({ url, clientId: id, secret: secret ?? this.#options.secret })
    const receiver = { protocol: 'callback', address: url.origin, url, attempt, restore }
    return openReceiver(this.#hub, receiver, { ...opening, id }, this.#options)
  }

  /**
   * Registers again what `register` gave a store to keep. Throws what `register` throws, and REQUEST_INVALID where it
   * is no such thing.
   */
  restore(restorable: unknown, opening: RequestOpening): Client {
    const { url, secret } = (restorable ?? {}) as Partial<StoredCallback>
    if (typeof url !== 'string' || (secret !== undefined && typeof secret !== 'string')) {
      throw new HubError('REQUEST_INVALID', 'restore: it is not what a callback client was stored as')
    }
    return this.register({ ...opening, url, secret })
  }

  /** Closes the pool; after the hub. */
  close(): Promise<void> {
    return this.#requests.close()
  }
}
