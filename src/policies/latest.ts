import type { DeliveryPolicy } from '../core/policy.ts'

/**
 * A client that keeps up gets everything at once; while it is behind, a newer message replaces the older one of the same key
 * (messages without a key replace each other), so what waits is one message per key, kept once for all clients.
 */
export const latest: DeliveryPolicy<undefined> = Object.freeze({
  name: 'latest',
  backlog: { kind: 'newest' },
  open: () => undefined,
  admit: link => (link.writable ? 'send' : 'defer'),
  describe: () => ({ name: 'latest' }),
} satisfies DeliveryPolicy<undefined>)
