import { randomBytes } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { HubError } from '../../src/core/errors.ts'
import { DEFAULT_LIMITS } from '../../src/core/limits.ts'
import { createHub, type Hub } from '../../src/hub.ts'
import { openTopics } from '../../src/open-topics.ts'
import { buffered } from '../../src/policies/buffered.ts'
import { dropSlow } from '../../src/policies/drop-slow.ts'
import { latest } from '../../src/policies/latest.ts'
import { priority } from '../../src/policies/priority.ts'
import { rateLimit } from '../../src/policies/rate-limit.ts'
import { reliable } from '../../src/policies/reliable.ts'
import { DEFAULT_EDGE_LIMITS } from '../../src/server/edge/limits.ts'
import { readPluginOptions } from '../../src/server/plugin-options.ts'
import { callbackSessions } from '../../src/sessions/callback-sessions.ts'
import { jwtSessions } from '../../src/sessions/jwt.ts'
import { Revocations } from '../../src/sessions/revocations.ts'
import { Tickets } from '../../src/sessions/tickets.ts'
import { topicRules } from '../../src/topics/registry.ts'
import { HTTPConnectionManager } from '../../src/tower/http-connection-manager.ts'
import { CallbackClients } from '../../src/transports/callback.ts'
import { clientProtocol } from '../../src/transports/client-protocol.ts'
import { Heartbeat } from '../../src/transports/heartbeat.ts'

const MIB = 1024 * 1024
const TIMER = 2 ** 31 - 1
const MOST = Number.MAX_SAFE_INTEGER
const ENTRIES = 10_000_000
/** The lowest that a number over 0 may be. */
const OVER_0 = Number.MIN_VALUE

const made: { close(): Promise<unknown> }[] = []
afterEach(async () => {
  for (const each of made.splice(0)) await each.close()
})
function kept<T extends { close(): Promise<unknown> }>(each: T): T {
  made.push(each)
  return each
}

type Options = Record<string, unknown>
/** One call that takes options, with the lowest and the highest value of each number among them. */
type Row = [call: string, code: string, make: (options: never) => unknown, numbers: Record<string, [number, number]>]

const newHub = (options?: object): Hub => kept(createHub(options))
const plugin = (options: Options) => readPluginOptions({ hub: newHub(), ...options })
const limits = Object.fromEntries(
  Object.keys(DEFAULT_LIMITS).map((name): [string, [number, number]] => [name, [0, ENTRIES]]),
)
Object.assign(limits, { maxQueuedBytesPerClient: [1, 1024 * MIB], maxRetainedBytes: [1, 1024 ** 2 * MIB] })
const edgeLimits = Object.fromEntries(
  Object.keys(DEFAULT_EDGE_LIMITS).map((name): [string, [number, number]] => [name, [0, 1024 ** 4]]),
)
const PINGS: Record<string, [number, number]> = { pingMs: [100, TIMER], pongMs: [100, TIMER], idleMs: [0, TIMER] }
const END: Record<string, [number, number]> = {
  ...{ deadlineMs: [0, TIMER], drainMs: [0, TIMER], spreadMs: [0, TIMER], reconnectMs: [0, TIMER] },
}
const JWT = { secret: randomBytes(32), algorithms: ['HS256'], issuer: 'a', audience: 'b' } as const
const JWKS = { algorithms: ['RS256'], issuer: 'a', audience: 'b', jwksUrl: 'https://example.org/keys' } as const
const RULE: Record<string, [number, number]> = {
  maxMessageBytes: [1, 64 * MIB],
  lingerMs: [0, 1000],
  maxSubscribers: [0, ENTRIES],
}

const rows: Row[] = [
  ['createHub', 'CONFIG_INVALID', newHub, { maxMessageBytes: [1, 64 * MIB], beforePublishTimeoutMs: [OVER_0, TIMER] }],
  ['createHub: heartbeat', 'CONFIG_INVALID', heartbeat => newHub({ heartbeat }), PINGS],
  ['createHub: limits', 'CONFIG_INVALID', each => newHub({ limits: each }), limits],
  ['setLimits', 'REQUEST_INVALID', each => newHub().setLimits(each), limits],
  ['shutdown', 'REQUEST_INVALID', options => createHub().shutdown({ ...(options as object), ...ended }), END],
  ['send', 'REQUEST_INVALID', options => sent(options), { timeoutMs: [OVER_0, TIMER] }],
  ['isActive', 'REQUEST_INVALID', options => newHub().isActive('a', options), { timeoutMs: [OVER_0, TIMER] }],
  ['broadcast', 'REQUEST_INVALID', options => newHub().broadcast([], 'x', options), { concurrency: [1, MOST] }],
  ['history', 'REQUEST_INVALID', options => newHub().history('a', options), { limit: [0, MOST] }],
  [
    'plugin',
    'CONFIG_INVALID',
    plugin,
    { maxMessageBytes: [1, 64 * MIB], requestsPerSecond: [OVER_0, 1_000_000_000], ...PINGS },
  ],
  ['plugin: shutdown', 'CONFIG_INVALID', shutdown => plugin({ shutdown }), END],
  [
    'plugin: edge',
    'CONFIG_INVALID',
    edge => plugin({ edge }),
    { bodyMs: [OVER_0, TIMER], sourceIdleMs: [OVER_0, TIMER] },
  ],
  ['plugin: edge.limits', 'CONFIG_INVALID', each => plugin({ edge: { limits: each } }), edgeLimits],
  ['topicRules', 'REQUEST_INVALID', a => topicRules({ rules: { a } }), RULE],
  ['topicRules: defaults', 'REQUEST_INVALID', defaults => topicRules({ defaults }), RULE],
  ['openTopics', 'REQUEST_INVALID', openTopics, RULE],
  [
    'topicRules: history',
    'REQUEST_INVALID',
    history => topicRules({ rules: { a: { history } } }),
    { messages: [0, 1_000_000], bytes: [0, 256 * MIB], ageMs: [0, 86_400_000] },
  ],
  [
    'topicRules: publishRate',
    'REQUEST_INVALID',
    publishRate => topicRules({ rules: { a: { publishRate } } }),
    { messages: [OVER_0, 1_000_000_000], bytes: [OVER_0, 1_000_000_000] },
  ],
  ['buffered', 'POLICY_INVALID', buffered, { bytes: [1, 256 * MIB], messages: [1, 1_000_000] }],
  ['dropSlow', 'POLICY_INVALID', dropSlow, { timeoutMs: [1, 3_600_000], bytes: [1, 256 * MIB] }],
  [
    'reliable',
    'POLICY_INVALID',
    reliable,
    { window: [1, 100_000], ackMs: [100, 300_000], tries: [0, 100], bytes: [1, 256 * MIB] },
  ],
  ['priority', 'POLICY_INVALID', priority, { socketBytes: [1, 256 * MIB] }],
  [
    'rateLimit',
    'POLICY_INVALID',
    options => rateLimit({ messages: 1, ...(options as object) }, latest()),
    { messages: [OVER_0, 1_000_000_000], bytes: [OVER_0, 1_000_000_000], burst: [OVER_0, 3600] },
  ],
  [
    'tickets',
    'CONFIG_INVALID',
    options => new Tickets(options),
    { ttlMs: [1, 300_000], max: [1, ENTRIES], maxPerUser: [1, MOST] },
  ],
  ['issue', 'REQUEST_INVALID', options => new Tickets().issue({}, options), { ttlMs: [1, 300_000] }],
  [
    'revocations',
    'CONFIG_INVALID',
    options => new Revocations(options),
    { maxTokenMs: [OVER_0, Number.MAX_VALUE], max: [1, ENTRIES] },
  ],
  [
    'jwt',
    'CONFIG_INVALID',
    each => jwtSessions({ ...JWT, ...(each as object) }),
    { maxTokenMs: [1000, Number.MAX_VALUE] },
  ],
  [
    'jwt: jwks',
    'CONFIG_INVALID',
    jwks => jwtSessions({ ...JWKS, jwks }),
    { coolDownMs: [0, Number.MAX_VALUE], timeoutMs: [OVER_0, TIMER], maxAgeMs: [0, Number.MAX_VALUE] },
  ],
  [
    'callback sessions',
    'CONFIG_INVALID',
    each => kept(callbackSessions({ url: 'http://127.0.0.1/', ...(each as object) })),
    { timeoutMs: [OVER_0, TIMER], maxConcurrent: [1, MOST] },
  ],
  ['callbacks', 'CONFIG_INVALID', options => callbacks(options), { timeoutMs: [OVER_0, TIMER] }],
  [
    'callbacks: retry',
    'CONFIG_INVALID',
    retry => callbacks({ retry }),
    { retries: [0, MOST], baseMs: [0, TIMER], capMs: [0, TIMER] },
  ],
  [
    'callbacks: breaker',
    'CONFIG_INVALID',
    breaker => callbacks({ breaker }),
    { failures: [1, MOST], coolDownMs: [0, TIMER] },
  ],
  [
    'client protocol',
    'CONFIG_INVALID',
    each => clientProtocol({ hub: newHub(), parsePolicy: () => latest(), ...(each as object) }),
    { connectTimeoutMs: [OVER_0, TIMER] },
  ],
  [
    'Heartbeat',
    'CONFIG_INVALID',
    options => new Heartbeat(1000, options),
    { pongMs: [100, TIMER], idleMs: [0, TIMER] },
  ],
  [
    'Heartbeat: everyMs',
    'CONFIG_INVALID',
    ({ everyMs }: { everyMs: number }) => new Heartbeat(everyMs),
    { everyMs: [100, TIMER] },
  ],
  [
    'tower',
    'CONFIG_INVALID',
    options => kept(new HTTPConnectionManager(options)),
    {
      timeoutMs: [1, 3_600_000],
      bytes: [1, 256 * MIB],
      notSentLowatBytes: [0, 64 * MIB],
      burstBytes: [0, 256 * MIB],
    },
  ],
]
/** A shutdown does not wait. */
const ended = { signal: AbortSignal.abort() }

function callbacks(options: object): CallbackClients {
  return kept(new CallbackClients(newHub(), options))
}

/** There is no such client, but the options are looked at first. */
async function sent(options: object): Promise<void> {
  await newHub()
    .send('a', 'x', options)
    .catch(error => {
      if (error.code !== 'CONNECTION_NOT_FOUND') throw error
    })
}

/** Undefined: it was accepted. */
async function refusalOf(call: () => unknown): Promise<HubError | undefined> {
  try {
    await call()
    return undefined
  } catch (error) {
    expect(error).toBeInstanceOf(HubError)
    return error as HubError
  }
}

const cases = rows.flatMap(([call, code, make, numbers]) =>
  Object.entries(numbers).map(([name, range]) => [call, name, code, make, range] as const),
)

describe('a number among the options', () => {
  it.each(cases)('%s: %s', async (_, name, code, make, [lowest, highest]) => {
    const given = make as (options: Options) => unknown
    for (const value of [lowest, highest]) {
      expect(await refusalOf(() => given({ [name]: value })), String(value)).toBeUndefined()
    }
    const beyond = highest < MOST ? [highest + 1] : []
    const below = lowest === OVER_0 ? 0 : lowest - 1
    const nan = Number.NaN
    for (const value of [below, -1, ...beyond, nan, Number.POSITIVE_INFINITY, '5', null, 5n, {}]) {
      const error = await refusalOf(() => given({ [name]: value }))
      expect([error?.code, error?.message], String(value)).toEqual([code, expect.stringContaining(name)])
      expect(error?.message).toMatch(/must be .*, got /)
    }
  })
})
