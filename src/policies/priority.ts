import { integer, type Rules, readOptions } from '../core/options.ts'
import type { DeliveryPolicy } from '../core/policy.ts'
import { checkPolicy } from '../core/policy-check.ts'
import { descriptionOf } from '../core/terms.ts'
import { buffered, MAX_BUFFER_BYTES } from './buffered.ts'

export interface PriorityOptions {
  /**
   * What may be on its way to a client before its topics of normal and bulk priority wait, in bytes. Default 64 KiB.
   * High ones have twice that.
   */
  readonly socketBytes?: number
}

export const DEFAULT_SOCKET_BYTES = 64 * 1024
export const PRIORITY_OPTIONS: Rules<PriorityOptions> = { socketBytes: integer(1, MAX_BUFFER_BYTES) }

/**
 * Keeps what is already out of our hands small, so that what is urgent need not stand in line behind it: the kernel
 * takes megabytes for a slow reader, in the order of writing. What waits, waits here, where a client reads on by
 * priority: the protocol's own frames, then high, normal, bulk. One message is never split, so at most `socketBytes`
 * and one message are ahead. What happens to the rest is the inner policy's. Where the platform cannot tell what the
 * peer's host has confirmed, only what waits in this process counts. Throws POLICY_INVALID.
 */
export function priority(given: PriorityOptions = {}, inner: DeliveryPolicy = buffered()): DeliveryPolicy<unknown> {
  const options = readOptions(given, PRIORITY_OPTIONS, 'priority: ', 'POLICY_INVALID')
  checkPolicy(inner, 'priority: inner')
  const { socketBytes = DEFAULT_SOCKET_BYTES } = options
  return Object.freeze({
    name: `priority+${inner.name}`,
    backlog: inner.backlog,
    ...(inner.measure && { measure: inner.measure }),
    ...(inner.confirm && { confirm: true }),
    ...(inner.fresh && { fresh: true }),
    stepwise: true,
    open: link => inner.open(link),
    admit(link, batch, now) {
      const most = link.priority === 'high' ? 2 * socketBytes : socketBytes
      // Of one message not "does it fit": a large one would wait for ever. Of several, what fits goes one by one.
      const ahead = batch.count === 1 ? 0 : batch.bytes
      if (!link.writable || link.underwayBytes + ahead < most) return inner.admit(link, batch, now)
      return batch.count === 1 && inner.backlog.kind === 'none' ? 'drop' : 'defer'
    },
    wake(link, now) {
      const verdict = inner.wake?.(link, now)
      // The inner policy may want to sleep; what the socket has room for is for each sweep to see.
      if (link.writable) link.wakeAt = 0
      return verdict === undefined || (verdict === 'wait' && link.writable) ? 'pull' : verdict
    },
    describe: () => ({ name: 'priority', socketBytes, inner: descriptionOf(inner) }),
  } satisfies DeliveryPolicy<unknown>)
}
