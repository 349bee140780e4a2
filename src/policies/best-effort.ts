import type { DeliveryPolicy } from '../core/policy.ts'

const POLICY: DeliveryPolicy<undefined> = Object.freeze({
  name: 'best-effort',
  backlog: { kind: 'none' },
  open: () => undefined,
  admit: link => (link.writable ? 'send' : 'drop'),
  describe: () => ({ name: 'best-effort' }),
} satisfies DeliveryPolicy<undefined>)

/** A message that the client cannot take at once is dropped. Keeps nothing, so every call returns the same object. */
export function bestEffort(): DeliveryPolicy<undefined> {
  return POLICY
}
