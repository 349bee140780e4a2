import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { Client, CloseReason } from '../core/connection.ts'
import { HubError } from '../core/errors.ts'
import { anything, checkValue, having, type Rules, readOptions, text, texts } from '../core/options.ts'
import { within } from '../event-loop.ts'
import { outcomeOfBody, outcomeOfError, outcomeOfStatus } from './callback-outcome.ts'
import { Egress } from './egress.ts'
import type { Attempt, AttemptTrace, Envelope, Outcome } from './envelope.ts'
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
import { TimeLimit } from './time-limit.ts'

/** The part of @aws-sdk/client-apigatewaymanagementapi that is used. */
export interface GatewaySdk {
  readonly ApiGatewayManagementApiClient: new (config: object) => GatewayApi
  readonly PostToConnectionCommand: new (input: { ConnectionId: string; Data: Uint8Array }) => object
  readonly GetConnectionCommand: new (input: { ConnectionId: string }) => object
  readonly DeleteConnectionCommand: new (input: { ConnectionId: string }) => object
}

interface GatewayApi {
  /** What the SDK made of what it was given and what it found. */
  readonly config: { region(): Promise<string> }
  send(command: object, options?: { abortSignal?: AbortSignal }): Promise<unknown>
  destroy(): void
}

export interface ApiGatewayOptions extends RequestRules {
  /**
   * Of the APIs, such as https://abc123.execute-api.eu-west-1.amazonaws.com/prod. Only these: requests to them are
   * signed with the process's credentials.
   */
  readonly endpoints: readonly string[]
  /** Default: the one in an endpoint's name, or what the SDK finds. */
  readonly region?: string | undefined
  /** Default: what the SDK finds. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined
  /** Addresses beside the public ones that an endpoint may have. Default: none. */
  readonly allow?: readonly string[] | undefined
  /** Finds the addresses of a name; each is checked, whoever says it. Default: DNS, then the system's. */
  readonly resolve?: Resolver | undefined
  /** How long one attempt may take, in ms. Default 5,000. */
  readonly timeoutMs?: number | undefined
}

export interface ApiGatewayOpening extends RequestOpening {
  /** One of the endpoints. */
  readonly endpoint: string
  /** As API Gateway gives it to the backend with $connect. */
  readonly connectionId: string
}

const OPTIONS: Rules<ApiGatewayOptions> = {
  ...REQUEST_RULES,
  ...ATTEMPT_RULES,
  endpoints: texts,
  region: text,
  credentials: anything,
}
const COMMANDS = ['PostToConnectionCommand', 'GetConnectionCommand', 'DeleteConnectionCommand'] as const
const SDK = having('the SDK, as loadGatewaySdk() gives it,', 'ApiGatewayManagementApiClient', ...COMMANDS)
const OPENING: Rules<ApiGatewayOpening> = { ...OPENING_RULES, endpoint: text, connectionId: anything }

interface StoredGatewayClient {
  readonly transport: 'api-gateway'
  readonly endpoint: string
  readonly connectionId: string
}

const TIMEOUT_MS = 5000
const MAX_CONNECTION_ID_LENGTH = 128

/** Loaded when it is needed, for it is an optional package. Throws CONFIG_INVALID where it is not installed. */
export async function loadGatewaySdk(): Promise<GatewaySdk> {
  try {
    return (await import('@aws-sdk/client-apigatewaymanagementapi')) as unknown as GatewaySdk
  } catch (error) {
    const how = 'npm install @aws-sdk/client-apigatewaymanagementapi'
    throw new HubError('CONFIG_INVALID', `apiGateway: its SDK is not installed: ${how}`, { cause: error })
  }
}

/**
 * Clients that are WebSocket connections of an AWS API Gateway: messages become `POST {endpoint}/@connections/{id}`,
 * signed by AWS's SDK.
 */
export class ApiGatewayClients {
  readonly #hub: RequestHub
  readonly #options: ApiGatewayOptions
  readonly #sdk: GatewaySdk
  readonly #timeoutMs: number
  readonly #apis = new Map<string, GatewayApi>()

  /** Throws CONFIG_INVALID, and CALLBACK_URL_INVALID where an endpoint is not to be posted to. */
  constructor(hub: RequestHub, sdk: GatewaySdk, given: ApiGatewayOptions) {
    const options = readOptions(given, OPTIONS, 'apiGateway: ', 'CONFIG_INVALID', ['endpoints'])
    checkValue(hub, requestHub, 'apiGateway: hub', 'CONFIG_INVALID')
    this.#hub = hub
    this.#sdk = sdk
    this.#options = options
    this.#timeoutMs = options.timeoutMs ?? TIMEOUT_MS
    const egress = new Egress(options.allow, { resolve: options.resolve, field: 'apiGateway: allow' })
    checkValue(sdk, SDK, 'apiGateway: sdk', 'CONFIG_INVALID')
    for (const endpoint of options.endpoints) {
      this.#apis.set(endpointKey(egress.checkUrl(endpoint)), this.#api(endpoint, egress))
    }
  }

  /** Throws CONFIG_INVALID where a region is neither given nor found: nothing could be signed. */
  async check(): Promise<void> {
    for (const [endpoint, api] of this.#apis) {
      try {
        await api.config.region()
      } catch (error) {
        const how = 'set apiGateway.region, or AWS_REGION in the environment'
        throw new HubError('CONFIG_INVALID', `apiGateway.region: there is none for ${endpoint}; ${how}`, {
          cause: error,
        })
      }
    }
  }

  /** Throws REQUEST_INVALID and the HubErrors of registerClient and subscribe. */
  register(given: ApiGatewayOpening): Client {
    const opening = readOptions(given, OPENING, 'register')
    const { connectionId } = opening
    const api = this.#apis.get(URL.canParse(opening.endpoint) ? endpointKey(new URL(opening.endpoint)) : '')
    if (api === undefined) {
      throw new HubError(
        'REQUEST_INVALID',
        `endpoint: it is none of the configured ones: ${[...this.#apis.keys()].join(', ')}`,
      )
    }
    if (typeof connectionId !== 'string' || connectionId === '' || connectionId.length > MAX_CONNECTION_ID_LENGTH) {
      throw new HubError('REQUEST_INVALID', `connectionId: it has 1 to ${MAX_CONNECTION_ID_LENGTH} characters`)
    }
    const url = new URL(opening.endpoint)
    const { href: endpoint, host } = url
    const attempt: Attempt = (envelope, signal, trace) => this.#post(api, connectionId, envelope, signal, trace)
    const restore: StoredGatewayClient = { transport: 'api-gateway', endpoint, connectionId }
    const receiver = {
      protocol: 'api-gateway',
      ...{ address: host, url, attempt, restore },
      ping: (signal: AbortSignal) => this.#get(api, connectionId, signal),
      farewell: (reason: CloseReason) => this.#delete(api, connectionId, reason),
    }
    return openReceiver(this.#hub, receiver, opening, this.#options)
  }

  /** Registers again what `register` gave a store to keep. */
  restore(restorable: unknown, opening: RequestOpening): Client {
    const { endpoint = '', connectionId = '' } = (restorable ?? {}) as Partial<StoredGatewayClient>
    return this.register({ ...opening, endpoint, connectionId })
  }

  close(): void {
    for (const api of this.#apis.values()) api.destroy()
  }

  #api(endpoint: string, egress: Egress): GatewayApi {
    const { region = regionOf(endpoint), credentials } = this.#options
    const agent = { keepAlive: true, lookup: egress.lookup }
    return new this.#sdk.ApiGatewayManagementApiClient({
      endpoint: endpoint.replace(/\/$/, ''),
      // We retry ourselves, in order and as the breaker says.
      maxAttempts: 1,
      requestHandler: { httpAgent: new HttpAgent(agent), httpsAgent: new HttpsAgent(agent) },
      ...(region !== undefined && { region }),
      ...(credentials && { credentials }),
    })
  }

  async #post(
    api: GatewayApi,
    connectionId: string,
    { payload }: Envelope,
    signal: AbortSignal,
    trace: AttemptTrace | undefined,
  ): Promise<Outcome> {
    const command = new this.#sdk.PostToConnectionCommand({ ConnectionId: connectionId, Data: payload })
    const limit = new TimeLimit(this.#timeoutMs, signal)
    try {
      await limit.wait(api.send(command, { abortSignal: limit.signal }))
      trace?.answered(200)
      return { kind: 'ok' }
    } catch (error) {
      const status = statusOf(error)
      if (status !== undefined) trace?.answered(status)
      trace?.failed(error)
      return limit.signal.aborted ? outcomeOfError(limit.signal.reason) : outcomeOf(error as SdkError)
    } finally {
      limit.clear()
    }
  }

  async #get(api: GatewayApi, connectionId: string, signal: AbortSignal): Promise<'there' | 'gone' | 'unknown'> {
    const command = new this.#sdk.GetConnectionCommand({ ConnectionId: connectionId })
    const limit = new TimeLimit(this.#timeoutMs, signal)
    try {
      await limit.wait(api.send(command, { abortSignal: limit.signal }))
      return 'there'
    } catch (error) {
      return statusOf(error) === 410 ? 'gone' : 'unknown'
    } finally {
      limit.clear()
    }
  }

  /**
   * The registration has ended for our reasons. At a shutdown the connection stays: it will be found again in the
   * store.
   */
  #delete(api: GatewayApi, connectionId: string, reason: CloseReason): void {
    if (reason === 'shutdown' || reason === 'replaced') return
    const command = new this.#sdk.DeleteConnectionCommand({ ConnectionId: connectionId })
    // Nobody waits for it; what it says is only that the connection is there no more.
    within(this.#timeoutMs, abortSignal => api.send(command, { abortSignal })).catch(() => {})
  }
}

/** Of AWS's own host names. */
function regionOf(endpoint: string): string | undefined {
  return /\.execute-api\.([a-z0-9-]+)\.amazonaws\.com/.exec(endpoint)?.[1]
}

function endpointKey({ origin, pathname }: URL): string {
  return `${origin}${pathname.replace(/\/$/, '')}`
}

/** What the SDK throws: an answer that is no success or could not be read, or why there was none. */
interface SdkError extends NodeJS.ErrnoException {
  readonly $metadata?: { readonly httpStatusCode?: number }
  readonly $response?: { readonly headers?: Readonly<Record<string, string>> }
}

/**
 * By the status, not by the class: GoneException is there only where the answer names it, and a bare 410 is as final.
 */
function outcomeOf(error: SdkError): Outcome {
  const status = statusOf(error)
  if (status !== undefined && status >= 300) {
    return outcomeOfStatus(status, error.$response?.headers?.['retry-after'], Date.now())
  }
  const cause = causeOf(error)
  return status === undefined ? outcomeOfError(cause) : outcomeOfBody(status, cause)
}

/** The SDK calls a connection that was reset a TimeoutError, and what is wrong with its own settings just an Error. */
function causeOf({ code, name, message }: SdkError): object {
  const [firstLine] = message.split('\n')
  return { code, name: name === 'Error' ? firstLine : name, message: firstLine, ...(code && { name: code }) }
}

function statusOf(error: unknown): number | undefined {
  return (error as SdkError | undefined)?.$metadata?.httpStatusCode
}
