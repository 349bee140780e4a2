import type { CloseReason } from '../../core/connection.ts'
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
import { SocketConnection, type SocketPair, socketPair } from './socket-connection.ts'

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

export interface SimulationOptions {
  readonly hub: Hub
  /** The hub's own: delays are told on its clock. */
  readonly scheduler: Scheduler
  /** What the clients read. */
  readonly topic: string
  /** Where the figures are published. */
  readonly stateTopic: string
  readonly publish: Publish
  /** For one more client, whose network is not simulated. Default: no such client. */
  readonly pair?: SocketPair | undefined
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
  /** For the next connection of the client whose network is not simulated. */
  #pair: SocketPair | undefined
  #stopped = false

  constructor({ hub, scheduler, topic, stateTopic, publish, pair }: SimulationOptions) {
    const now = scheduler.now()
    this.#topic = topic
    this.#scheduler = scheduler
    this.#lastRead = now
    this.#source = new Meter(SOURCE_WINDOW_MS, now)
    const clients = policies.map(policy => new SimulatedClient({ hub, topic, policy, now }))
    this.#pair = pair
    if (pair) {
      const connect = (onClose: (reason: CloseReason) => void) => this.#connect(onClose)
      clients.push(new SimulatedClient({ hub, topic, policy: latest(), now, connect }))
    }
    this.#clients = clients
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

  /** The pair that is there, or a new one for the next attempt. */
  #connect(onClose: (reason: CloseReason) => void): SocketConnection | undefined {
    const pair = this.#pair
    this.#pair = undefined
    if (pair) return new SocketConnection(pair, onClose)
    socketPair().then(
      made => this.#keep(made),
      () => {},
    )
    return undefined
  }

  #keep(pair: SocketPair): void {
    if (this.#stopped || this.#pair) discard(pair)
    else this.#pair = pair
  }

  stop(): void {
    this.#stopped = true
    if (this.#pair) discard(this.#pair)
    this.#pair = undefined
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

function discard({ socket, peer }: SocketPair): void {
  socket.destroy()
  peer.socket.destroy()
}
