import type { AttemptTrace, Envelope, Outcome } from '../transports/envelope.ts'
import type { Attributes, OpenTelemetryApi, Span } from './open-telemetry.ts'

/** What is known of the requests to a URL before one is made, as the conventions for HTTP clients have it. */
export function requestAttributes(url: URL): Attributes {
  const { protocol, hostname, port, origin, pathname, search } = url
  const defaultPort = protocol === 'https:' ? 443 : 80
  return {
    'http.request.method': 'POST',
    'server.address': hostname.replace(/^\[|\]$/g, ''),
    'server.port': port === '' ? defaultPort : Number(port),
    'url.scheme': protocol.slice(0, -1),
    // The path of a webhook is often all that keeps strangers out.
    'url.full': pathname + search === '/' ? url.href : `${origin}/REDACTED`,
  }
}

/** What is known of one of them. */
export function attemptAttributes({ id, correlationId }: Envelope, resends: number): Attributes {
  return {
    'messaging.message.id': id,
    'messaging.message.conversation_id': correlationId,
    'http.request.resend_count': resends === 0 ? undefined : resends,
  }
}

/** One attempt: hears how it goes, and says so in its span. */
export class RequestSpan implements AttemptTrace {
  readonly headers: Record<string, string> = {}
  readonly #api: OpenTelemetryApi
  readonly #span: Span
  #status: number | undefined
  #error: unknown

  constructor(api: OpenTelemetryApi, span: Span) {
    this.#api = api
    this.#span = span
    // The trace and nothing else: what the application has as baggage is not for whoever registered a URL.
    api.propagation.inject(api.trace.setSpan(api.ROOT_CONTEXT, span), this.headers)
  }

  answered(status: number): void {
    this.#status = status
    this.#span.setAttribute('http.response.status_code', status)
  }

  failed(error: unknown): void {
    this.#error = error
  }

  end(outcome: Outcome): void {
    if (outcome.kind !== 'ok') {
      const byStatus = this.#status !== undefined && this.#status >= 300
      this.#span.setAttribute('error.type', byStatus ? `${this.#status}` : this.#errorType(outcome))
      const code = this.#api.SpanStatusCode.ERROR
      this.#span.setStatus(byStatus ? { code } : { code, message: outcome.why })
    }
    this.#span.end()
  }

  /** One of few: timeout, refused (before anything was sent), or a code of Node's or undici's. */
  #errorType(outcome: Exclude<Outcome, { kind: 'ok' }>): string {
    if (outcome.kind === 'retry' && outcome.timedOut) return 'timeout'
    if (this.#error === undefined) return outcome.kind === 'refused' ? 'refused' : '_OTHER'
    const { code, name } = this.#error as NodeJS.ErrnoException
    return code ?? name
  }
}
