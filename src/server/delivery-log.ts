import type { FastifyBaseLogger } from 'fastify'
import type { Events, HubEvents } from '../core/events.ts'
import type { Scheduler } from '../core/scheduler.ts'
import { LineWindow, WINDOW_MS } from './line-window.ts'

/** Of one kind in a window. A breaker makes fewer of a receiver that is down. */
const LINES = { perSubject: 5, total: 200 }

const REQUEST_PROTOCOLS: ReadonlySet<string> = new Set(['callback', 'api-gateway'])

/**
 * Lines about what was not delivered at once to clients that are URLs, at most so many in a time: a receiver that
 * refuses every message would write one for each. What is left out is counted and told when the time is over. Owns one
 * timer, while there is something to count; answers with what ends it.
 */
export function logDeliveries(events: Events, scheduler: Pick<Scheduler, 'after'>, log: FastifyBaseLogger): () => void {
  const window = new LineWindow<Kind>(scheduler, LINES, leftOut =>
    log.warn({ ...leftOut, ms: WINDOW_MS }, 'lines about deliveries left out'),
  )
  events.on('retry', retry => {
    if (window.admits('retry', retry.id))
      log.info({ ...told(retry), waitMs: Math.round(retry.waitMs) }, 'delivery failed, tried again')
  })
  events.on('undelivered', failure => {
    if (window.admits('undelivered', failure.id)) log.warn(told(failure), 'delivery given up')
  })
  events.on('circuit', ({ id: client, circuit, why }) => {
    if (window.admits('circuit', client))
      log[circuit === 'open' ? 'warn' : 'info']({ client, circuit, why }, `circuit ${circuit}`)
  })
  // Nobody else would say so at this level, and nothing will reach it any more.
  events.on('unregister', ({ id: client, protocol, reason }) => {
    if (!REQUEST_PROTOCOLS.has(protocol) || (reason !== 'slow' && reason !== 'peer')) return
    if (window.admits('removed', client)) log.warn({ client, protocol, reason }, 'client removed')
  })
  return () => window.end()
}

function told({ id: client, messageId, topic, correlationId, attempts, why }: HubEvents['undelivered'][0]) {
  return { client, messageId, topic, correlationId, attempts, why }
}

type Kind = 'retry' | 'undelivered' | 'circuit' | 'removed'
