import type { FastifyBaseLogger } from 'fastify'
import { HubError } from '../core/errors.ts'
import type { Hub } from '../hub.ts'
import { ConnectionBook, type Restorable } from '../stores/connection-book.ts'
import type { ConnectionStore } from '../stores/connection-store.ts'
import { memoryStore } from '../stores/memory.ts'
import {
  ApiGatewayClients,
  type ApiGatewayOptions,
  type GatewaySdk,
  loadGatewaySdk,
} from '../transports/api-gateway.ts'
import { CallbackClients } from '../transports/callback.ts'
import type { RequestOpening } from '../transports/request-clients.ts'
import type { Config } from './config.ts'
import type { ReceiverKinds } from './receivers.ts'
import { Recovery } from './recovery.ts'
import { WatchedStore } from './watched-store.ts'

/** Of one hub. `tenant`: whose it is; nobody else's records are in its part of the store. */
export type HubConfig = Omit<Config, 'store'> & { readonly store: Config['store'] & { readonly tenant?: string } }

/**
 * A server's clients that are URLs, and the store that remembers them. Owns their sockets and the store; lives as long
 * as the hub.
 */
export class ServerClients {
  readonly kinds: ReceiverKinds
  readonly #store: WatchedStore
  readonly #book: ConnectionBook
  readonly #recovery: Recovery

  private constructor(
    hub: Hub,
    kinds: ReceiverKinds,
    store: ConnectionStore,
    { node, redisUrl }: HubConfig['store'],
    log: FastifyBaseLogger,
  ) {
    this.kinds = kinds
    this.#store = new WatchedStore(store, log)
    this.#book = new ConnectionBook(hub, this.#store, (ms, run) => hub.scheduler.every(ms, run), {
      node,
      // To nobody but this process is a socket worth anything: only who shares the store can ask where it is.
      sockets: redisUrl !== undefined,
      now: Date.now,
      // The store has told it.
      onFault: () => {},
    })
    this.#recovery = new Recovery(this.#book, (options, opening) => this.#restore(options, opening), hub.scheduler, log)
  }

  /** Throws CONFIG_INVALID. */
  static async open(hub: Hub, config: HubConfig, log: FastifyBaseLogger): Promise<ServerClients> {
    const { enabled, ...options } = config.callbacks
    const gateways = await openGateways(hub, config)
    const store = await openStore(config.store)
    const callbacks = enabled ? new CallbackClients(hub, options) : undefined
    return new ServerClients(hub, { callbacks, gateways }, store, config.store, log)
  }

  /** Has the clients again that this node had when it was stopped, or begins to try. */
  recover(): Promise<void> {
    return this.#recovery.run()
  }

  /** What does not work, though the server does. */
  get degraded(): string | undefined {
    if (!this.#store.available) return `store: ${this.#store.name} is out of reach`
    return this.#recovery.pending ? `store: ${this.#store.name} has not been read yet` : undefined
  }

  /** After the hub. What the store has not taken when the signal says so is given up. */
  async close(signal: AbortSignal): Promise<void> {
    const { callbacks, gateways } = this.kinds
    this.#recovery[Symbol.dispose]()
    gateways?.close()
    await callbacks?.close()
    const stored = this.#book.close().then(() => this.#store.close())
    await Promise.race([stored, aborted(signal)])
  }

  #restore(options: Restorable['options'], opening: RequestOpening): void {
    const { callbacks, gateways } = this.kinds
    const kind = { callback: callbacks, 'api-gateway': gateways }[options.transport]
    if (kind === undefined)
      throw new HubError('PERMISSION_DENIED', `${options.transport}: such clients are turned off here`)
    kind.restore(options, opening)
  }
}

async function openGateways(hub: Hub, { apiGateway, callbacks }: HubConfig): Promise<ApiGatewayClients | undefined> {
  const { endpoints, region } = apiGateway
  if (endpoints.length === 0) return undefined
  const { allow, timeoutMs } = callbacks
  const gateways = createGateways(hub, await loadGatewaySdk(), { endpoints, region, allow, timeoutMs })
  await gateways.check()
  return gateways
}

function createGateways(hub: Hub, sdk: GatewaySdk, options: ApiGatewayOptions): ApiGatewayClients {
  try {
    return new ApiGatewayClients(hub, sdk, options)
  } catch (error) {
    throw new HubError('CONFIG_INVALID', `config: apiGateway.endpoints: ${(error as Error).message}`, { cause: error })
  }
}

async function openStore({ redisUrl, tenant }: HubConfig['store']): Promise<ConnectionStore> {
  if (redisUrl === undefined) return memoryStore()
  const { redisStore } = await loadRedis()
  return redisStore({ url: redisUrl, ...(tenant !== undefined && { prefix: `hubline:${tenant}:` }) })
}

/** Its driver is an optional package. */
async function loadRedis() {
  try {
    return await import('../stores/redis.ts')
  } catch (error) {
    const how = 'npm install ioredis'
    throw new HubError('CONFIG_INVALID', `config: store.redisUrl: its driver is not installed: ${how}`, {
      cause: error,
    })
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
