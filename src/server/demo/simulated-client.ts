import type { Client, CloseReason } from '../../core/connection.ts'
import { HubError } from '../../core/errors.ts'
import type { Gap } from '../../core/message.ts'
import type { DeliveryPolicy, PolicyDescription } from '../../core/policy.ts'
import type { Hub } from '../../hub.ts'
import { Meter } from './meter.ts'
import { type DemoConnection, SimulatedConnection } from './simulated-connection.ts'

/** Bytes that the simulated network path takes before the hub has to wait. */
export const WINDOW_BYTES = 16 * 1024
/** How long a client that was disconnected stays away, in ms. */
export const RECONNECT_MS = 2000
const RATE_WINDOW_MS = 3000

export interface SimulatedClientOptions {
  readonly hub: Hub
  readonly topic: string
  readonly policy: DeliveryPolicy
  /** On the hub's own clock, in ms. */
  readonly now: number
  /** A real socket in place of the simulated network; undefined while there is none yet. */
  readonly connect?: (onClose: (reason: CloseReason) => void) => DemoConnection | undefined
}

/** What is shown of a simulated client. Counts are since the demo started, over all its connections. */
export interface SimulatedFigures {
  readonly policy: PolicyDescription
  /** What lies between the hub and the reader. */
  readonly network: 'simulated' | 'socket'
  readonly state: 'connected' | 'disconnected'
  /** Why its last connection ended, if one did. */
  readonly closedFor: CloseReason | null
  /** How old what it reads is, in ms; null before its first message and while disconnected. */
  readonly delayMs: number | null
  readonly received: number
  readonly receivedPerSecond: number
  /** Messages published while it was subscribed that it never gets. */
  readonly dropped: number
  /** Notices of loss that it has read, and the messages they stand for by reason. */
  readonly gaps: { readonly told: number; readonly messages: Readonly<Partial<Record<Gap['reason'], number>>> }
  /** Dropped without a notice, because the connection ended: what waited and what was under way. */
  readonly lostOnDisconnect: number
  /** Messages that wait in the hub. */
  readonly waiting: number
  /** Bytes that its connection holds, and those of the messages that wait (estimated from their mean size). */
  readonly queuedBytes: number
  readonly disconnects: number
}

/**
 * A real client of the hub at the end of a simulated connection. It has no timer of its own: `advance` is called every
 * few milliseconds, reads as much as its speed allows, and reconnects when it is time.
 */
export class SimulatedClient {
  readonly #options: SimulatedClientOptions
  readonly #id: string
  #connection: DemoConnection | undefined
  #client: Client | undefined
  /** The topic's sequence number when this connection subscribed. */
  #base = 0
  #receivedHere = 0
  #toldHere = 0
  #droppedBefore = 0
  #lostOnDisconnect = 0
  #received = 0
  #rate: Meter
  #delay: number | undefined
  #gapsTold = 0
  #gapMessages: Partial<Record<Gap['reason'], number>> = {}
  #disconnects = 0
  #closedFor: CloseReason | null = null
  #retryAt = 0
  #now: number
  #stopped = false

  constructor(options: SimulatedClientOptions) {
    this.#options = options
    this.#id = `${options.connect ? 'socket' : 'simulated'}-${nameOf(options.policy)}`
    this.#now = options.now
    this.#rate = new Meter(RATE_WINDOW_MS, options.now)
    this.#connect()
  }

  /** The time is now `now`, and since the last call the reader could take so many bytes. */
  advance(now: number, bytes: number): void {
    this.#now = now
    const connection = this.#connection
    if (connection === undefined) {
      if (now >= this.#retryAt) this.#connect()
      return
    }
    for (const arrival of connection.read(bytes)) {
      if (arrival.kind === 'message') this.#take(arrival.at)
      else this.#takeGap(arrival.gap)
    }
    if (connection.takeDrained()) this.#client?.drained()
  }

  figures(meanMessageBytes: number): SimulatedFigures {
    const { hub, topic, policy, connect } = this.#options
    const subscription = hub.getSubscription(this.#id, topic)
    const pending = subscription?.pending ?? 0
    const waiting = policy.backlog.kind === 'newest' ? Math.min(1, pending) : pending
    return {
      policy: policy.describe(),
      network: connect ? 'socket' : 'simulated',
      state: this.#connection ? 'connected' : 'disconnected',
      closedFor: this.#closedFor,
      delayMs: this.#delayNow(),
      received: this.#received,
      receivedPerSecond: Math.round(this.#rate.rate(this.#now) * 10) / 10,
      dropped: this.#droppedBefore + (subscription?.dropped ?? 0),
      gaps: { told: this.#gapsTold, messages: { ...this.#gapMessages } },
      lostOnDisconnect: this.#lostOnDisconnect,
      waiting,
      queuedBytes: Math.round((this.#connection?.unacknowledged() ?? 0) + waiting * meanMessageBytes),
      disconnects: this.#disconnects,
    }
  }

  /** Leaves for good. */
  stop(): void {
    this.#stopped = true
    this.#client?.close('peer')
  }

  /** While a message is on its way its delay is still growing; a stalled reader must not look fresh. */
  #delayNow(): number | null {
    if (this.#connection === undefined) return null
    const reading = this.#connection.reading
    const growing = reading === undefined ? 0 : this.#now - reading
    if (this.#delay === undefined && reading === undefined) return null
    return Math.round(Math.max(this.#delay ?? 0, growing))
  }

  #connect(): void {
    const { hub, topic, policy, connect } = this.#options
    this.#retryAt = this.#now + RECONNECT_MS
    const ended = (reason: CloseReason) => this.#ended(reason)
    const connection: DemoConnection | undefined = connect
      ? connect(ended)
      : new SimulatedConnection(WINDOW_BYTES, ended)
    if (connection === undefined) return
    try {
      this.#client = hub.registerClient(this.#id, connection)
      connection.bind?.(this.#client)
    } catch (error) {
      connection.close('denied')
      // Full, or closing: it tries again like any client.
      if (error instanceof HubError) return
      throw error
    }
    this.#base = hub.subscribe(this.#id, topic, { policy }).position.seq
    this.#connection = connection
    this.#receivedHere = 0
    this.#toldHere = 0
    this.#delay = undefined
  }

  /** Everything published since it subscribed and not read is lost to it: what was under way as well. */
  #ended(reason: CloseReason): void {
    // It was never registered.
    if (this.#connection === undefined) return
    const { hub, topic } = this.#options
    const published = (hub.getTopic(topic)?.published ?? this.#base) - this.#base
    const lost = published - this.#receivedHere
    this.#droppedBefore += lost
    this.#lostOnDisconnect += lost - this.#toldHere
    this.#connection = undefined
    this.#client = undefined
    this.#closedFor = reason
    this.#retryAt = this.#stopped || reason === 'shutdown' ? Number.POSITIVE_INFINITY : this.#now + RECONNECT_MS
    if (!this.#stopped) this.#disconnects++
  }

  #take(at: number): void {
    this.#received++
    this.#receivedHere++
    this.#delay = this.#now - at
    this.#rate.add(this.#now)
  }

  #takeGap({ count, reason }: Gap): void {
    this.#gapsTold++
    this.#toldHere += count ?? 0
    this.#gapMessages[reason] = (this.#gapMessages[reason] ?? 0) + (count ?? 0)
  }
}

/** `buffered` comes twice, with another end. */
function nameOf(policy: DeliveryPolicy): string {
  const { backlog, name } = policy
  const suffix = name === 'buffered' && backlog.kind === 'log' ? `-${backlog.overflow}` : ''
  return (name + suffix).replaceAll('+', '-')
}
