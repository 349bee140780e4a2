import type { FastifyBaseLogger } from 'fastify'
import type { Logger } from 'pino'

type Level = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace'

/**
 * The log of one request. A pino child costs more to make and to keep than the rest of a small request, and most
 * requests say nothing, or two lines in hours: so a child is made for a line and not kept.
 */
class RequestLog implements FastifyBaseLogger {
  readonly #logger: Logger
  readonly #bindings: Record<string, unknown>

  constructor(logger: Logger, bindings: Record<string, unknown>) {
    this.#logger = logger
    this.#bindings = bindings
  }

  get level(): string {
    return this.#logger.level
  }

  child(bindings: Record<string, unknown>, options?: Parameters<Logger['child']>[1]): FastifyBaseLogger {
    return this.#logger.child({ ...this.#bindings, ...bindings }, options)
  }

  #write(level: Level, args: unknown[]): void {
    if (!this.#logger.isLevelEnabled(level)) return
    const child = this.#logger.child(this.#bindings)
    ;(child[level] as (...args: unknown[]) => void)(...args)
  }

  silent(): void {}
  fatal(...args: unknown[]): void {
    this.#write('fatal', args)
  }
  error(...args: unknown[]): void {
    this.#write('error', args)
  }
  warn(...args: unknown[]): void {
    this.#write('warn', args)
  }
  info(...args: unknown[]): void {
    this.#write('info', args)
  }
  debug(...args: unknown[]): void {
    this.#write('debug', args)
  }
  trace(...args: unknown[]): void {
    this.#write('trace', args)
  }
}

/** Fastify's `childLoggerFactory`, for an app whose logger is pino. */
export function requestLog(logger: FastifyBaseLogger, bindings: object, options: object): FastifyBaseLogger {
  // A route with a level or serializers of its own gets what pino makes of them.
  if (Object.keys(options).length > 0) return logger.child(bindings, options)
  return new RequestLog(logger as Logger, bindings as Record<string, unknown>)
}
