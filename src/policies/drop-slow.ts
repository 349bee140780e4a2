import type { DeliveryPolicy } from '../core/policy.ts'
import { DEFAULT_BUFFER_BYTES, DEFAULT_BUFFER_MESSAGES } from './buffered.ts'

export interface DropSlowOptions {
  /** How long the oldest message may wait for the client, in ms. Default 250. */
  readonly timeoutMs?: number
  /** Payload bytes that may wait; more is slow as well, whatever the time. Default 1 MiB. */
  readonly bytes?: number
}

interface State {
  /** The last look found it late. One look is not enough: our own loop may have been blocked, and then the client is innocent. */
  late: boolean
}

/** Everything in order, and a client for which a message has waited longer than the timeout is closed as slow [H3][H9]. */
export function dropSlow(options: DropSlowOptions = {}): DeliveryPolicy<State> {
  const { timeoutMs = 250, bytes = DEFAULT_BUFFER_BYTES } = options
  return Object.freeze({
    name: 'drop-slow',
    backlog: { kind: 'log', bytes, messages: DEFAULT_BUFFER_MESSAGES, overflow: 'close' },
    open: () => ({ late: false }),
    admit: link => (link.writable ? 'send' : 'defer'),
    wake(link, now) {
      const waited = link.waited(now)
      const { late } = link.state
      link.state.late = waited > timeoutMs
      if (late && link.state.late) return 'close'
      link.wakeAt = link.state.late ? 0 : now + timeoutMs - waited
      return 'wait'
    },
    describe: () => ({ name: 'drop-slow', timeoutMs, bytes }),
  } satisfies DeliveryPolicy<State>)
}
