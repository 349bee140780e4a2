import { Agent, request } from 'undici'
import { z } from 'zod'
import { HubError } from '../core/errors.ts'
import type { TopicName } from '../core/ids.ts'
import { callable, integer, period, type Rule, type Rules, readOptions, texts } from '../core/options.ts'
import type { TopicPattern } from '../core/patterns.ts'
import type { Action, Handshake, RefusalReason, Session, SessionManager } from '../core/sessions.ts'
import { within } from '../event-loop.ts'
import { allows, parseGrants } from './grants.ts'
import { grantsSchema, infoSchema, userSchema } from './jwt-claims.ts'
import { refused, unavailable } from './refusals.ts'

export interface CallbackSessionsOptions {
  /** Asked of everything; `event` in the body says of what. The other three win over it. */
  readonly url?: string | URL | undefined
  readonly connectUrl?: string | URL | undefined
  readonly subscribeUrl?: string | URL | undefined
  readonly publishUrl?: string | URL | undefined
  /** Of the peer's headers, which are passed on with `connect`. Default: authorization, cookie, origin. */
  readonly headers?: readonly string[] | undefined
  /** Of one question, waiting for its turn included, in ms. Default 1000. */
  readonly timeoutMs?: number | undefined
  /**
   * Questions at a time. Default 64; as many again times 16 may wait, and what comes beyond that is refused at once.
   */
  readonly maxConcurrent?: number | undefined
  /** The wall clock, in ms since 1970. */
  readonly now?: (() => number) | undefined
}

export interface CallbackSessions extends SessionManager {
  /** Ends its sockets; questions under way fail. */
  close(): Promise<void>
}

type Event = 'connect' | 'subscribe' | 'publish'

const MAX_ANSWER_BYTES = 64 * 1024
const WAITING_PER_SOCKET = 16
const FORWARDED = ['authorization', 'cookie', 'origin']

const reasons = [
  'missing',
  'malformed',
  'algorithm',
  'signature',
  'expired',
  'early',
  'audience',
  'issuer',
  'claims',
  'type',
  'key',
  'revoked',
  'used',
] as const satisfies readonly RefusalReason[]
const welcome = z.object({
  user: userSchema.optional(),
  /** In ms since 1970. */
  expiresAt: z.number().min(0).optional(),
  topics: grantsSchema.optional(),
  info: infoSchema.optional(),
})
const refusal = z.object({ reason: z.enum(reasons) })
const verdict = z.object({ allow: z.boolean() })

/**
 * The application decides: it is asked by POST at each connect, subscription and publication. Whatever goes wrong with
 * it refuses. Nothing is kept of its answers but the grants (`topics`) that its answer to `connect` may have: with
 * those, no more is asked of the session. Throws CONFIG_INVALID.
 */
export function callbackSessions(options: CallbackSessionsOptions): CallbackSessions {
  return new Callback(options)
}

const url: Rule = value => (typeof value === 'string' || value instanceof URL ? undefined : 'a URL')
const OPTIONS: Rules<CallbackSessionsOptions> = {
  url,
  connectUrl: url,
  subscribeUrl: url,
  publishUrl: url,
  headers: texts,
  timeoutMs: period,
  maxConcurrent: integer(1),
  now: callable,
}

class Callback implements CallbackSessions {
  readonly #urls: Readonly<Record<Event, URL | undefined>>
  readonly #headers: readonly string[]
  readonly #timeoutMs: number
  readonly #most: number
  readonly #agent: Agent
  readonly #now: () => number
  #asking = 0

  constructor(given: CallbackSessionsOptions) {
    const options = readOptions(given, OPTIONS, 'callback: ', 'CONFIG_INVALID')
    const { url, timeoutMs = 1000, maxConcurrent = 64, headers = FORWARDED, now = Date.now } = options
    this.#urls = {
      connect: readUrl('connectUrl', options.connectUrl ?? url),
      subscribe: readUrl('subscribeUrl', options.subscribeUrl ?? url),
      publish: readUrl('publishUrl', options.publishUrl ?? url),
    }
    if (this.#urls.connect === undefined) throw new HubError('CONFIG_INVALID', 'callback: give url or connectUrl')
    this.#headers = headers.map(readHeader)
    this.#timeoutMs = timeoutMs
    this.#most = maxConcurrent * (1 + WAITING_PER_SOCKET)
    this.#now = now
    this.#agent = new Agent({
      connections: maxConcurrent,
      pipelining: 1,
      connect: { timeout: timeoutMs },
      maxResponseSize: MAX_ANSWER_BYTES,
    })
  }

  async authenticate({ protocol, address, token, headers = {} }: Handshake): Promise<Session> {
    const known = this.#headers.flatMap(name => (headers[name] === undefined ? [] : [[name, headers[name]] as const]))
    const passed = Object.fromEntries(known)
    const answer = await this.#ask('connect', { protocol, address, token }, passed)
    if (answer.status === 401) {
      throw refused(refusal.safeParse(answer.body).data?.reason ?? (token === undefined ? 'missing' : 'key'))
    }
    if (answer.status === 403) throw new HubError('PERMISSION_DENIED', 'session: the application refuses it')
    const { data, success } = welcome.safeParse(answer.body)
    if (answer.status !== 200 || !success) throw unavailable('the application')
    const { topics, ...told } = data
    if (told.expiresAt !== undefined && told.expiresAt <= this.#now()) throw refused('expired')
    try {
      return { ...told, issuedAt: this.#now(), ...(topics && { grants: parseGrants(topics, told.user) }) }
    } catch {
      throw unavailable('the application')
    }
  }

  async authorize(session: Session, action: Action, topic: TopicName | TopicPattern): Promise<boolean> {
    if (session.grants) return allows(session.grants, action, topic)
    const event = action === 'publish' ? 'publish' : 'subscribe'
    if (this.#urls[event] === undefined) return false
    const { user, info } = session
    const { status, body } = await this.#ask(event, { action, topic, user, info })
    if (status === 401 || status === 403) return false
    const { data, success } = verdict.safeParse(body)
    if (status !== 200 || !success) throw unavailable('the application')
    return data.allow
  }

  async close(): Promise<void> {
    await this.#agent.destroy()
  }

  async #ask(
    event: Event,
    about: object,
    headers: Record<string, string | string[] | undefined> = {},
  ): Promise<{ status: number; body: unknown }> {
    if (this.#asking >= this.#most) throw unavailable('the application')
    this.#asking++
    try {
      return await within(this.#timeoutMs, async signal => {
        const { statusCode, body } = await request(this.#urls[event]!, {
          method: 'POST',
          dispatcher: this.#agent,
          signal,
          headers: { ...headers, 'content-type': 'application/json', accept: 'application/json' },
          body: JSON.stringify({ event, ...about }),
        })
        // Read to its end in any case: only then can the socket be used again.
        const text = await body.text()
        return { status: statusCode, body: parse(text) }
      })
    } catch {
      // Its error may have the URL in it, or a header.
      throw unavailable('the application')
    } finally {
      this.#asking--
    }
  }
}

/** Those would break the request that asks. */
const OWN_HEADERS = /^(host|connection|content-.*|transfer-encoding|accept|expect|keep-alive|upgrade|te|trailer)$/

function readHeader(name: string): string {
  const lower = name.toLowerCase()
  if (/^[a-z0-9-]+$/.test(lower) && !OWN_HEADERS.test(lower)) return lower
  throw new HubError('CONFIG_INVALID', `callback: headers: ${JSON.stringify(name)} cannot be passed on`)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function readUrl(field: string, url: string | URL | undefined): URL | undefined {
  if (url === undefined) return undefined
  const parsed = URL.canParse(String(url)) ? new URL(url) : undefined
  if (parsed && /^https?:$/.test(parsed.protocol)) return parsed
  throw new HubError('CONFIG_INVALID', `callback: ${field}: it begins with https:// or http://`)
}
