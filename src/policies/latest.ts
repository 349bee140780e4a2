import { readOptions } from '../core/options.ts'
import type { DeliveryPolicy } from '../core/policy.ts'

const POLICY: DeliveryPolicy<undefined> = Object.freeze({
  name: 'latest',
  backlog: { kind: 'newest' },
  fresh: true,
  open: () => undefined,
  admit: link => (link.writable ? 'send' : 'defer'),
  describe: () => ({ name: 'latest' }),
} satisfies DeliveryPolicy<undefined>)

/**
 * A client that keeps up gets everything at once. While it is behind, a newer message replaces the older one of the
 * same key (messages without a key replace each other), so one message per key waits, kept once for all clients. Every
 * call returns the same object. Takes no options.
 */
export function latest(options: Readonly<Record<string, never>> = {}): DeliveryPolicy<undefined> {
  readOptions(options, {}, 'latest: ', 'POLICY_INVALID')
  return POLICY
}
