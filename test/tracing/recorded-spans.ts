import { AsyncLocalStorage } from 'node:async_hooks'
import {
  type Context,
  type ContextManager,
  context,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api'
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from '@opentelemetry/core'
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  type Sampler,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base'

/** The context that is active, along everything asynchronous: what an SDK for Node brings. */
class AsyncContext implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>()

  active(): Context {
    return this.#storage.getStore() ?? ROOT_CONTEXT
  }

  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    active: Context,
    run: F,
    thisArg?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    return this.#storage.run(active, () => run.call(thisArg as never, ...args))
  }

  bind<T>(_: Context, target: T): T {
    return target
  }

  enable(): this {
    return this
  }

  disable(): this {
    return this
  }
}

/** What a span came to, as tests look at it. */
export interface Recorded {
  readonly name: string
  readonly kind: string
  readonly id: string
  readonly parent: string | undefined
  readonly trace: string
  readonly attributes: Readonly<Record<string, unknown>>
  readonly error: string | undefined
  readonly events: readonly { readonly name: string; readonly attributes: unknown }[]
}

/** A provider that keeps its spans. */
export class RecordedSpans {
  readonly #exporter = new InMemorySpanExporter()
  readonly provider: BasicTracerProvider

  constructor(sampler?: Sampler) {
    const spanProcessors = [new SimpleSpanProcessor(this.#exporter)]
    this.provider = new BasicTracerProvider(sampler ? { spanProcessors, sampler } : { spanProcessors })
  }

  /** Those that have ended, in the order of their end. */
  get all(): Recorded[] {
    return this.#exporter.getFinishedSpans().map(recorded)
  }

  get scopes() {
    return this.#exporter.getFinishedSpans().map(({ instrumentationScope }) => instrumentationScope)
  }

  named(name: string): Recorded[] {
    return this.all.filter(span => span.name === name)
  }

  /** Runs it as part of a trace. Answers the span around it, beside what it came to. */
  async inTrace<T>(run: () => T | Promise<T>): Promise<{ id: string; result: T }> {
    const span = this.provider.getTracer('test').startSpan('request')
    try {
      const result = await context.with(trace.setSpan(context.active(), span), run)
      return { id: span.spanContext().spanId, result }
    } finally {
      span.end()
    }
  }
}

/** What an SDK registers beside its provider; until the answer is called. */
export function registerContext(): () => void {
  context.setGlobalContextManager(new AsyncContext())
  const propagators = [new W3CTraceContextPropagator(), new W3CBaggagePropagator()]
  propagation.setGlobalPropagator(new CompositePropagator({ propagators }))
  return () => {
    context.disable()
    propagation.disable()
  }
}

function recorded(span: ReadableSpan): Recorded {
  const { code, message } = span.status
  return {
    name: span.name,
    kind: SpanKind[span.kind]!,
    id: span.spanContext().spanId,
    parent: span.parentSpanContext?.spanId,
    trace: span.spanContext().traceId,
    attributes: span.attributes,
    error: code === SpanStatusCode.ERROR ? (message ?? '') : undefined,
    events: span.events.map(({ name, attributes }) => ({ name, attributes })),
  }
}
