import { atOnce, attempt } from '../core/attempt.ts'
import type { Span, SpanContext, Tracer } from './open-telemetry.ts'

type Failed = (error: unknown) => void

/** What a span that cannot be made says of itself: the context that is not valid (W3C Trace Context). */
const NO_CONTEXT: SpanContext = { traceId: '0'.repeat(32), spanId: '0'.repeat(16), traceFlags: 0 }
/** In place of a span that the tracer failed to make. */
const NO_SPAN: Span = {
  spanContext: () => NO_CONTEXT,
  setAttribute: () => {},
  setAttributes: () => {},
  addEvent: () => {},
  setStatus: () => {},
  end: () => {},
}

/**
 * A tracer whose errors reach `failed` and nothing else: a message is sent whether it can be traced or not.
 */
export function guardedTracer(tracer: Tracer, failed: Failed): Tracer {
  return {
    startSpan(name, options, context) {
      const span = attempt(() => atOnce(tracer.startSpan(name, options, context), 'startSpan'), failed)
      return span === undefined ? NO_SPAN : guardedSpan(span, failed)
    },
  }
}

/** Other instrumentation may find the span in the context, so it keeps every method that it has. */
function guardedSpan(span: Span, failed: Failed): Span {
  return new Proxy(span, {
    get(target, key) {
      const member: unknown = Reflect.get(target, key)
      if (typeof member !== 'function') return member
      return (...given: unknown[]) =>
        attempt(() => member.apply(target, given), failed) ?? (key === 'spanContext' ? NO_CONTEXT : undefined)
    },
  })
}
