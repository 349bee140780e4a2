import type { DeliveryPolicy } from '../core/policy.ts'

/** What the client cannot take at once, it never gets. Costs nothing to keep. */
export const bestEffort: DeliveryPolicy<undefined> = Object.freeze({
  name: 'best-effort',
  backlog: { kind: 'none' },
  open: () => undefined,
  admit: link => (link.writable ? 'send' : 'drop'),
  describe: () => ({ name: 'best-effort' }),
} satisfies DeliveryPolicy<undefined>)
