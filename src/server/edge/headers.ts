import type { FastifyCorsOptions } from '@fastify/cors'
import type { FastifyHelmetOptions } from '@fastify/helmet'
import type { onRequestHookHandler } from 'fastify'

/**
 * Of every stream: one object, as most are alike. Other pages may not even show it. And whatever a publisher says that
 * it is, a browser that is led there runs none of it: it would be our own origin.
 */
export const OWN_PAGES = {
  'cross-origin-resource-policy': 'same-origin',
  'content-security-policy': "default-src 'none'; img-src 'self'; media-src 'self'; frame-ancestors 'none'; sandbox",
} as const

/** What scripts of other origins may read of an answer, beside its type and length. */
export const EXPOSED: readonly string[] = [
  ...['hubline-client', 'hubline-error', 'hubline-ping', 'hubline-position', 'hubline-recovered'],
  ...['accept-encoding', 'allow', 'idempotent-replayed', 'retry-after', 'www-authenticate', 'x-amzn-errortype'],
  'x-correlation-id',
]

/**
 * What scripts of other origins may send, beside what every page may. Libraries for EventSource send cache-control by
 * themselves.
 */
export const ALLOWED: readonly string[] = [
  ...['authorization', 'cache-control', 'content-encoding', 'content-type', 'idempotency-key', 'last-event-id'],
  ...['pragma', 'x-api-key', 'x-correlation-id', 'x-requested-with'],
]

/** The head of a stream for a page of a listed origin, which may bring its cookies. */
export function sharedWith(origin: string): Readonly<Record<string, string>> {
  return {
    ...OWN_PAGES,
    vary: 'origin',
    'access-control-allow-origin': origin,
    'access-control-allow-credentials': 'true',
    'access-control-expose-headers': EXPOSED.join(', '),
  }
}

/** For @fastify/cors: each origin as it is, so that it can be compared and never has to be guessed. */
export function corsOptions(origins: readonly string[]): FastifyCorsOptions {
  return {
    origin: [...origins],
    credentials: true,
    exposedHeaders: [...EXPOSED],
    // It would answer every OPTIONS request itself, also for paths that do not exist.
    preflight: false,
  }
}

const PREFLIGHT = {
  'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE',
  'access-control-allow-headers': ALLOWED.join(', '),
  'access-control-max-age': '600',
} as const

/** A hook: what a preflight of a listed origin is told, beside the answer that OPTIONS has on its path. */
export const answerPreflight: onRequestHookHandler = ({ raw }, reply, done) => {
  if (raw.method === 'OPTIONS' && raw.headers['access-control-request-method'] !== undefined) reply.headers(PREFLIGHT)
  done()
}

/** For @fastify/helmet: of pages and of what operators read. Whether there is TLS is for whoever ends it to say. */
export const SECURITY_HEADERS: FastifyHelmetOptions = {
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      defaultSrc: ["'self'"],
      baseUri: ["'none'"],
      objectSrc: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
  },
  referrerPolicy: { policy: 'no-referrer' },
  frameguard: { action: 'deny' },
  crossOriginResourcePolicy: { policy: 'same-origin' },
  crossOriginOpenerPolicy: { policy: 'same-origin' },
  strictTransportSecurity: false,
}
