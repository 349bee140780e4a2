import { type CryptoKey, createLocalJWKSet, errors, type FlattenedJWSInput, type JWTHeaderParameters } from 'jose'
import { Agent, request } from 'undici'
import { HubError } from '../core/errors.ts'
import { within } from '../event-loop.ts'
import { unavailable } from './refusals.ts'

export interface JwksOptions {
  readonly url: URL
  /** Between two fetches, whatever comes, in ms. Default 10,000. */
  readonly coolDownMs?: number | undefined
  /** Of one fetch, in ms. Default 5000. */
  readonly timeoutMs?: number | undefined
  /** After so long the set is fetched anew, so that a key that was taken out is forgotten, in ms. Default 600,000. */
  readonly maxAgeMs?: number | undefined
  /** A monotonic clock, in ms. */
  readonly clock?: (() => number) | undefined
}

type KeySet = (header: JWTHeaderParameters, token: FlattenedJWSInput) => Promise<CryptoKey>

const MAX_SET_BYTES = 256 * 1024
/** Host names as `URL` writes them. */
const LOOPBACK = /^(?:(?:[a-z0-9-]+\.)*localhost|127(?:\.\d{1,3}){3}|\[::1\])$/

/** Anyone on the path of a key set without TLS could replace the keys. */
export function isSafeKeySetUrl({ protocol, hostname }: URL): boolean {
  return protocol === 'https:' || (protocol === 'http:' && LOOPBACK.test(hostname))
}

/**
 * The public keys of an identity provider, by its URL. jose's own remote set forgets all keys when a fetch fails, and
 * fetches at every unknown kid while it does: here the keys that are known go on working, and no kind of token makes
 * more than one fetch per cool-down.
 */
export class KeySetByUrl {
  readonly #url: URL
  readonly #coolDownMs: number
  readonly #timeoutMs: number
  readonly #maxAgeMs: number
  readonly #clock: () => number
  #keys: KeySet | undefined
  #fetchedAt = Number.NEGATIVE_INFINITY
  #triedAt = Number.NEGATIVE_INFINITY
  #fetching: Promise<void> | undefined

  constructor({ url, coolDownMs = 10_000, timeoutMs = 5000, maxAgeMs = 600_000, clock }: JwksOptions) {
    if (!isSafeKeySetUrl(url)) {
      throw new HubError('CONFIG_INVALID', 'jwt: jwksUrl must begin with https:// (http:// is for loopback only)')
    }
    this.#url = url
    this.#coolDownMs = coolDownMs
    this.#timeoutMs = timeoutMs
    this.#maxAgeMs = maxAgeMs
    this.#clock = clock ?? (() => performance.now())
  }

  /** For jose. Throws AUTH_UNAVAILABLE where no keys are known at all, and jose's errors. */
  readonly find: KeySet = async (header, token) => {
    if (this.#keys === undefined) await this.#refresh()
    // In the background: nobody waits for news of keys that work.
    else if (this.#clock() - this.#fetchedAt >= this.#maxAgeMs) void this.#refresh()
    const known = this.#keys
    if (known === undefined) throw unavailable('the key set')
    try {
      return await known(header, token)
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error
      await this.#refresh()
      if (this.#keys === known || this.#keys === undefined) throw error
      return this.#keys(header, token)
    }
  }

  /** Never rejects. Does nothing while it cools down; whoever comes meanwhile waits for the fetch that is under way. */
  #refresh(): Promise<void> {
    if (this.#fetching !== undefined) return this.#fetching
    const now = this.#clock()
    if (now - this.#triedAt < this.#coolDownMs) return Promise.resolve()
    this.#triedAt = now
    this.#fetching = this.#fetch()
      .then(keys => {
        this.#keys = keys
        this.#fetchedAt = now
      })
      // What is known is kept; AUTH_UNAVAILABLE says so where nothing is.
      .catch(() => {})
      .finally(() => {
        this.#fetching = undefined
      })
    return this.#fetching
  }

  /** undici follows no redirects unless told to. */
  async #fetch(): Promise<KeySet> {
    // Fetches are minutes apart: a socket that waits in between would have to be closed by somebody.
    const agent = new Agent({ connections: 1, maxResponseSize: MAX_SET_BYTES, connect: { timeout: this.#timeoutMs } })
    try {
      return await within(this.#timeoutMs, async signal => {
        const { statusCode, body } = await request(this.#url, { dispatcher: agent, signal })
        if (statusCode !== 200) throw unavailable('the key set')
        return createLocalJWKSet((await body.json()) as Parameters<typeof createLocalJWKSet>[0])
      })
    } finally {
      await agent.destroy()
    }
  }
}
