import type { Circuit } from '../core/connection.ts'

export interface BreakerRules {
  /** Failed attempts in a row that open it. */
  readonly failures: number
  /** How long nothing is let through, in ms; longer where the receiver asks for more. Then one attempt is, to see. */
  readonly coolDownMs: number
}

export const DEFAULT_BREAKER: BreakerRules = { failures: 5, coolDownMs: 10_000 }

/**
 * Stops attempts at a receiver that keeps failing. closed -> open after so many failures in a row; open -> half-open
 * when it has cooled down; half-open -> closed when the one attempt that is let through succeeds, or back to open. Has
 * no clock: whoever asks says when it is, on a monotonic one, for a clock that jumps must not keep a receiver out
 * (docs/decisions/0011).
 */
export class CircuitBreaker {
  readonly #rules: BreakerRules
  readonly #onChange: (circuit: Circuit) => void
  #circuit: Circuit = 'closed'
  #failures = 0
  /** While open: until when. */
  #openUntil = 0

  constructor(rules: BreakerRules, onChange: (circuit: Circuit) => void) {
    this.#rules = rules
    this.#onChange = onChange
  }

  get circuit(): Circuit {
    return this.#circuit
  }

  /** How long until an attempt may be made, in ms; 0: now. An attempt after it was open makes it half-open. */
  waitMs(now: number): number {
    if (this.#circuit !== 'open') return 0
    const wait = this.#openUntil - now
    if (wait > 0) return wait
    this.#change('half-open')
    return 0
  }

  succeeded(): void {
    this.#failures = 0
    this.#change('closed')
  }

  /** @param afterMs how long the receiver has asked to be left alone */
  failed(now: number, afterMs = 0): void {
    // Counted on while half-open, so that one is enough then.
    if (++this.#failures < this.#rules.failures) return
    this.#openUntil = now + Math.max(this.#rules.coolDownMs, afterMs)
    this.#change('open')
  }

  #change(circuit: Circuit): void {
    if (circuit === this.#circuit) return
    this.#circuit = circuit
    this.#onChange(circuit)
  }
}
