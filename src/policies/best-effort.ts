import { readOptions } from '../core/options.ts'
import type { DeliveryPolicy } from '../core/policy.ts'

const POLICY: DeliveryPolicy<undefined> = Object.freeze({
  name: 'best-effort',
  backlog: { kind: 'none' },
  fresh: true,
  open: () => undefined,
  admit: link => (link.writable ? 'send' : 'drop'),
  describe: () => ({ name: 'best-effort' }),
} satisfies DeliveryPolicy<undefined>)

/**
 * A message that the client cannot take at once is dropped. Keeps nothing, so every call returns the same object. Takes
 * no options.
 */
export function bestEffort(options: Readonly<Record<string, never>> = {}): DeliveryPolicy<undefined> {
  readOptions(options, {}, 'bestEffort: ', 'POLICY_INVALID')
  return POLICY
}
