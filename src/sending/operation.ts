import { createHistogram } from 'node:perf_hooks'
import type { ErrorCode } from '../core/errors.ts'

/**
 * Figures of one kind of work since the hub began. Times are in ms, from its beginning to its end, whatever that was.
 */
export interface OperationMetrics {
  /** Ended, well or not. */
  readonly count: number
  readonly active: number
  readonly errors: Readonly<Partial<Record<ErrorCode, number>>>
  /** Requests that were made again. */
  readonly retries: number
  /** Undefined until one has ended. */
  readonly p50: number | undefined
  readonly p95: number | undefined
  readonly p99: number | undefined
  readonly max: number | undefined
}

const MICROSECONDS = 1000
const LONGEST_MS = 3_600_000

/** Counts one kind of work and keeps its times in a histogram of fixed size: nothing grows with what is measured. */
export class Operation {
  #count = 0
  #active = 0
  #retries = 0
  readonly #errors: Partial<Record<ErrorCode, number>> = {}
  /** In microseconds, to 1 %: some 25 KB. */
  readonly #times = createHistogram({ lowest: 1, highest: LONGEST_MS * MICROSECONDS, figures: 2 })

  begin(): void {
    this.#active++
  }

  /** Of one that was begun. */
  end(ms: number, error?: ErrorCode): void {
    this.#active--
    this.record(ms, error)
  }

  /** One that is over, and was never told to begin. */
  record(ms: number, error?: ErrorCode): void {
    this.#count++
    if (error !== undefined) this.#errors[error] = (this.#errors[error] ?? 0) + 1
    this.#times.record(Math.min(LONGEST_MS * MICROSECONDS, Math.max(1, Math.round(ms * MICROSECONDS))))
  }

  retried(): void {
    this.#retries++
  }

  get active(): number {
    return this.#active
  }

  get metrics(): OperationMetrics {
    const times = this.#times
    const at = (percentile: number): number | undefined =>
      this.#count === 0 ? undefined : times.percentile(percentile) / MICROSECONDS
    const counts = { count: this.#count, active: this.#active, retries: this.#retries, errors: { ...this.#errors } }
    return { ...counts, p50: at(50), p95: at(95), p99: at(99), max: at(100) }
  }
}
