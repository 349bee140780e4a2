export interface RetryRules {
  /** How often one message is tried again after its first attempt. */
  readonly retries: number
  /** Most of the wait before the first retry, in ms; doubled at each further one. */
  readonly baseMs: number
  /** No wait of our own is longer, in ms. */
  readonly capMs: number
}

/**
 * A receiver that restarts is back within a second or two; what takes longer is for the breaker, and for `reliable`.
 */
export const DEFAULT_RETRY: RetryRules = { retries: 3, baseMs: 100, capMs: 5000 }

/**
 * Before retry 1, 2, ...: anything from 0 to the whole wait (full jitter), so that receivers that come back are not met
 * by all at once.
 */
export function backoffMs({ baseMs, capMs }: RetryRules, retry: number, random: () => number): number {
  return random() * Math.min(capMs, baseMs * 2 ** (retry - 1))
}
