import { answered } from './attempt.ts'
import type { Circuit, Client, CloseReason } from './connection.ts'
import type { ClientId, Seq } from './ids.ts'
import type { Gap } from './message.ts'
import { checkValue, object, oneOf, text } from './options.ts'
import type { Outbox } from './outbox.ts'
import type { PatternOrder } from './pattern-index.ts'
import type { TopicPattern } from './patterns.ts'
import type { DeliveryPolicy } from './policy.ts'
import type { Session } from './sessions.ts'

/** What a client's transport may ask of the manager: one for all clients, for there are many. */
export interface BackEdge {
  drained(client: Registration): void
  send(client: Registration, frame: Uint8Array): boolean
  confirmed(client: Registration, topic: string, seq: Seq): number
  failed(client: Registration, topic: string, seq: Seq): boolean
  untold(client: Registration, gap: Gap): void
  close(client: Registration, reason: CloseReason): void
}

interface Details {
  readonly protocols?: readonly string[]
  readonly session?: Session | undefined
  readonly address?: string | undefined
  readonly restore?: unknown
  readonly internal?: boolean | undefined
}

const circuitRule = oneOf('closed', 'open', 'half-open')
const NOBODY: Session = Object.freeze({})

/** A client in the manager's books, and the handle that its transport holds. */
export class Registration implements Client {
  readonly id: ClientId
  readonly outbox: Outbox
  readonly #protocols: readonly string[] | undefined
  /** Changed by a refresh: of the same user. */
  session: Session
  readonly #address: string | undefined
  /** It is no connection of a peer's, but one that a process opens by itself: a client that is a URL. */
  readonly restorable: boolean
  /** Part of the program itself (RegisterOptions.internal). */
  readonly internal: boolean
  /** On the scheduler's clock, in ms. */
  readonly connectedAt: number
  /** The client's class: wins over the topics' policies. */
  policy: DeliveryPolicy | undefined
  /** When it last took, or confirmed, something that the hub waited for; on the scheduler's clock, in ms. */
  lastSendAt: number | undefined
  /** Its standing orders; made with the first. */
  patterns: Map<TopicPattern, PatternOrder> | undefined
  /** Links that are there for one of them. */
  matched = 0
  readonly #back: BackEdge

  constructor(outbox: Outbox, details: Details, now: number, back: BackEdge) {
    this.id = outbox.id
    this.outbox = outbox
    this.#protocols = details.protocols
    this.session = details.session ?? NOBODY
    this.#address = details.address
    this.restorable = details.restore !== undefined
    this.internal = details.internal === true
    this.connectedAt = now
    this.#back = back
  }

  get protocols(): readonly string[] {
    return this.#protocols ?? [this.outbox.protocol]
  }

  get address(): string | undefined {
    return this.#address ?? this.outbox.ask('address', ({ address }) => answered(address, text, 'address'))
  }

  /** Undefined: it has no breaker. */
  get circuit(): Circuit | undefined {
    return this.outbox.ask('circuit', ({ circuit }) => answered(circuit, circuitRule, 'circuit'))
  }

  get closed(): boolean {
    return this.outbox.condemned
  }

  drained(): void {
    this.#back.drained(this)
  }

  send(frame: Uint8Array): boolean {
    return this.#back.send(this, frame)
  }

  confirmed(topic: string, seq: Seq): number {
    return this.#back.confirmed(this, topic, seq)
  }

  failed(topic: string, seq: Seq): boolean {
    return this.#back.failed(this, topic, seq)
  }

  untold(gap: Gap): void {
    checkValue(gap, object, 'gap')
    this.#back.untold(this, gap)
  }

  close(reason: CloseReason): void {
    this.#back.close(this, reason)
  }

  [Symbol.dispose](): void {
    this.#back.close(this, 'peer')
  }
}
