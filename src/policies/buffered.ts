import { integer, oneOf, type Rules, readOptions } from '../core/options.ts'
import type { DeliveryPolicy } from '../core/policy.ts'

export interface BufferedOptions {
  /** Payload bytes that may wait for one client, those in its connection's hand included. Default 1 MiB. */
  readonly bytes?: number
  /** Messages that may wait. Default 10,000. */
  readonly messages?: number
  /** What gives when more would have to wait. Default close: the client is slow. */
  readonly overflow?: 'drop-oldest' | 'drop-newest' | 'close'
}

export const DEFAULT_BUFFER_BYTES = 1024 * 1024
export const DEFAULT_BUFFER_MESSAGES = 10_000

/** The most that may be allowed to wait for one client, in bytes. */
export const MAX_BUFFER_BYTES = 256 * 1024 * 1024

export const BUFFERED_OPTIONS: Rules<BufferedOptions> = {
  bytes: integer(1, MAX_BUFFER_BYTES),
  messages: integer(1, 1_000_000),
  overflow: oneOf('drop-oldest', 'drop-newest', 'close'),
}

/** Everything in order, as long as no more than so much waits. Throws POLICY_INVALID. */
export function buffered(given: BufferedOptions = {}): DeliveryPolicy<undefined> {
  const options = readOptions(given, BUFFERED_OPTIONS, 'buffered: ', 'POLICY_INVALID')
  const { bytes = DEFAULT_BUFFER_BYTES, messages = DEFAULT_BUFFER_MESSAGES, overflow = 'close' } = options
  return Object.freeze({
    name: 'buffered',
    backlog: { kind: 'log', bytes, messages, overflow },
    open: () => undefined,
    admit: link => (link.writable ? 'send' : 'defer'),
    describe: () => ({ name: 'buffered', bytes, messages, overflow }),
  } satisfies DeliveryPolicy<undefined>)
}
