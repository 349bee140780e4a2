import type { Outcome } from './envelope.ts'

/** The longest that a receiver can have us wait by its own word, in ms. */
const MAX_RETRY_AFTER_MS = 60_000
/** A date of HTTP as everybody sends it. Date.parse alone also takes `1`, for a year. */
const HTTP_DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/

/**
 * What its codes mean, for people who do not know undici. Others are told as they are: ECONNREFUSED, CERT_HAS_EXPIRED.
 */
const PHRASES: Readonly<Record<string, string>> = {
  HTTPParserError: 'it is not HTTP',
  UND_ERR_SOCKET: 'the receiver closed the connection',
  UND_ERR_HEADERS_OVERFLOW: 'the head of the answer is too large',
  UND_ERR_CLOSED: 'the hub is closing',
  UND_ERR_DESTROYED: 'the hub is closing',
}

/**
 * What a status says, once the whole answer is there. `retryAfter` is the header as it came, `now` the wall clock in
 * ms. A redirect is not followed: it would lead past the check of the URL, and would turn a POST into a GET.
 */
export function outcomeOfStatus(status: number, retryAfter: string | undefined, now: number): Outcome {
  if (status >= 200 && status < 300) return { kind: 'ok' }
  const why = `status ${status}`
  if (status === 410) return { kind: 'gone', why }
  if (status === 429 || status >= 500) return { kind: 'retry', why, afterMs: parseRetryAfter(retryAfter, now) }
  return { kind: 'refused', why: status < 400 ? `${why}, a redirect, which is not followed` : why }
}

/** What became of a request without an answer. */
export function outcomeOfError(error: unknown): Outcome {
  // Neither gets better by itself: an address that may not be connected to, and a request that cannot be written.
  if (codeOf(error) === 'EGRESS_REFUSED') return { kind: 'refused', why: (error as Error).message }
  if (codeOf(error) === 'UND_ERR_INVALID_ARG') return { kind: 'refused', why: (error as Error).message }
  return retry(phraseOf(error), error)
}

/**
 * What became of a request whose answer has a good status, but a body that did not come to its end.
 *
 * Too large: the receiver has spoken, and goes on speaking. It took the message; sending it again would bring the same
 * body again. Broken off, or not HTTP any more: it may have died in the middle of its work, so it gets the message
 * again, under the same id.
 */
export function outcomeOfBody(status: number, error: unknown): Outcome {
  if (codeOf(error) === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') return { kind: 'ok' }
  return retry(`status ${status}, but the answer broke off: ${phraseOf(error)}`, error)
}

function retry(why: string, error: unknown): Outcome {
  return (error as Error).name === 'TimeoutError' ? { kind: 'retry', why, timedOut: true } : { kind: 'retry', why }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}

/** Never the error's own message, which may have a piece of the body. */
function phraseOf(error: unknown): string {
  const { name } = error as Error
  const code = codeOf(error) ?? name
  return PHRASES[code] ?? PHRASES[name] ?? code
}

/** In ms from `now`; undefined where the header is absent or neither seconds nor a date. */
function parseRetryAfter(text: string | undefined, now: number): number | undefined {
  if (text === undefined) return undefined
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : HTTP_DATE.test(text) ? Date.parse(text) - now : Number.NaN
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), MAX_RETRY_AFTER_MS)
}
