import { createRequire } from 'node:module'

/**
 * The part of @opentelemetry/api that is used: written out here, so that the types of `hubline` do not need the
 * package.
 */
export interface OpenTelemetryApi {
  readonly ROOT_CONTEXT: Context
  readonly SpanKind: { readonly PRODUCER: number; readonly CLIENT: number }
  readonly SpanStatusCode: { readonly ERROR: number }
  readonly context: { active(): Context; with<T>(context: Context, run: () => T): T }
  readonly propagation: { inject(context: Context, carrier: Record<string, string>): void }
  readonly trace: TracerProvider & {
    getSpanContext(context: Context): SpanContext | undefined
    setSpan(context: Context, span: Span): Context
    setSpanContext(context: Context, spanContext: SpanContext): Context
    isSpanContextValid(spanContext: SpanContext): boolean
  }
  createContextKey(description: string): symbol
}

export interface TracerProvider {
  getTracer(name: string, version?: string): Tracer
}

export interface Tracer {
  startSpan(name: string, options?: { kind?: number; attributes?: Attributes }, context?: Context): Span
}

export interface Span {
  spanContext(): SpanContext
  setAttribute(name: string, value: string | number | boolean): unknown
  setAttributes(attributes: Attributes): unknown
  addEvent(name: string, attributes: Attributes): unknown
  setStatus(status: { code: number; message?: string }): unknown
  end(): void
}

export interface SpanContext {
  readonly traceId: string
  readonly spanId: string
  readonly traceFlags: number
}

export interface Context {
  setValue(key: symbol, value: unknown): Context
}

/** Undefined is as if it were not there. */
export type Attributes = Record<string, string | number | boolean | undefined>

/** Where all copies of the API in a process, of this major version, keep what somebody registered. */
const REGISTRY = Symbol.for('opentelemetry.js.api.1')

/**
 * Would spans go anywhere? Asked without loading the API, which takes longer than all else that a hub does when it
 * starts.
 */
export function isProviderRegistered(): boolean {
  const registry = (globalThis as Record<symbol, unknown>)[REGISTRY] as { trace?: unknown } | undefined
  return registry?.trace !== undefined
}

/** Undefined: the package, which is optional, is not installed. */
export function loadOpenTelemetry(
  require: (name: string) => unknown = createRequire(import.meta.url),
): OpenTelemetryApi | undefined {
  try {
    return require('@opentelemetry/api') as OpenTelemetryApi
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error
    return undefined
  }
}
