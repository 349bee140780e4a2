import type { PostedMessage } from '../core/contract.ts'
import { HubError } from '../core/errors.ts'
import type { Scheduler } from '../core/scheduler.ts'

/** What came of a send that went well. */
export interface SendResult {
  /** The message's id: the receiver's key against duplicates, where it is a URL. */
  readonly id: string
  /**
   * true: the peer said that it has it. false: the transport took it, and nobody asked for more, or its protocol can
   * tell no more.
   */
  readonly confirmed: boolean
  /** From the call to the end, in ms. */
  readonly ms: number
}

/**
 * One send that waits for its end, which comes once: taken (and confirmed, if asked for), failed, timed out or aborted.
 */
export class PendingSend {
  readonly result: Promise<SendResult>
  readonly #scheduler: Scheduler
  readonly #startedAt: number
  readonly #id: string
  readonly #onEnd: (pending: PendingSend, ms: number, error: HubError | undefined) => void
  #resolve!: (result: SendResult) => void
  #reject!: (error: HubError) => void
  #posted: PostedMessage | undefined
  #timer: Disposable | undefined
  /** What must be heard before it has gone well. */
  #awaited = 1
  #confirmed = false
  #over = false

  constructor(
    scheduler: Scheduler,
    { id, timeoutMs }: { id: string; timeoutMs: number },
    onEnd: (pending: PendingSend, ms: number, error: HubError | undefined) => void,
  ) {
    this.#scheduler = scheduler
    this.#startedAt = scheduler.now()
    this.#id = id
    this.#onEnd = onEnd
    this.result = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#timer = scheduler.after(timeoutMs, () => this.fail(timedOut(timeoutMs)))
  }

  /** It is on its way; `answers`: how many things must be heard of it. */
  posted(posted: PostedMessage, answers: number): void {
    this.#posted = posted
    this.#awaited = answers
  }

  get over(): boolean {
    return this.#over
  }

  /** The transport took it. `confirmed`: its receiver has. */
  taken(confirmed: boolean): void {
    this.#confirmed ||= confirmed
    if (--this.#awaited > 0 || this.#over) return
    const ms = this.#end(undefined)
    this.#resolve({ id: this.#id, confirmed: this.#confirmed, ms })
  }

  fail(error: HubError): void {
    if (this.#over) return
    this.#end(error)
    this.#posted?.cancel(error)
    this.#reject(error)
  }

  #end(error: HubError | undefined): number {
    this.#over = true
    this.#timer?.[Symbol.dispose]()
    // To the microsecond: a clock has more digits than it knows.
    const ms = Math.round((this.#scheduler.now() - this.#startedAt) * 1000) / 1000
    this.#onEnd(this, ms, error)
    return ms
  }
}

function timedOut(timeoutMs: number): HubError {
  return new HubError(
    'SEND_TIMEOUT',
    `timeoutMs: nothing was heard within ${timeoutMs} ms; the message may still arrive`,
  )
}
