import type { Scheduler } from '../core/scheduler.ts'

/** How long lines are counted together, in ms. */
export const WINDOW_MS = 10_000

/** Most lines of one kind in a window. */
export interface LineLimits {
  /** About one subject, such as a client or an address. */
  readonly perSubject: number
  /** About all subjects. */
  readonly total: number
}

/**
 * Limits the rate of log lines, by kind and subject. Counts what it leaves out, and reports the counts when the window
 * ends. Remembers at most `total` subjects of a kind, and runs one timer while there is something to count.
 */
export class LineWindow<Kind extends string> {
  readonly #scheduler: Pick<Scheduler, 'after'>
  readonly #limits: LineLimits
  readonly #report: (leftOut: Partial<Record<Kind, number>>) => void
  readonly #written = new Map<Kind, { total: number; readonly bySubject: Map<string, number> }>()
  #leftOut: Partial<Record<Kind, number>> = {}
  #timer: Disposable | undefined

  constructor(
    scheduler: Pick<Scheduler, 'after'>,
    limits: LineLimits,
    report: (leftOut: Partial<Record<Kind, number>>) => void,
  ) {
    this.#scheduler = scheduler
    this.#limits = limits
    this.#report = report
  }

  /** May this line be written? */
  admits(kind: Kind, subject: string): boolean {
    this.#timer ??= this.#scheduler.after(WINDOW_MS, () => this.end())
    const lines = this.#written.get(kind) ?? { total: 0, bySubject: new Map<string, number>() }
    const own = lines.bySubject.get(subject) ?? 0
    if (own >= this.#limits.perSubject || lines.total >= this.#limits.total) {
      this.#leftOut[kind] = (this.#leftOut[kind] ?? 0) + 1
      return false
    }
    lines.total++
    lines.bySubject.set(subject, own + 1)
    this.#written.set(kind, lines)
    return true
  }

  end(): void {
    if (this.#timer === undefined) return
    this.#timer[Symbol.dispose]()
    this.#timer = undefined
    this.#written.clear()
    const leftOut = this.#leftOut
    this.#leftOut = {}
    if (Object.keys(leftOut).length > 0) this.#report(leftOut)
  }
}
