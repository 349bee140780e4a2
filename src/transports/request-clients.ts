import type { Client, CloseReason } from '../core/connection.ts'
import type { ConnectionManager } from '../core/manager.ts'
import {
  anything,
  callable,
  having,
  integer,
  MAX_TIMER_MS,
  nested,
  number,
  period,
  type Rules,
  text,
  texts,
} from '../core/options.ts'
import type { DeliveryPolicy } from '../core/policy.ts'
import { policyRule } from '../core/policy-check.ts'
import type { Scheduler } from '../core/scheduler.ts'
import type { Session } from '../core/sessions.ts'
import { DEFAULT_RETRY, type RetryRules } from './backoff.ts'
import { type BreakerRules, DEFAULT_BREAKER } from './circuit-breaker.ts'
import type { Attempt } from './envelope.ts'
import { RequestConnection, type RequestConnectionOptions, type RequestMeter } from './request-connection.ts'
import { join, newClientId } from './transport.ts'

/** A hub with a clock and counters for requests, as `createHub` makes it. */
export interface RequestHub extends ConnectionManager {
  readonly scheduler: Scheduler
  readonly operations: { readonly callback: RequestMeter }
  /** Undefined: nothing is traced. */
  readonly tracing?: { traced(clientId: string, url: URL, attempt: Attempt): Attempt } | undefined
}

/** Not each manager has what such clients need. */
export const requestHub = having('a hub, as createHub() makes it,', 'registerClient', 'subscribe', 'send')

/** How all clients of one kind are treated. */
export interface RequestRules {
  /** Default: 3 retries, 100 ms base, 5 s at most. */
  readonly retry?: Partial<RetryRules> | undefined
  /** Default: opens after 5 failures in a row, for 10 s. */
  readonly breaker?: Partial<BreakerRules> | undefined
  /** Between 0 and 1. Default: Math.random. */
  readonly random?: (() => number) | undefined
}

const ms = number(0, MAX_TIMER_MS)
const RETRY: Rules<RetryRules> = { retries: integer(0), baseMs: ms, capMs: ms }
const BREAKER: Rules<BreakerRules> = { failures: integer(1), coolDownMs: ms }

export const REQUEST_RULES: Rules<RequestRules> = {
  retry: nested(RETRY, 'CONFIG_INVALID'),
  breaker: nested(BREAKER, 'CONFIG_INVALID'),
  random: callable,
}

/** Of an address of one attempt: where it may go, and for how long. */
export const ATTEMPT_RULES = { allow: texts, resolve: callable, timeoutMs: period }

/** Who is registered, whatever is behind it. */
export interface RequestOpening {
  /** Default: random. */
  readonly id?: string | undefined
  readonly topics?: readonly { readonly name: string; readonly policy?: DeliveryPolicy | undefined }[] | undefined
  readonly session?: Session | undefined
  /** The id is taken. Default replace: the older client is closed. refuse: CLIENT_EXISTS. */
  readonly ifExists?: 'replace' | 'seize' | 'refuse' | undefined
}

const TOPIC: Rules<{ name: string; policy?: DeliveryPolicy }> = { name: text, policy: policyRule }
const topic = nested(TOPIC)

/** `session` and `ifExists` are read with the registration. */
export const OPENING_RULES: Rules<RequestOpening> = {
  id: text,
  topics: (value, field) => {
    if (!Array.isArray(value)) return 'an array of { name, policy }'
    for (const [at, each] of value.entries()) topic(each, `${field}.${at}`)
    return undefined
  },
  session: anything,
  ifExists: anything,
}

/** What a client of requests is made of. */
export interface Receiver {
  readonly protocol: string
  /** For people to read. */
  readonly address: string
  /** Where the requests go, for whoever traces them. Absent: they are not traced. */
  readonly url?: URL | undefined
  readonly attempt: Attempt
  readonly ping?: RequestConnectionOptions['ping']
  readonly farewell?: ((reason: CloseReason) => void) | undefined
  /** All that is needed to have it again after a restart: plain JSON. */
  readonly restore: unknown
}

/** Registers and subscribes, or neither. Throws the HubErrors of registerClient and subscribe. */
export function openReceiver(
  hub: RequestHub,
  receiver: Receiver,
  opening: RequestOpening,
  rules: RequestRules,
): Client {
  const { id = newClientId(), topics = [], session, ifExists } = opening
  const { url, attempt } = receiver
  const connection = new RequestConnection({
    ...receiver,
    attempt: (url && hub.tracing?.traced(id, url, attempt)) ?? attempt,
    retry: { ...DEFAULT_RETRY, ...rules.retry },
    breaker: { ...DEFAULT_BREAKER, ...rules.breaker },
    random: rules.random ?? Math.random,
    scheduler: hub.scheduler,
    events: hub.events,
    meter: hub.operations.callback,
  })
  return join(connection, {
    hub,
    clientId: id,
    topics: topics.map(({ name, policy }) => ({ name, options: { policy } })),
    session,
    ifExists,
    restore: receiver.restore,
  })
}
