import { z } from 'zod'
import { KEY_SCOPES } from '../../sessions/api-keys.ts'
import { isSafeKeySetUrl } from '../../sessions/jwks.ts'
import { JWT_ALGORITHMS } from '../../sessions/jwt-keys.ts'
import { MAX_TICKET_MS } from '../../sessions/tickets.ts'

const DAY_MS = 24 * 60 * 60 * 1000
const patterns = z.array(z.string()).default([])
const url = z.string().regex(/^https?:\/\//, 'it begins with https:// or http://')

const jwt = z.strictObject({
  /** Of HS algorithms: at least 32 bytes. */
  secret: z.string().optional(),
  /** In PEM; "\n" may stand for its line ends. */
  publicKey: z.string().optional(),
  jwksUrl: z
    .string()
    .refine(
      text => URL.canParse(text) && isSafeKeySetUrl(new URL(text)),
      'it must be an https:// URL (http:// is for loopback only)',
    )
    .optional(),
  algorithms: z.array(z.enum(JWT_ALGORITHMS)).default([]),
  issuer: z.array(z.string().min(1)).default([]),
  audience: z.array(z.string().min(1)).default([]),
  type: z.string().min(1).optional(),
  maxTokenMs: z
    .int()
    .min(1000)
    .max(366 * DAY_MS)
    .default(DAY_MS),
  defaultGrants: z.strictObject({ subscribe: patterns, publish: patterns }).prefault({}),
})

const callback = z.strictObject({
  url: url.optional(),
  connectUrl: url.optional(),
  subscribeUrl: url.optional(),
  publishUrl: url.optional(),
  headers: z.array(z.string()).default(['authorization', 'cookie', 'origin']),
  timeoutMs: z.int().min(10).max(10_000).default(1000),
  maxConcurrent: z.int().min(1).max(4096).default(64),
})

const apiKey = z.strictObject({
  sha256: z.string().regex(/^[0-9a-fA-F]{64}$/, 'it is 64 hexadecimal digits, as `hubline token key` prints them'),
  scopes: z.array(z.enum(KEY_SCOPES)).min(1),
})

/** Who may do what. */
export const sessionsConfig = z.strictObject({
  /** open: everybody everything. jwt: tokens. callback: the application is asked. */
  mode: z.enum(['open', 'jwt', 'callback']).default('open'),
  jwt: jwt.prefault({}),
  callback: callback.prefault({}),
  /** The name of a cookie that has the token where no header has. */
  cookie: z
    .string()
    .regex(/^[!#$%&'*+.^`|~\w-]+$/, 'it is the name of a cookie')
    .optional(),
  /** What those may do who bring nothing. */
  anonymous: z
    .strictObject({ enabled: z.boolean().default(false), subscribe: patterns, publish: patterns })
    .prefault({}),
  apiKeys: z
    .record(z.string().regex(/^[\w.-]{1,64}$/, 'a name has letters, digits, ".", "_" and "-"'), apiKey)
    .default({}),
  tickets: z
    .strictObject({
      ttlMs: z.int().min(1000).max(MAX_TICKET_MS).default(30_000),
      max: z.int().min(1).max(10_000_000).default(100_000),
      maxPerUser: z.int().min(1).max(100_000).default(256),
    })
    .prefault({}),
  revocations: z.strictObject({ max: z.int().min(1).max(10_000_000).default(100_000) }).prefault({}),
})

/** URLs may have a password in them; under apiKeys somebody may put a key where its hash belongs. */
export const SESSION_SECRETS = [
  ...['secret', 'jwksUrl'].map(key => `sessions.jwt.${key}`),
  ...['url', 'connectUrl', 'subscribeUrl', 'publishUrl'].map(key => `sessions.callback.${key}`),
  'sessions.apiKeys',
]
