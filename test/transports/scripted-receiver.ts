import { expect } from 'vitest'
import type { Client } from '../../src/core/connection.ts'
import { HubError } from '../../src/core/errors.ts'
import type { HubEvents } from '../../src/core/events.ts'
import type { DeliveryPolicy } from '../../src/core/policy.ts'
import { createHub, type Hub, type HubOptions } from '../../src/hub.ts'
import type { SendOptions } from '../../src/sending/outgoing.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'
import type { Envelope, Outcome } from '../../src/transports/envelope.ts'
import { openReceiver, type Receiver, type RequestRules } from '../../src/transports/request-clients.ts'

/** An outcome at once, one that comes with the clock, one that never comes, or a fault of the attempt itself. */
export type Answer =
  | Outcome
  | { readonly kind: 'later'; readonly ms: number; readonly outcome: Outcome }
  | 'never'
  | Error

export const OK: Outcome = { kind: 'ok' }
export const FAILS: Outcome = { kind: 'retry', why: 'status 503' }
export const REFUSES: Outcome = { kind: 'refused', why: 'status 400' }
export const GONE: Outcome = { kind: 'gone', why: 'status 410' }

export interface Made {
  readonly at: number
  readonly text: string
  readonly envelope: Envelope
  readonly signal: AbortSignal
}

export interface Told {
  readonly at: number
  readonly event: 'retry' | 'undelivered' | 'circuit' | 'unregister' | 'fault' | 'gap'
  readonly about: unknown
}

/** Knows whether something has run, so that a test can wait until nothing is left to do at this moment. */
class WatchedScheduler extends ManualScheduler {
  #ran = false

  /** Has anything run since it was last asked? */
  get ran(): boolean {
    const ran = this.#ran
    this.#ran = false
    return ran
  }

  override defer(run: () => void): void {
    super.defer(this.#watched(run))
  }

  override after(ms: number, run: () => void): Disposable {
    return super.after(ms, this.#watched(run))
  }

  override every(ms: number, run: () => void): Disposable {
    return super.every(ms, this.#watched(run))
  }

  #watched(run: () => void): () => void {
    return () => {
      this.#ran = true
      run()
    }
  }
}

export interface ScriptOptions extends RequestRules, Pick<HubOptions, 'limits' | 'policy'> {
  readonly topics?: readonly { readonly name: string; readonly policy?: DeliveryPolicy }[]
  readonly ping?: Receiver['ping']
  readonly farewell?: Receiver['farewell']
}

/**
 * A hub on a clock that stands still and one client of requests, `url`, whose attempts a script answers: the next answer of `answers`, or
 * ok. After every millisecond that `run` lets pass the books of the hub must balance (I6), and never may two attempts be under way.
 */
export class ScriptedReceiver {
  readonly scheduler = new WatchedScheduler()
  readonly hub: Hub
  readonly made: Made[] = []
  readonly told: Told[] = []
  answers: Answer[] = []
  /** Once the script is at its end. */
  otherwise: Answer = OK
  underWay = 0
  readonly #options: ScriptOptions

  constructor(options: ScriptOptions = {}) {
    const { limits, policy } = options
    this.#options = options
    this.hub = createHub({ scheduler: this.scheduler, ...(limits && { limits }), ...(policy && { policy }) })
    for (const event of ['retry', 'undelivered', 'circuit', 'unregister', 'fault', 'gap'] as const) {
      this.hub.events.on(event, (about: HubEvents[typeof event][0]) => {
        this.told.push({ at: this.scheduler.now(), event, about })
      })
    }
  }

  /** Registers the client; its jitter is half of the whole wait, so that waits are 50, 100, 200 ms. */
  open(id = 'url'): Client {
    const { ping, farewell, topics = [{ name: 'news' }], retry, breaker, random = () => 0.5 } = this.#options
    const receiver: Receiver = {
      protocol: 'scripted',
      address: 'receiver.test',
      attempt: (envelope, signal) => this.#attempt(envelope, signal),
      ...(ping && { ping }),
      farewell,
      restore: undefined,
    }
    return openReceiver(this.hub, receiver, { id, topics }, { retry, breaker, random })
  }

  publish(text: string, topic = 'news', key?: string): void {
    this.hub.routeData(topic, Buffer.from(text), { key })
  }

  /** What came of the send: 'ok', its code, or undefined as long as it is under way; and when. */
  send(text: string, options: SendOptions & { to?: string } = {}): { result?: string; at?: number } {
    const { to = 'url', ...rest } = options
    const sent: { result?: string; at?: number } = {}
    const end = (result: string): void => void Object.assign(sent, { result, at: this.scheduler.now() })
    this.hub.send(to, text, rest).then(
      () => end('ok'),
      error => end(error instanceof HubError ? error.code : String(error)),
    )
    return sent
  }

  /** Lets time pass, a millisecond at a time, with all that follows from each. */
  async run(ms = 0): Promise<void> {
    await this.#settle()
    for (let i = 0; i < ms; i++) {
      this.scheduler.advance(1)
      if (this.scheduler.ran) await this.#settle()
    }
  }

  /** When each text was tried. */
  get tries(): [text: string, at: number][] {
    return this.made.map(({ text, at }) => [text, at])
  }

  get circuits(): [circuit: string, at: number][] {
    return this.told.flatMap(({ event, about, at }) =>
      event === 'circuit' ? [[(about as { circuit: string }).circuit, at] as [string, number]] : [],
    )
  }

  of(event: Told['event']): unknown[] {
    return this.told.flatMap(told => (told.event === event ? [told.about] : []))
  }

  get metrics() {
    const { operations, circuits, queues } = this.hub.getMetrics()
    const { count, active, errors, retries } = operations.callback
    return { count, active, errors, retries, circuits, queues }
  }

  async #settle(): Promise<void> {
    do {
      // A turn of the real loop: every promise that is settled has been heard.
      await new Promise(setImmediate)
      this.scheduler.advance(0)
    } while (this.scheduler.ran)
    expect(this.underWay).toBeLessThanOrEqual(1)
    checkAccounts(this.hub)
  }

  #attempt(envelope: Envelope, signal: AbortSignal): Promise<Outcome> {
    const text = envelope.kind === 'gap' ? 'gap' : Buffer.from(envelope.payload).toString()
    this.made.push({ at: this.scheduler.now(), text, envelope: { ...envelope }, signal })
    const answer = this.answers.shift() ?? this.otherwise
    this.underWay++
    let done = false
    const leave = (): void => {
      if (!done) this.underWay--
      done = true
    }
    signal.addEventListener('abort', leave)
    return new Promise<Outcome>((resolve, reject) => {
      if (answer === 'never') return
      const answered = (outcome: Outcome): void => {
        leave()
        resolve(outcome)
      }
      if (answer instanceof Error) {
        leave()
        reject(answer)
      } else if (answer.kind === 'later') {
        const timer = this.scheduler.after(answer.ms, () => answered(answer.outcome))
        signal.addEventListener('abort', () => {
          timer[Symbol.dispose]()
          resolve({ kind: 'retry', why: 'cancelled' })
        })
      } else answered(answer)
    })
  }
}

/** I6: of every subscription, what was published is delivered, dropped or pending; and the hub's sums are those of its links. */
export function checkAccounts(hub: Hub): void {
  const sums = { pending: 0, unconfirmed: 0 }
  for (const { subscriptions } of hub.getActiveClients()) {
    for (const { published, delivered, dropped, pending, unconfirmed } of subscriptions) {
      expect(delivered + dropped + pending).toBe(published)
      expect(unconfirmed).toBeLessThanOrEqual(pending)
      sums.pending += pending
      sums.unconfirmed += unconfirmed
    }
  }
  const { pending, unconfirmed } = hub.getConnectionStats()
  expect({ pending, unconfirmed }).toEqual(sums)
}
