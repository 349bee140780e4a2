import type { Circuit, Client, CloseReason, WriteResult } from '../core/connection.ts'
import { HubError } from '../core/errors.ts'
import type { Events, RequestFailure } from '../core/events.ts'
import { departed } from '../core/outbox-items.ts'
import type { Parcel } from '../core/parcel.ts'
import { circuitOpen } from '../core/refusals.ts'
import type { Scheduler } from '../core/scheduler.ts'
import { backoffMs, type RetryRules } from './backoff.ts'
import { type BreakerRules, CircuitBreaker } from './circuit-breaker.ts'
import { type Attempt, type Envelope, envelopeCodec, gapOf, type Outcome } from './envelope.ts'
import { type Item, RequestHand } from './request-hand.ts'
import type { Bound } from './transport.ts'

export interface RequestMeter {
  begin(): void
  end(ms: number, error?: HubError['code']): void
  retried(): void
}

export interface RequestConnectionOptions {
  readonly protocol: string
  readonly address: string
  readonly attempt: Attempt
  readonly retry: RetryRules
  readonly breaker: BreakerRules
  readonly scheduler: Scheduler
  readonly random: () => number
  readonly events: Events
  readonly meter: RequestMeter
  /** Asks the receiver whether it is there. */
  readonly ping?: ((signal: AbortSignal) => Promise<'there' | 'gone' | 'unknown'>) | undefined
  /** Tells the receiver that the hub has ended it. */
  readonly farewell?: ((reason: CloseReason) => void) | undefined
}

/** A receiver that did not answer for so long, in ms, has failed. Before that the sender gave up too early. */
const MUTE_MS = 1000

/**
 * A connection each of whose messages is a request that has an answer. One at a time, in order, tried again as the
 * rules say; while one is under way the connection is not writable, so what waits is the policy's business, as with a
 * socket that does not drain. Owns what it has in hand: at most one flush. While its breaker is open topic messages
 * wait, and what was sent to it alone fails at once.
 */
export class RequestConnection implements Bound {
  readonly protocol: string
  readonly codec = envelopeCodec
  readonly confirms = true
  readonly address: string
  /** Absent where the receiver cannot be asked. */
  readonly ping: ((answer: (active: boolean) => void) => void) | undefined
  readonly #options: RequestConnectionOptions
  readonly #breaker: CircuitBreaker
  readonly #closing = new AbortController()
  #client: Client | undefined
  readonly #hand = new RequestHand()
  #running = false
  /** Of the attempts: why the breaker opened. */
  #why: string | undefined
  #cooling: Disposable | undefined
  /** Ends the wait or the attempt that is under way. */
  #interrupt: AbortController | undefined
  #closedFor: CloseReason | undefined

  constructor(options: RequestConnectionOptions) {
    this.#options = options
    this.protocol = options.protocol
    this.address = options.address
    this.#breaker = new CircuitBreaker(options.breaker, circuit => this.#changed(circuit))
    const { ping } = options
    this.ping = ping && (answer => this.#ask(ping, answer))
  }

  get circuit(): Circuit {
    return this.#breaker.circuit
  }

  bind(client: Client): void {
    this.#client = client
  }

  detach(): void {
    // The registration failed. What a flush has handed over meanwhile is given up, and the receiver hears nothing.
    this.close('peer')
  }

  write(frame: Uint8Array): WriteResult {
    if (this.#closing.signal.aborted) return 'gone'
    this.#hand.addFrames(frame)
    void this.#run()
    return 'full'
  }

  send(parcel: Parcel): WriteResult {
    if (this.#closing.signal.aborted) return 'gone'
    this.#hand.addParcel(parcel)
    void this.#run()
    return 'full'
  }

  #ask(ping: NonNullable<RequestConnectionOptions['ping']>, answer: (active: boolean) => void): void {
    const answered = (state: 'there' | 'gone' | 'unknown'): void => {
      answer(state !== 'gone' && !this.#closing.signal.aborted)
      if (state === 'gone') this.#client?.close('peer')
    }
    ping(this.#closing.signal).then(answered, error => {
      this.#fault('ping of', error)
      answered('unknown')
    })
  }

  close(reason: CloseReason): void {
    if (this.#closing.signal.aborted) return
    this.#closedFor = reason
    this.#closing.abort()
    this.#interrupt?.abort()
    this.#cooling?.[Symbol.dispose]()
    this.#client = undefined
    const error = departed(this.address, reason)
    for (const parcel of this.#hand.clear()) parcel.settle(error)
    if (reason !== 'peer') this.#options.farewell?.(reason)
  }

  /** Works until its hand is empty, and then lets the hub go on. Never rejects. */
  async #run(): Promise<void> {
    if (this.#running) return
    this.#running = true
    // What the flush that brought the first still has to give comes along.
    await undefined
    while (!this.#hand.empty) {
      const item = this.#hand.first()
      if (item.parcel?.over) this.#hand.shift()
      else await this.#deliver(item)
    }
    this.#running = false
    this.#client?.drained()
  }

  async #deliver(item: Item): Promise<void> {
    const { meter, scheduler } = this.#options
    const startedAt = scheduler.now()
    meter.begin()
    const error = await this.#deliverWithRetries(item)
    meter.end(scheduler.now() - startedAt, error?.code)
    // The next message may reach its time limit in this same turn, and would open a socket for nothing.
    if (item.parcel?.over) await new Promise<void>(turn => scheduler.defer(turn))
    if (this.#closing.signal.aborted) {
      item.parcel?.settle(error)
      return
    }
    this.#hand.shift()
    if (item.parcel) item.parcel.settle(error)
    else this.#tell(item.envelope, error)
  }

  /** A topic's message, or the notice of a loss, has arrived or has been given up. */
  #tell(envelope: Envelope, error: HubError | undefined): void {
    const { kind, topic, seq } = envelope
    if (kind === 'gap' && error !== undefined) this.#client?.untold(gapOf(envelope))
    if (kind !== 'message') return
    if (error === undefined) this.#client?.confirmed(topic!, seq!)
    else if (this.#client?.failed(topic!, seq!)) this.#hand.drop(topic!)
  }

  /** Answers with nothing, or with why it was given up. */
  async #deliverWithRetries(item: Item): Promise<HubError | undefined> {
    const { retry, random, meter } = this.#options
    for (let attempts = 1; ; attempts++) {
      const outcome = await this.#attempt(item)
      if (outcome === undefined) return this.#interrupted()
      if (outcome.kind === 'ok') return undefined
      if (outcome.kind === 'gone') return this.#gone(outcome.why, item.parcel)
      // A message of a topic waits for its receiver to come back. Senders of direct messages are told already.
      if (this.#breaker.circuit === 'open') continue
      const failure = this.#failure(item, attempts, outcome.why)
      if (outcome.kind === 'refused' || attempts > retry.retries) return this.#giveUp(failure, outcome)
      const waitMs = Math.max(backoffMs(retry, attempts, random), outcome.kind === 'retry' ? (outcome.afterMs ?? 0) : 0)
      meter.retried()
      this.#options.events.emit('retry', { ...failure, waitMs })
      await this.#wait(waitMs, item)
    }
  }

  /** The parcel is settled, or the connection has ended. A handler may do both, so it is asked after each. */
  #isOver({ parcel }: Item): boolean {
    return this.#closing.signal.aborted || parcel?.over === true
  }

  /** Undefined: it is over. */
  async #attempt(item: Item): Promise<Outcome | undefined> {
    const { scheduler } = this.#options
    for (let wait = this.#breaker.waitMs(scheduler.now()); wait > 0; wait = this.#breaker.waitMs(scheduler.now())) {
      await this.#wait(wait, item)
      if (this.#isOver(item)) return undefined
    }
    const startedAt = scheduler.now()
    const outcome = await this.#interruptible(item, signal => this.#try(item.envelope, signal))
    const ms = scheduler.now() - startedAt
    if (outcome === undefined && ms >= MUTE_MS && this.#closedFor === undefined) {
      this.#learn({ kind: 'retry', why: `no answer within ${Math.round(ms)} ms` })
    }
    if (outcome === undefined || this.#isOver(item)) return undefined
    this.#learn(outcome)
    return this.#isOver(item) ? undefined : outcome
  }

  /** An attempt must not reject. One that does is a fault, and the message is tried again. */
  async #try(envelope: Envelope, signal: AbortSignal): Promise<Outcome> {
    try {
      return await this.#options.attempt(envelope, signal)
    } catch (error) {
      this.#fault('request to', error)
      return { kind: 'retry', why: (error as Error)?.name ?? 'fault' }
    }
  }

  /** Only an outcome that may be tried again counts as a failure: any other answer shows that the receiver is there. */
  #learn(outcome: Outcome): void {
    this.#why = outcome.kind === 'ok' ? undefined : outcome.why
    if (outcome.kind === 'retry') this.#breaker.failed(this.#options.scheduler.now(), outcome.afterMs)
    else this.#breaker.succeeded()
  }

  #interrupted(): HubError {
    if (this.#closedFor !== undefined) return departed(this.address, this.#closedFor)
    if (this.#breaker.circuit === 'open') return circuitOpen(this.#client!.id)
    return new HubError('SEND_ABORTED', 'nobody waits for the message any longer')
  }

  #gone(why: string, parcel: Parcel | undefined): HubError {
    const error = new HubError('CONNECTION_STALE', `client: ${this.address} has gone (${why}) and was removed`)
    parcel?.settle(error)
    this.#client?.close('peer')
    return error
  }

  #giveUp(failure: RequestFailure, outcome: Outcome): HubError {
    this.#options.events.emit('undelivered', failure)
    const times = failure.attempts === 1 ? 'once' : `${failure.attempts} times`
    const code = outcome.kind === 'retry' && outcome.timedOut ? 'SEND_TIMEOUT' : 'SEND_FAILED'
    return new HubError(code, `client: ${this.address} was tried ${times}, at last: ${failure.why}`)
  }

  #failure({ envelope: { id, topic, correlationId } }: Item, attempts: number, why: string): RequestFailure {
    return { id: this.#client!.id, messageId: id, topic, correlationId, attempts, why }
  }

  /** Who hears of it fails whatever was sent to this client alone (Sender). */
  #changed(circuit: Circuit): void {
    const client = this.#client
    if (client === undefined) return
    if (circuit === 'open') this.#coolDown()
    const why = circuit === 'open' ? this.#why : undefined
    this.#options.events.emit('circuit', { id: client.id, client, circuit, why })
  }

  /** Makes the breaker half-open when its time is over: a client without topics has no message that would do so. */
  #coolDown(): void {
    const { scheduler } = this.#options
    const wait = this.#breaker.waitMs(scheduler.now())
    if (wait > 0) this.#cooling = scheduler.after(wait, () => this.#coolDown())
  }

  #fault(what: string, error: unknown): void {
    this.#options.events.emit('fault', { error, where: `${what} ${this.address}` })
  }

  #wait(ms: number, item: Item): Promise<void> {
    return this.#interruptible(
      item,
      signal =>
        new Promise(resolve => {
          const timer = this.#options.scheduler.after(ms, resolve)
          signal.addEventListener('abort', () => timer[Symbol.dispose]())
        }),
    )
  }

  /** What the work comes to; undefined as soon as the item is over, whether the work listens to its signal or not. */
  async #interruptible<T>(item: Item, work: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    if (this.#isOver(item)) return undefined
    const { parcel } = item
    const interrupt = new AbortController()
    const over = new Promise<undefined>(resolve => interrupt.signal.addEventListener('abort', () => resolve(undefined)))
    this.#interrupt = interrupt
    if (parcel) parcel.oncancel = () => interrupt.abort()
    const result = await Promise.race([work(interrupt.signal), over])
    if (parcel) parcel.oncancel = undefined
    this.#interrupt = undefined
    return result
  }
}
