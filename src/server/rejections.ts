import type { FastifyBaseLogger, FastifyRequest } from 'fastify'
import { type ErrorCode, HTTP_STATUS, type HubError } from '../core/errors.ts'
import type { Scheduler } from '../core/scheduler.ts'
import { LineWindow, WINDOW_MS } from './line-window.ts'

/** Lines of one code and reason in a window. */
const LINES = { perSubject: 3, total: 30 }

export interface Rejection {
  readonly code: string
  readonly reason: string
  readonly count: number
}

/** Codes that are counted whatever their status is. */
const OTHERS: ReadonlySet<string> = new Set<ErrorCode>(['LIMIT_EXCEEDED', 'HEADERS_TOO_MANY'])

/** Where a rejection happened, for the log. */
type About = Readonly<Record<string, string | undefined>>

/**
 * Counts what the server rejects of clients and publishers (401 to 429, 431 and LIMIT_EXCEEDED), by code and reason, and
 * logs it: at most 3 lines per address and 30 in all in 10 s for each code and reason. No line has a query, a token or
 * a payload in it.
 */
export class Rejections {
  readonly #counts = new Map<string, Rejection>()
  readonly #log: FastifyBaseLogger
  readonly #window: LineWindow<string>
  readonly #frames: LineWindow<'frames'>

  constructor(scheduler: Pick<Scheduler, 'after'>, log: FastifyBaseLogger) {
    this.#log = log
    this.#window = new LineWindow(scheduler, LINES, leftOut =>
      log.warn({ leftOut, ms: WINDOW_MS }, 'lines about rejections left out'),
    )
    this.#frames = new LineWindow(scheduler, LINES, ({ frames }) =>
      log.warn({ leftOut: frames, ms: WINDOW_MS }, 'lines about malformed frames left out'),
    )
  }

  get counts(): Iterable<Rejection> {
    return this.#counts.values()
  }

  /** A request that was answered with the error. */
  request(error: HubError, request: FastifyRequest): void {
    const { method, url, headers, ip } = request
    const { host, origin } = headers
    this.#note(error, ip, { method, path: url.split('?')[0], host, origin }, request.log)
  }

  /** A connection on which no request could be read. */
  connection(error: HubError, address = ''): void {
    this.#note(error, address, { address }, this.#log)
  }

  /** A command or a frame of a client that is connected. */
  client(error: HubError, client: string, log = this.#log): void {
    this.#note(error, client, { client }, log)
  }

  /** A WebSocket that did not keep to RFC 6455, or was cut. */
  frame(error: Error & { readonly code?: string }, log: FastifyBaseLogger): void {
    if (this.#frames.admits('frames', '')) log.warn({ code: error.code, why: error.message }, 'websocket failed')
  }

  end(): void {
    this.#window.end()
    this.#frames.end()
  }

  #note({ code, reason, message }: HubError, subject: string, about: About, log: FastifyBaseLogger): void {
    const status = HTTP_STATUS[code]
    if ((status < 401 || status > 429) && !OTHERS.has(code)) return
    const kind = reason === undefined ? code : `${code} ${reason}`
    this.#counts.set(kind, { code, reason: reason ?? '', count: (this.#counts.get(kind)?.count ?? 0) + 1 })
    if (!this.#window.admits(kind, subject)) return
    log.warn({ code, reason, ...about, why: message }, 'rejected')
  }
}
