import { z } from 'zod'
import { HubError } from '../core/errors.ts'
import { policySchema } from '../policies/catalog.ts'
import { Egress } from '../transports/egress.ts'
import { parseSecret } from '../transports/webhook-signature.ts'
import { admin } from './config/admin.ts'
import { hosts, origins, timeouts, trustedProxies } from './config/edge.ts'
import { limits } from './config/limits.ts'
import { SESSION_SECRETS, sessionsConfig } from './config/sessions.ts'
import { tenants } from './config/tenants.ts'
import { history, lingerMs, maxMessageBytes, topics, unknownTopics } from './config/topics.ts'

const MIB = 1024 * 1024
/** A string that this takes without an error: what the error says behind its field is what is told. */
function parsedBy(parse: (text: string) => unknown) {
  return z.string().superRefine((text, context) => {
    try {
      parse(text)
    } catch (error) {
      if (!(error instanceof HubError)) throw error
      context.addIssue({ code: 'custom', message: error.message.replace(/^\w+: /, '') })
    }
  })
}

/** Clients that are URLs. */
const callbacks = z.strictObject({
  enabled: z.boolean().default(true),
  /** Addresses and networks (CIDR) beyond the public ones that may be posted to, by callbacks and by apiGateway. */
  allow: z.array(parsedBy(entry => new Egress([entry]))).default([]),
  /** All of one attempt, in ms. */
  timeoutMs: z.int().min(1).max(60_000).default(5000),
  /** Signs the requests to clients that bring no secret of their own. */
  secret: parsedBy(parseSecret).optional(),
})

const apiGateway = z.strictObject({
  /** AWS's, which clients may be connections of. */
  endpoints: z.array(z.string()).default([]),
  region: z.string().min(1).optional(),
  /** What our own /@connections lets through. */
  requestsPerSecond: z.int().min(1).max(1_000_000).default(10_000),
})

const store = z.strictObject({
  /** May hold a password. */
  redisUrl: z
    .string()
    .regex(/^rediss?:\/\//, 'it begins with redis:// or rediss://')
    .optional(),
  /** This hub's name among those that share the store. */
  node: z
    .string()
    .regex(/^[\x21-\x7e]{1,128}$/, 'it is 1 to 128 printable ASCII characters without spaces')
    .default('hubline'),
})

const shutdown = z.strictObject({
  /** Over how long clients are closed, one after the other, in ms. */
  spreadMs: z.int().min(0).max(8000).default(1000),
  /** Each client is told to come back within so long, in ms. */
  reconnectMs: z.int().min(0).max(600_000).default(5000),
})

/** Every setting, with its range and its default. The environment's names are derived from it. */
export const configSchema = z.strictObject({
  host: z.string().min(1).default('127.0.0.1'),
  /** 0: any free port. */
  port: z.int().min(0).max(65_535).default(8000),
  admin: admin.prefault({}),
  /** Allows to listen on other than loopback addresses, where everybody may then do everything. */
  insecure: z.boolean().default(false),
  hosts,
  origins,
  trustedProxies,
  logLevel: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
  /** How long a shutdown may take before what is left is cut, in ms: the process must be gone within 10 s. */
  drainMs: z.int().min(0).max(8000).default(8000),
  shutdown: shutdown.prefault({}),
  /** Between two pings of a client, in ms. */
  pingMs: z.int().min(100).max(3_600_000).default(25_000),
  /** How long a client may take to answer one, in ms; never longer than until the next. */
  pongMs: z.int().min(100).max(3_600_000).default(10_000),
  /** How long a WebSocket that takes part in nothing may stay, in ms; 0: for ever. */
  idleMs: z.int().min(0).max(86_400_000).default(0),
  policy: policySchema.default('buffered'),
  history: history.prefault({}),
  maxMessageBytes: maxMessageBytes.default(MIB),
  lingerMs: lingerMs.default(0),
  limits: limits.prefault({}),
  timeouts: timeouts.prefault({}),
  /** What the kernel may hide of any connection, in bytes; 0: as the system or the policy has it. Linux only. */
  tcp: z
    .strictObject({
      notSentLowatBytes: z
        .int()
        .min(0)
        .max(64 * MIB)
        .default(0),
      sendBufferBytes: z
        .int()
        .min(0)
        .max(64 * MIB)
        .default(0),
    })
    .prefault({}),
  callbacks: callbacks.prefault({}),
  apiGateway: apiGateway.prefault({}),
  store: store.prefault({}),
  sessions: sessionsConfig.prefault({}),
  topics,
  unknownTopics,
  tenants,
})

const SECRETS = ['callbacks.secret', 'store.redisUrl', ...SESSION_SECRETS]

/** No error may repeat what is given there: it is a secret, or has one in it. */
export function holdsSecret(whole: string): boolean {
  const path = whole.replace(/^tenants\.[^.]+\./, '')
  return SECRETS.some(secret => secret === path || secret.startsWith(`${path}.`) || path.startsWith(`${secret}.`))
}
