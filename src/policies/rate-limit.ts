import { atOnce } from '../core/attempt.ts'
import type { Batch } from '../core/batch.ts'
import { HubError } from '../core/errors.ts'
import { positive, type Rules, readOptions } from '../core/options.ts'
import type { DeliveryPolicy, Verdict, Waking } from '../core/policy.ts'
import { checkPolicy } from '../core/policy-check.ts'
import { descriptionOf } from '../core/terms.ts'

export interface RateLimitOptions {
  /** Messages a second. One of messages and bytes, or both. */
  readonly messages?: number
  /** Payload bytes a second. */
  readonly bytes?: number
  /** Seconds' worth that may go at once after a pause. Default 1. */
  readonly burst?: number
}

const rate = positive(1_000_000_000)

export const RATE_LIMIT_OPTIONS: Rules<RateLimitOptions> = { messages: rate, bytes: rate, burst: positive(3600) }

interface State {
  inner: unknown
  messages: number
  bytes: number
  filledAt: number
}

/**
 * Sends at most so many messages or bytes a second, and leaves to the inner policy what happens to the rest: over a
 * best-effort policy it is dropped (reason `rate`), over any other it waits as that one says. Throws POLICY_INVALID.
 */
export function rateLimit(given: RateLimitOptions, inner: DeliveryPolicy): DeliveryPolicy<State> {
  const options = readOptions(given, RATE_LIMIT_OPTIONS, 'rateLimit: ', 'POLICY_INVALID')
  if (options.messages === undefined && options.bytes === undefined) {
    throw new HubError('POLICY_INVALID', 'rateLimit: give messages, bytes or both: how many a second')
  }
  checkPolicy(inner, 'rateLimit: inner')
  // Not Infinity: Infinity times no time at all is NaN.
  const { messages = Number.MAX_SAFE_INTEGER, bytes = Number.MAX_SAFE_INTEGER, burst = 1 } = options
  const most = { messages: Math.max(1, messages * burst), bytes: Math.max(1, bytes * burst) }

  function fill(state: State, now: number): void {
    const seconds = (now - state.filledAt) / 1000
    state.messages = Math.min(most.messages, state.messages + messages * seconds)
    state.bytes = Math.min(most.bytes, state.bytes + bytes * seconds)
    state.filledAt = now
  }

  /** A message larger than the whole bucket may go when the bucket is full: it must not wait for ever. */
  function allows(state: State, batch: Batch): boolean {
    return state.messages >= batch.count && state.bytes >= Math.min(batch.bytes, most.bytes)
  }

  return Object.freeze({
    name: `rate-limit+${inner.name}`,
    backlog: inner.backlog,
    ...(inner.measure && { measure: inner.measure }),
    ...(inner.confirm && { confirm: true }),
    ...(inner.fresh && { fresh: true }),
    stepwise: true,
    open(link) {
      const state: State = { inner: undefined, ...most, filledAt: 0 }
      // The link gets the state before the inner policy can throw, because the rate works without the inner state.
      link.state = state
      state.inner = atOnce(inner.open(link), 'open')
      return state
    },
    admit(link, batch, now) {
      const { state } = link
      fill(state, now)
      if (!allows(state, batch)) return 'defer'
      let verdict: Verdict
      link.state = state.inner as State
      try {
        verdict = inner.admit(link, batch, now)
      } finally {
        // Also where the inner policy throws: the link would have another policy's state from then on.
        state.inner = link.state
        link.state = state
      }
      if (verdict === 'send') {
        state.messages -= batch.count
        state.bytes -= batch.bytes
      }
      return verdict
    },
    wake(link, now) {
      const { state } = link
      let verdict: Waking | undefined
      link.state = state.inner as State
      try {
        verdict = inner.wake?.(link, now)
      } finally {
        state.inner = link.state
        link.state = state
      }
      // The inner policy may want to sleep; what the rate lets go is for each sweep to see.
      if (link.writable) link.wakeAt = 0
      return verdict === undefined || (verdict === 'wait' && link.writable) ? 'pull' : verdict
    },
    describe: () => ({ name: 'rate-limit', ...options, inner: descriptionOf(inner) }),
  } satisfies DeliveryPolicy<State>)
}
