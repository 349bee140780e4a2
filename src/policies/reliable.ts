import type { Unconfirmed } from '../core/acks.ts'
import { integer, oneOf, type Rules, readOptions } from '../core/options.ts'
import type { DeliveryPolicy } from '../core/policy.ts'
import { DEFAULT_BUFFER_BYTES, DEFAULT_BUFFER_MESSAGES, MAX_BUFFER_BYTES } from './buffered.ts'

export interface ReliableOptions {
  /** Messages that may be sent and not confirmed. Default 256. */
  readonly window?: number
  /**
   * How long a confirmation may take before everything unconfirmed is sent again, in ms; doubled at each further try.
   * Default 30,000.
   */
  readonly ackMs?: number
  /** How often a message is sent again. Default 5. */
  readonly tries?: number
  /**
   * What follows the last try. Default close: the client is slow. skip: the message is lost, counted and told, and the
   * rest goes on.
   */
  readonly giveUp?: 'close' | 'skip'
  /**
   * Payload bytes that may be unconfirmed; and, as much again, that may wait to be sent: more closes the client as
   * slow. Default 1 MiB.
   */
  readonly bytes?: number
}

/** No wait for a confirmation is longer, however often it was tried; in ms. */
export const MAX_ACK_MS = 300_000

/** How long after a connection has given a message up it is sent again for the first time, in ms. */
const RETURN_MS = 1000

export const RELIABLE_OPTIONS: Rules<ReliableOptions> = {
  window: integer(1, 100_000),
  ackMs: integer(100, MAX_ACK_MS),
  tries: integer(0, 100),
  giveUp: oneOf('close', 'skip'),
  bytes: integer(1, MAX_BUFFER_BYTES),
}

/**
 * At least once: what the receiver does not confirm is sent again, in order and under the same position. Throws
 * POLICY_INVALID.
 */
export function reliable(given: ReliableOptions = {}): DeliveryPolicy<undefined> {
  const options = readOptions(given, RELIABLE_OPTIONS, 'reliable: ', 'POLICY_INVALID')
  const { window = 256, ackMs = 30_000, tries = 5, giveUp = 'close', bytes = DEFAULT_BUFFER_BYTES } = options

  /**
   * What a connection has given up is tried again soon, once: if its receiver is still away its breaker opens, and then
   * it waits for it.
   */
  function patience({ stuck, tries }: Unconfirmed): number {
    if (stuck && tries === 0) return Math.min(ackMs, RETURN_MS)
    return Math.min(ackMs * 2 ** tries, MAX_ACK_MS)
  }

  return Object.freeze({
    name: 'reliable',
    backlog: { kind: 'log', bytes, messages: DEFAULT_BUFFER_MESSAGES, overflow: 'close' },
    confirm: true,
    stepwise: true,
    open: () => undefined,
    admit(link, batch) {
      if (!link.writable || link.unconfirmed?.stuck) return 'defer'
      // One larger message goes alone.
      const fits = (link.inFlight === 0 && batch.count === 1) || link.inFlightBytes + batch.bytes <= bytes
      return fits && link.inFlight + batch.count <= window ? 'send' : 'defer'
    },
    wake(link, now) {
      const { unconfirmed } = link
      // What is still in our own hands is not the receiver's to confirm.
      if (unconfirmed === undefined || unconfirmed.messages === 0 || !link.writable) return 'wait'
      const due = unconfirmed.since + patience(unconfirmed)
      if (now < due) {
        // Not at `due`: a confirmation meanwhile may bring the next one nearer.
        link.wakeAt = Math.min(due, now + ackMs)
        return 'wait'
      }
      return unconfirmed.tries < tries ? 'redeliver' : giveUp
    },
    describe: () => ({ name: 'reliable', window, ackMs, tries, giveUp, bytes }),
  } satisfies DeliveryPolicy<undefined>)
}
