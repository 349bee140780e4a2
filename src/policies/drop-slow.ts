import { integer, number, oneOf, type Rules, readOptions, withSchema } from '../core/options.ts'
import type { DeliveryPolicy } from '../core/policy.ts'
import { DEFAULT_BUFFER_MESSAGES, MAX_BUFFER_BYTES } from './buffered.ts'

export interface DropSlowOptions {
  /** How long the oldest message may wait for the client, in ms. Default 250. */
  readonly timeoutMs?: number
  /** Payload bytes that may wait; more is slow as well, whatever the time. Default 4 MiB. */
  readonly bytes?: number
  /**
   * Bytes a second below which nobody can expect to be kept: a message may take so much longer than the timeout as its
   * size and what was ahead of it take at this rate. Default 1 MiB/s. Infinity: the strict rule, the timeout whatever
   * the size.
   */
  readonly floorRate?: number
  /** What waits: queue (default), what is still in this process; wire, also what the peer's host has not confirmed. */
  readonly measure?: 'queue' | 'wire'
}

export const DEFAULT_FLOOR_RATE = 1024 * 1024
/** What the kernel would take if it were left alone: the time decides who is slow, and not the size of a burst. */
const DEFAULT_BYTES = 4 * 1024 * 1024
const finiteRate = number(1, 1_000_000_000_000)

export const DROP_SLOW_OPTIONS: Rules<DropSlowOptions> = {
  timeoutMs: integer(1, 3_600_000),
  bytes: integer(1, MAX_BUFFER_BYTES),
  floorRate: withSchema(finiteRate.schema, (value, field) =>
    value === Number.POSITIVE_INFINITY ? undefined : finiteRate(value, field),
  ),
  measure: oneOf('queue', 'wire'),
}

interface State {
  /** The last look found it late. One look is not enough: what it has taken meanwhile may not be known yet. */
  late: boolean
}

/**
 * Everything in order, and a client for which a message has waited longer than the timeout is closed as slow
 * [H3][H6][H9]. Throws POLICY_INVALID.
 */
export function dropSlow(given: DropSlowOptions = {}): DeliveryPolicy<State> {
  const options = readOptions(given, DROP_SLOW_OPTIONS, 'dropSlow: ', 'POLICY_INVALID')
  const { timeoutMs = 250, bytes = DEFAULT_BYTES, floorRate = DEFAULT_FLOOR_RATE, measure = 'queue' } = options
  return Object.freeze({
    name: 'drop-slow',
    backlog: { kind: 'log', bytes, messages: DEFAULT_BUFFER_MESSAGES, overflow: 'close' },
    fresh: true,
    measure,
    open: () => ({ late: false }),
    admit: link => (link.writable ? 'send' : 'defer'),
    wake(link, now) {
      const overdue = link.overdue(now, floorRate)
      const { late } = link.state
      link.state.late = overdue > timeoutMs
      if (late && link.state.late) return 'close'
      // At the latest in time for what begins to wait now: an allowance for this write says nothing of the next.
      link.wakeAt = link.state.late ? 0 : now + timeoutMs - Math.max(0, overdue)
      return 'wait'
    },
    describe: () => ({
      name: 'drop-slow',
      timeoutMs,
      bytes,
      floorRate: Number.isFinite(floorRate) ? floorRate : 'none',
      measure,
    }),
  } satisfies DeliveryPolicy<State>)
}
