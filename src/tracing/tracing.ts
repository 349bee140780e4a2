import { readFileSync } from 'node:fs'
import { attempt } from '../core/attempt.ts'
import type { RouteResult } from '../core/broker.ts'
import type { RouteOptions } from '../core/contract.ts'
import { HubError } from '../core/errors.ts'
import type { RequestFailure } from '../core/events.ts'
import { parseTopicName } from '../core/ids.ts'
import { callable, checkValue, flag, having, oneOf, type Rules, readOptions } from '../core/options.ts'
import type { DirectMessage } from '../core/parcel.ts'
import { type Attempt, type Envelope, messageId } from '../transports/envelope.ts'
import { guardedTracer } from './guarded-tracer.ts'
import {
  type Attributes,
  type Context,
  isProviderRegistered,
  loadOpenTelemetry,
  type OpenTelemetryApi,
  type Span,
  type SpanContext,
  type Tracer,
  type TracerProvider,
} from './open-telemetry.ts'
import { attemptAttributes, RequestSpan, requestAttributes } from './request-span.ts'

export interface TracingOptions {
  /**
   * Which publications have spans. Default in-trace: those that are part of a trace already, such as that of an HTTP
   * request.
   */
  readonly publish?: 'in-trace' | 'always' | 'never' | undefined
  /**
   * What topics like this one are called together, such as `rooms/{room}`: it comes into the names of spans, of which
   * there must be few. Default: no topic has such a name.
   */
  readonly topicTemplate?: ((topic: string) => string | undefined) | undefined
  /** Default: the one that is registered with OpenTelemetry. */
  readonly tracerProvider?: TracerProvider | undefined
}

/** Something that is sent, until it has ended. */
export interface SendSpan {
  /** @param clients of a broadcast: how many it goes to */
  carries(message: DirectMessage, clients?: number): void
  end(error?: unknown): void
}

const OPTIONS: Rules<TracingOptions> = {
  publish: oneOf('in-trace', 'always', 'never'),
  topicTemplate: callable,
  tracerProvider: having('a tracer provider', 'getTracer'),
}

/** As far back as a request for a topic's message finds the trace that it was published in. */
const MAX_PUBLICATIONS = 4096
const SYSTEM = { 'messaging.system': 'hubline', 'messaging.operation.type': 'send' }
/** What the SDK's `suppressTracing` sets. */
const SUPPRESS = 'OpenTelemetry SDK Context Key SUPPRESS_TRACING'

/**
 * Spans of OpenTelemetry for what is sent and published, and for each request that this comes to: docs/metrics.md has
 * their names and attributes. Owns no timer; what it remembers of publications is bounded.
 */
export class Tracing {
  readonly #api: OpenTelemetryApi
  readonly #tracer: Tracer
  readonly #options: TracingOptions
  readonly #failed: (error: unknown) => void
  /** Sends that are under way, by client and message; broadcasts by message. */
  readonly #sends = new Map<string, Span>()
  readonly #publications = new Map<string, SpanContext>()
  readonly #attempts = new WeakMap<Envelope, number>()
  /**
   * Our span of a request is the only one: an instrumentation of the HTTP client would make another, with headers of
   * its own.
   */
  readonly #suppressed: Context

  /** @param failed hears what a tracer, a span or `topicTemplate` throws */
  constructor(api: OpenTelemetryApi, options: TracingOptions = {}, failed: (error: unknown) => void = () => {}) {
    this.#api = api
    this.#options = options
    this.#failed = failed
    this.#tracer = guardedTracer((options.tracerProvider ?? api.trace).getTracer('hubline', version()), failed)
    this.#suppressed = api.ROOT_CONTEXT.setValue(api.createContextKey(SUPPRESS), true)
  }

  /** @param protocol undefined where there is no such client */
  startSend(clientId: string, protocol: string | undefined): SendSpan {
    const span = this.#start(protocol === undefined ? 'send' : `send ${protocol}`, {
      'messaging.operation.name': 'send',
      'messaging.destination.name': clientId,
      'messaging.destination.temporary': true,
      'messaging.hubline.client.protocol': protocol,
    })
    return this.#sending(span, clientId)
  }

  startBroadcast(): SendSpan {
    return this.#sending(this.#start('broadcast', { 'messaging.operation.name': 'broadcast' }), '')
  }

  /** Around the hub's own publish, which does the work. */
  publish(
    topicName: string,
    data: Uint8Array,
    options: RouteOptions,
    publish: () => RouteResult | Promise<RouteResult>,
  ): RouteResult | Promise<RouteResult> {
    const active = this.#api.context.active()
    if (!this.#isWanted(active)) return publish()
    const topic = nameOf(topicName)
    const template = topic && attempt(() => this.#options.topicTemplate?.(topic), this.#failed)
    const span = this.#start(template === undefined ? 'publish' : `publish ${template}`, {
      'messaging.operation.name': 'publish',
      'messaging.destination.name': topic,
      'messaging.destination.template': template,
      'messaging.message.body.size': data.byteLength,
      'messaging.message.conversation_id': options.correlationId,
    })
    const published = (routed: RouteResult): void => {
      if (routed.position.epoch !== '') this.#remember(routed, span)
      span.end()
    }
    try {
      const result = this.#api.context.with(this.#api.trace.setSpan(active, span), publish)
      if (result instanceof Promise) result.then(published, error => this.#end(span, error))
      else published(result)
      return result
    } catch (error) {
      this.#end(span, error)
      throw error
    }
  }

  /** The same attempt with a span around each time that it is made: see RequestHub. */
  traced(clientId: string, url: URL, attempt: Attempt): Attempt {
    const ofUrl = requestAttributes(url)
    return async (envelope, signal) => {
      const resends = this.#attempts.get(envelope) ?? 0
      this.#attempts.set(envelope, resends + 1)
      const kind = this.#api.SpanKind.CLIENT
      const attributes = { ...ofUrl, ...attemptAttributes(envelope, resends) }
      const span = this.#tracer.startSpan('POST', { kind, attributes }, this.#parentOf(envelope, clientId))
      const request = new RequestSpan(this.#api, span)
      const outcome = await this.#api.context.with(this.#suppressed, () => attempt(envelope, signal, request))
      request.end(outcome)
      return outcome
    }
  }

  /** A request is made again; of a topic's message nobody waits for, only the next attempt tells. */
  retried({ id, messageId, attempts, why, waitMs }: RequestFailure & { waitMs: number }): void {
    this.#sendOf(id, messageId)?.addEvent('retry', {
      'messaging.hubline.client.id': id,
      'messaging.hubline.retry.attempts': attempts,
      'messaging.hubline.retry.reason': why,
      'messaging.hubline.retry.wait_ms': waitMs,
    })
  }

  #start(name: string, attributes: Attributes): Span {
    const kind = this.#api.SpanKind.PRODUCER
    return this.#tracer.startSpan(name, { kind, attributes: { ...SYSTEM, ...attributes } }, this.#api.context.active())
  }

  #sending(span: Span, clientId: string): SendSpan {
    let key: string | undefined
    return {
      carries: ({ id, payload, correlationId }, clients) => {
        key = keyOf(clientId, id)
        this.#sends.set(key, span)
        span.setAttributes({
          'messaging.message.id': id,
          'messaging.message.body.size': payload.byteLength,
          'messaging.message.conversation_id': correlationId,
          'messaging.hubline.client.count': clients,
        })
      },
      end: error => {
        // The same message may have been sent to the same client once more.
        if (key !== undefined && this.#sends.get(key) === span) this.#sends.delete(key)
        this.#end(span, error)
      },
    }
  }

  #end(span: Span, error: unknown): void {
    if (error !== undefined) {
      const { name, message } = error as Error
      span.setAttribute('error.type', error instanceof HubError ? error.code : name)
      span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message })
    }
    span.end()
  }

  #sendOf(clientId: string, messageId: string): Span | undefined {
    return this.#sends.get(keyOf(clientId, messageId)) ?? this.#sends.get(keyOf('', messageId))
  }

  #parentOf({ kind, id }: Envelope, clientId: string): Context {
    const { trace, ROOT_CONTEXT } = this.#api
    const context = kind === 'send' ? this.#sendOf(clientId, id)?.spanContext() : this.#publications.get(id)
    return context === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, context)
  }

  #isWanted(active: Context): boolean {
    const { publish = 'in-trace' } = this.#options
    if (publish !== 'in-trace') return publish === 'always'
    const { trace } = this.#api
    const context = trace.getSpanContext(active)
    return context !== undefined && trace.isSpanContextValid(context)
  }

  /** The core carries no trace: a message's id, which a request has, is where the two meet again. */
  #remember({ position: { epoch, seq } }: RouteResult, span: Span): void {
    const id = messageId(epoch, seq)
    span.setAttribute('messaging.message.id', id)
    this.#publications.set(id, span.spanContext())
    if (this.#publications.size <= MAX_PUBLICATIONS) return
    const [oldest] = this.#publications.keys()
    this.#publications.delete(oldest!)
  }
}

/**
 * Default: traces where a provider of tracers is registered by now. Throws CONFIG_INVALID where it is asked for and the
 * package is not installed.
 */
export function startTracing(
  options: boolean | TracingOptions | undefined,
  load = loadOpenTelemetry,
  failed?: (error: unknown) => void,
): Tracing | undefined {
  if (options === false || (options === undefined && !isProviderRegistered())) return undefined
  const read = typeof options === 'object' ? readOptions(options, OPTIONS, 'tracing.', 'CONFIG_INVALID') : {}
  if (options !== undefined && typeof options !== 'object') checkValue(options, flag, 'tracing', 'CONFIG_INVALID')
  const api = load()
  if (api !== undefined) return new Tracing(api, read, failed)
  if (options === undefined) return undefined
  throw new HubError('CONFIG_INVALID', 'tracing: it needs a package: npm install @opentelemetry/api')
}

/** Neither has a space. */
function keyOf(clientId: string, messageId: string): string {
  return `${clientId} ${messageId}`
}

/** What is no topic's name is not for a trace either: it may be anything, of any length. */
function nameOf(topicName: string): string | undefined {
  try {
    return parseTopicName(topicName)
  } catch {
    return undefined
  }
}

function version(): string {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version
}
