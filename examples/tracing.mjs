// The spans of OpenTelemetry that a hub makes, printed as a tree: an order is published, and a kitchen that is a URL gets it by POST, at the
// second attempt; then the kitchen is told something alone. Ends by itself.
//
//   npm run build && node examples/tracing.mjs
//
// An application registers an SDK once and for all, before anything else (docs/metrics.md), and none of this is in its code.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { propagation, SpanKind, trace } from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import { createHub } from 'hubline'
import { CallbackClients } from 'hubline/transports'

const exporter = new InMemorySpanExporter()
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }))
propagation.setGlobalPropagator(new W3CTraceContextPropagator())

/** What the kitchen was told of the traces. */
const told = []
const kitchen = createServer((request, response) => {
  request.resume()
  told.push(request.headers.traceparent)
  // It is still asleep when the first order comes.
  response.writeHead(told.length === 1 ? 503 : 204).end()
}).listen(0, '127.0.0.1')
await once(kitchen, 'listening')

// By itself a publication begins no trace; this program has no other that it could be part of.
const hub = createHub({ tracing: { publish: 'always', topicTemplate: topic => topic.replace(/\d+/, '{table}') } })
const callbacks = new CallbackClients(hub, { allow: ['127.0.0.1'] })
const url = `http://127.0.0.1:${kitchen.address().port}/orders`
callbacks.register({ id: 'kitchen', url, topics: [{ name: 'tables/7' }] })

await hub.publish('tables/7', 'two teas')
await hub.send('kitchen', { closing: '22:00' })
await hub.send('nobody', 'hello').catch(() => {})
await hub.shutdown()
await callbacks.close()
kitchen.close()

const spans = exporter
  .getFinishedSpans()
  .sort((a, b) => a.startTime[0] - b.startTime[0] || a.startTime[1] - b.startTime[1])
print(undefined, '')
console.log(told.every(header => spans.some(span => header?.includes(span.spanContext().spanId))))

function print(parent, indent) {
  for (const span of spans.filter(({ parentSpanContext }) => parentSpanContext?.spanId === parent)) {
    const {
      'http.response.status_code': status,
      'error.type': error,
      'http.request.resend_count': resend,
    } = span.attributes
    const facts = { status, error, resend }
    const shown = Object.entries(facts).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]))
    console.log(`${indent}${span.name} (${[SpanKind[span.kind].toLowerCase(), ...shown].join(', ')})`)
    print(span.spanContext().spanId, `${indent}  `)
  }
}
