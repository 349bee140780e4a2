import type { FastifyBaseLogger } from 'fastify'
import type { Events, HubEvents } from '../core/events.ts'
import type { Scheduler } from '../core/scheduler.ts'

/** How long lines are counted together, in ms. */
const WINDOW_MS = 10_000
/** Of one kind, about one client, in a window. A breaker makes fewer of a receiver that is down. */
const LINES_PER_CLIENT = 5
/** Of one kind, about all clients, in a window. */
const LINES = 200

const REQUEST_PROTOCOLS: ReadonlySet<string> = new Set(['callback', 'api-gateway'])

/**
 * Lines about what was not delivered at once to clients that are URLs, at most so many in a time: a receiver that refuses every message
 * would write one for each. What is left out is counted and told when the time is over. Owns one timer, while there is something to count;
 * answers with what ends it.
 */
export function logDeliveries(events: Events, scheduler: Pick<Scheduler, 'after'>, log: FastifyBaseLogger): () => void {
  const window = new LineWindow(scheduler, leftOut =>
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

/** Counts lines from the first one on, for a time. Keeps nothing of a client whose lines it has left out all. */
class LineWindow {
  readonly #scheduler: Pick<Scheduler, 'after'>
  readonly #tell: (leftOut: Partial<Record<Kind, number>>) => void
  readonly #written = new Map<Kind, { total: number; readonly byClient: Map<string, number> }>()
  #leftOut: Partial<Record<Kind, number>> = {}
  #timer: Disposable | undefined

  constructor(scheduler: Pick<Scheduler, 'after'>, tell: (leftOut: Partial<Record<Kind, number>>) => void) {
    this.#scheduler = scheduler
    this.#tell = tell
  }

  admits(kind: Kind, client: string): boolean {
    this.#timer ??= this.#scheduler.after(WINDOW_MS, () => this.end())
    const lines = this.#written.get(kind) ?? { total: 0, byClient: new Map<string, number>() }
    const own = lines.byClient.get(client) ?? 0
    if (own >= LINES_PER_CLIENT || lines.total >= LINES) {
      this.#leftOut[kind] = (this.#leftOut[kind] ?? 0) + 1
      return false
    }
    lines.total++
    lines.byClient.set(client, own + 1)
    this.#written.set(kind, lines)
    return true
  }

  end(): void {
    if (this.#timer === undefined) return
    this.#timer[Symbol.dispose]()
    this.#timer = undefined
    this.#written.clear()
    const leftOut = this.#leftOut
    this.#leftOut = {}
    if (Object.keys(leftOut).length > 0) this.#tell(leftOut)
  }
}
