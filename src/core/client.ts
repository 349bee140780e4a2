import type { Client, CloseReason } from './connection.ts'
import type { ClientId } from './ids.ts'
import type { Outbox } from './outbox.ts'
import type { DeliveryPolicy } from './policy.ts'
import type { Session } from './sessions.ts'

interface BackEdge {
  drained(): void
  send(frame: Uint8Array): boolean
  close(reason: CloseReason): void
}

interface Details {
  readonly protocols?: readonly string[]
  readonly session?: Session
  readonly address?: string | undefined
}

/** A client in the manager's books, and the handle that its transport holds. */
export class Registration implements Client {
  readonly id: ClientId
  readonly outbox: Outbox
  readonly protocols: readonly string[]
  readonly session: Session
  readonly address: string | undefined
  /** On the scheduler's clock, in ms. */
  readonly connectedAt: number
  /** The client's class: wins over the topics' policies. */
  policy: DeliveryPolicy | undefined
  readonly #back: BackEdge

  constructor(outbox: Outbox, details: Details, now: number, back: BackEdge) {
    const { id, connection } = outbox
    this.id = id
    this.outbox = outbox
    this.protocols = details.protocols ?? [connection.protocol]
    this.session = details.session ?? {}
    this.address = details.address
    this.connectedAt = now
    this.#back = back
  }

  get closed(): boolean {
    return this.outbox.condemned
  }

  drained(): void {
    this.#back.drained()
  }

  send(frame: Uint8Array): boolean {
    return this.#back.send(frame)
  }

  close(reason: CloseReason): void {
    this.#back.close(reason)
  }

  [Symbol.dispose](): void {
    this.#back.close('peer')
  }
}
