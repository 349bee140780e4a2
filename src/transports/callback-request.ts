import { finished } from 'node:stream/promises'
import { Agent, type Dispatcher } from 'undici'
import { callbackHeaders } from './callback-headers.ts'
import { outcomeOfBody, outcomeOfError, outcomeOfStatus } from './callback-outcome.ts'
import type { Egress } from './egress.ts'
import type { Attempt, AttemptTrace, Envelope, Outcome } from './envelope.ts'
import { TimeLimit } from './time-limit.ts'
import { parseSecret } from './webhook-signature.ts'

const KIB = 1024

/** Where the requests of one client go. */
export interface CallbackTarget {
  /** It should have passed `Egress.checkUrl`; what it breaks of the rules is refused at each attempt. */
  readonly url: URL
  readonly clientId: string
  /** As the Standard Webhooks specification writes it: whsec_ and base64. Absent: requests are not signed. */
  readonly secret?: string | undefined
}

export interface CallbackRequestsOptions {
  readonly egress: Egress
  /** All of one attempt, from the look-up of the name to the last byte of the answer, in ms. */
  readonly timeoutMs?: number | undefined
  /** Of an answer's body; nobody looks at it. */
  readonly maxResponseBytes?: number | undefined
  /** Attempts that one origin may have at once; further ones wait for a socket, in their own time limit. */
  readonly maxSocketsPerOrigin?: number | undefined
  /** The wall clock, in ms since 1970. */
  readonly now?: (() => number) | undefined
}

/** What an attempt needs of its target, made ready once. */
interface Receiver {
  readonly hostname: string
  readonly origin: string
  readonly path: string
  readonly clientId: string
  readonly key: Buffer | undefined
}

/** The POST requests to all clients that are URLs, over sockets which they share by origin. */
export class CallbackRequests {
  readonly #agent: Agent
  readonly #egress: Egress
  readonly #timeoutMs: number
  readonly #now: () => number

  constructor(options: CallbackRequestsOptions) {
    const { egress, timeoutMs = 5000, maxResponseBytes = 64 * KIB, maxSocketsPerOrigin = 256, now = Date.now } = options
    this.#egress = egress
    this.#timeoutMs = timeoutMs
    this.#now = now
    this.#agent = new Agent({
      connect: { lookup: egress.lookup, timeout: timeoutMs },
      // The limit of the whole is kept below, in time in which the process ran.
      headersTimeout: 0,
      bodyTimeout: 0,
      connections: maxSocketsPerOrigin,
      // One request at a time on a socket: one that hangs holds up no other. HTTP/2 would put them all on one.
      pipelining: 1,
      allowH2: false,
      keepAliveMaxTimeout: 60_000,
      maxHeaderSize: 16 * KIB,
      maxResponseSize: maxResponseBytes,
    })
  }

  /** Throws REQUEST_INVALID where the secret is none. */
  attempt({ url, clientId, secret }: CallbackTarget): Attempt {
    const key = secret === undefined ? undefined : parseSecret(secret)
    const { hostname, origin, pathname, search } = url
    const receiver: Receiver = { hostname, origin, path: pathname + search, clientId, key }
    return (envelope, signal, trace) => this.#post(receiver, envelope, signal, trace)
  }

  /** Attempts under way end now, and later ones at once, as ones to be made again. */
  async close(): Promise<void> {
    await this.#agent.destroy()
  }

  async #post(receiver: Receiver, envelope: Envelope, owner: AbortSignal, trace?: AttemptTrace): Promise<Outcome> {
    const { hostname, origin, path, clientId, key } = receiver
    // A literal address is never looked up: nothing else stands before it.
    const broken = this.#egress.checkHost(hostname)
    if (broken) return { kind: 'refused', why: broken }
    const limit = new TimeLimit(this.#timeoutMs, owner)
    try {
      const { signal } = limit
      // undici would open a socket for it first.
      signal.throwIfAborted()
      const own = callbackHeaders(envelope, clientId, key, Math.floor(this.#now() / 1000))
      const headers = { ...trace?.headers, ...own }
      const request = { origin, path, method: 'POST', headers, body: envelope.payload, signal } as const
      return await this.#read(await limit.wait(this.#agent.request(request)), trace)
    } catch (error) {
      trace?.failed(error)
      return outcomeOfError(error)
    } finally {
      limit.clear()
    }
  }

  /**
   * Reads the answer to its end even where its status says it all: only then can the socket be used again. Of an answer
   * undici listens to the signal of the request.
   */
  async #read({ statusCode, headers, body }: Dispatcher.ResponseData, trace?: AttemptTrace): Promise<Outcome> {
    trace?.answered(statusCode)
    const { 'retry-after': header } = headers
    const outcome = outcomeOfStatus(statusCode, Array.isArray(header) ? header[0] : header, this.#now())
    try {
      await finished(body.resume())
      return outcome
    } catch (error) {
      trace?.failed(error)
      return outcome.kind === 'ok' ? outcomeOfBody(statusCode, error) : outcome
    }
  }
}
