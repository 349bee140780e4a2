import { checkValue, having, object } from '../core/options.ts'
import type { Scheduler } from '../core/scheduler.ts'
import type { FakeConnection } from './fake-connection.ts'

/**
 * How a client reads. eager: all at once. stalled: never again; its host still confirms what its receive buffer holds.
 * rate: so many bytes a second, be it 1. pauses: eager for a while, then nothing for a while, in turns.
 * half-open: its host has vanished without a word and confirms nothing.
 */
export type Pace =
  | { readonly kind: 'eager' }
  | { readonly kind: 'stalled' }
  | { readonly kind: 'half-open' }
  | { readonly kind: 'rate'; readonly bytesPerSecond: number }
  | { readonly kind: 'pauses'; readonly readMs: number; readonly pauseMs: number }

/** How often a scripted client reads, in ms. */
export const READ_EVERY_MS = 10

/**
 * What a client that reads at this pace may have read `elapsedMs` after it took it up, if it has read `already` bytes
 * since.
 */
export function mayRead(pace: Pace, elapsedMs: number, already: number): number {
  checkValue(pace, object, 'pace')
  switch (pace.kind) {
    case 'eager':
      return Number.POSITIVE_INFINITY
    case 'rate':
      return Math.floor((elapsedMs * pace.bytesPerSecond) / 1000) - already
    case 'pauses':
      return elapsedMs % (pace.readMs + pace.pauseMs) < pace.readMs ? Number.POSITIVE_INFINITY : 0
    default:
      return 0
  }
}

/** Reads from a fake connection as the script says, on the test's own clock. Dispose of it, or it goes on for ever. */
export class PacedReader implements Disposable {
  readonly #connection: FakeConnection
  readonly #scheduler: Scheduler
  readonly #timer: Disposable
  #pace: Pace = { kind: 'eager' }
  #since: number
  #read = 0

  constructor(connection: FakeConnection, scheduler: Scheduler, pace: Pace) {
    checkValue(connection, having('a FakeConnection', 'read'), 'connection')
    checkValue(scheduler, having('a scheduler', 'now', 'every'), 'scheduler')
    this.#connection = connection
    this.#scheduler = scheduler
    this.#since = scheduler.now()
    this.follow(pace)
    this.#timer = scheduler.every(READ_EVERY_MS, () => this.#step())
  }

  /** From now on it reads like this. */
  follow(pace: Pace): void {
    checkValue(pace, object, 'pace')
    this.#pace = pace
    this.#since = this.#scheduler.now()
    this.#read = 0
    this.#connection.vanished = pace.kind === 'half-open'
  }

  [Symbol.dispose](): void {
    this.#timer[Symbol.dispose]()
  }

  #step(): void {
    if (this.#connection.closedFor !== undefined) return
    // Who had nothing to read does not read the faster afterwards.
    if (this.#connection.unread === 0 && this.#pace.kind === 'rate') this.follow(this.#pace)
    const most = mayRead(this.#pace, this.#scheduler.now() - this.#since, this.#read)
    const bytes = Math.min(most, this.#connection.unread)
    if (bytes <= 0) return
    this.#read += bytes
    this.#connection.read(bytes)
  }
}
