import type { DeliveryPolicy } from '../../core/policy.ts'
import type { Scheduler } from '../../core/scheduler.ts'
import type { Hub } from '../../hub.ts'
import { bestEffort } from '../../policies/best-effort.ts'
import { buffered } from '../../policies/buffered.ts'
import { dropSlow } from '../../policies/drop-slow.ts'
import { latest } from '../../policies/latest.ts'
import { rateLimit } from '../../policies/rate-limit.ts'
import { Meter } from './meter.ts'
import { type Publish, pace } from './pace.ts'
import { SimulatedClient, type SimulatedFigures } from './simulated-client.ts'

export const MAX_SPEED = 10_000_000
/** Where the slider stands when the demo starts, in bytes a second: no trouble for anybody. */
export const FIRST_SPEED = 1_000_000
/** How often the clients read, and how often their figures are published, in ms. */
const READ_MS = 20
const PUBLISH_MS = 200
const SOURCE_WINDOW_MS = 3000

/** One client for each answer that the hub has to a slow reader. */
export const policies: readonly DeliveryPolicy[] = [
  bestEffort(),
  latest(),
  buffered(),
  buffered({ bytes: 64 * 1024, overflow: 'drop-oldest' }),
  dropSlow({ timeoutMs: 250 }),
  rateLimit({ messages: 5 }, latest()),
]

/** What is published of the simulation. Speeds are in bytes a second. */
export interface SimulationState {
  readonly topic: string
  readonly bytesPerSecond: number
  readonly source: { readonly bytesPerSecond: number; readonly messagesPerSecond: number }
  readonly clients: readonly SimulatedFigures[]
}

/** Clients that read the same topic at the same speed, each under a policy of its own. */
export class Simulation {
  readonly #topic: string
  readonly #scheduler: Scheduler
  readonly #source: Meter
  readonly #clients: readonly SimulatedClient[]
  readonly #timers: readonly Disposable[]
  #bytesPerSecond = FIRST_SPEED
  #lastRead: number
  /** Of a byte that the clients could have read beyond the whole ones. */
  #fraction = 0

  /** The scheduler must be the hub's own: delays are told on its clock. */
  constructor(hub: Hub, scheduler: Scheduler, topic: string, stateTopic: string, publish: Publish) {
    const now = scheduler.now()
    this.#topic = topic
    this.#scheduler = scheduler
    this.#lastRead = now
    this.#source = new Meter(SOURCE_WINDOW_MS, now)
    this.#clients = policies.map(policy => new SimulatedClient({ hub, topic, policy, now }))
    this.#timers = [
      scheduler.every(READ_MS, () => this.#read()),
      pace(scheduler, { periodMs: PUBLISH_MS }, () => {
        publish(stateTopic, Buffer.from(JSON.stringify(this.state())), 'application/json')
      }),
    ]
  }

  get bytesPerSecond(): number {
    return this.#bytesPerSecond
  }

  setSpeed(bytesPerSecond: number): void {
    this.#read()
    this.#bytesPerSecond = bytesPerSecond
  }

  /** So many bytes were published to the topic that the clients read. */
  published(bytes: number): void {
    this.#source.add(this.#scheduler.now(), bytes)
  }

  state(): SimulationState {
    const now = this.#scheduler.now()
    const mean = this.#source.mean(now)
    return {
      topic: this.#topic,
      bytesPerSecond: this.#bytesPerSecond,
      source: {
        bytesPerSecond: Math.round(this.#source.amountRate(now)),
        messagesPerSecond: Math.round(this.#source.rate(now) * 10) / 10,
      },
      clients: this.#clients.map(client => client.figures(mean)),
    }
  }

  stop(): void {
    for (const timer of this.#timers) timer[Symbol.dispose]()
    for (const client of this.#clients) client.stop()
  }

  #read(): void {
    const now = this.#scheduler.now()
    const allowance = this.#fraction + ((now - this.#lastRead) / 1000) * this.#bytesPerSecond
    const bytes = Math.floor(allowance)
    this.#fraction = allowance - bytes
    this.#lastRead = now
    for (const client of this.#clients) client.advance(now, bytes)
  }
}
