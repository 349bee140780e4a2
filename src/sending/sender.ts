import { HubError } from '../core/errors.ts'
import type { ClientId } from '../core/ids.ts'
import type { ConnectionManager } from '../core/manager.ts'
import type { Direct } from '../core/parcel.ts'
import { circuitOpen } from '../core/refusals.ts'
import type { Scheduler } from '../core/scheduler.ts'
import type { Operation } from './operation.ts'
import { type Outgoing, prepareOutgoing, type SendOptions } from './outgoing.ts'
import { PendingSend, type SendResult } from './pending-send.ts'

const PING_TIMEOUT_MS = 5000

/** Sends to single clients. Knows every send that is under way, so that a breaker or a shutdown can end them. */
export class Sender {
  readonly #hub: ConnectionManager
  readonly #scheduler: Scheduler
  readonly #operation: Operation
  readonly #maxBytes: number
  readonly #pending = new Map<string, Set<PendingSend>>()

  constructor(hub: ConnectionManager, scheduler: Scheduler, operation: Operation, maxBytes: number) {
    this.#hub = hub
    this.#scheduler = scheduler
    this.#operation = operation
    this.#maxBytes = maxBytes
    hub.events.on('circuit', ({ id, circuit }) => {
      if (circuit === 'open') this.#failAll(id, circuitOpen(id))
    })
  }

  get active(): number {
    return this.#operation.active
  }

  /** Checks and serialises, before anything is sent. Throws INVALID_MESSAGE, MESSAGE_TOO_LARGE, REQUEST_INVALID, SHUTTING_DOWN. */
  prepare(message: unknown, options: SendOptions): Outgoing {
    if (this.#hub.draining) throw new HubError('SHUTTING_DOWN', 'the hub is shutting down')
    return prepareOutgoing(message, options, this.#maxBytes)
  }

  /** Begins one send. `slow`: it is a request that somebody answers, and not just a write. */
  begin(clientId: string, outgoing: Outgoing): { result: Promise<SendResult>; slow: boolean } {
    const { direct, timeoutMs, confirm, signal } = outgoing
    this.#operation.begin()
    const pending = new PendingSend(
      this.#scheduler,
      { id: direct.message.id, timeoutMs, signal },
      (ended, ms, error) => {
        this.#forget(clientId, ended)
        this.#operation.end(ms, error?.code)
      },
    )
    let slow = false
    if (!pending.over) slow = this.#post(clientId, direct, confirm, pending)
    return { result: pending.result, slow }
  }

  #post(clientId: string, direct: Direct, confirm: boolean, pending: PendingSend): boolean {
    try {
      const posted = this.#hub.post(clientId, direct, error => {
        if (error) pending.fail(error)
        else pending.taken(posted.confirms)
      })
      pending.posted(posted, 1)
      this.#remember(clientId, pending)
      if (confirm && !posted.confirms) this.#confirm(clientId, posted, pending)
      return posted.confirms
    } catch (error) {
      pending.fail(error as HubError)
      return false
    }
  }

  /** Behind the message in the same write goes a ping: who answers it has read the message. */
  #confirm(clientId: string, posted: ReturnType<ConnectionManager['post']>, pending: PendingSend): void {
    const asked = this.#hub.ping(clientId, active => {
      if (active) pending.taken(true)
      else
        pending.fail(new HubError('CONNECTION_STALE', `client: ${clientId} has gone before it confirmed the message`))
    })
    if (asked) pending.posted(posted, 2)
  }

  /** See Hub.isActive. */
  isActive(
    clientId: string,
    { timeoutMs = PING_TIMEOUT_MS, signal }: Pick<SendOptions, 'timeoutMs' | 'signal'>,
  ): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        timer[Symbol.dispose]()
        signal?.removeEventListener('abort', abort)
      }
      const answer = (active: boolean): void => {
        end()
        resolve(active)
      }
      const abort = (): void => {
        end()
        reject(new HubError('SEND_ABORTED', 'signal: the caller gave up waiting'))
      }
      const timer = this.#scheduler.after(timeoutMs, () => answer(false))
      signal?.addEventListener('abort', abort, { once: true })
      if (signal?.aborted) abort()
      else this.#ask(clientId, answer)
    })
  }

  #ask(clientId: string, answer: (active: boolean) => void): void {
    try {
      if (!this.#hub.ping(clientId, answer)) answer(true)
    } catch {
      answer(false)
    }
  }

  /** Ends all that is under way. Answers how many that were. */
  abandon(error: HubError): number {
    let count = 0
    for (const id of [...this.#pending.keys()]) count += this.#failAll(id as ClientId, error)
    return count
  }

  #failAll(id: string, error: HubError): number {
    const pending = [...(this.#pending.get(id) ?? [])]
    for (const each of pending) each.fail(error)
    return pending.length
  }

  #remember(clientId: string, pending: PendingSend): void {
    const all = this.#pending.get(clientId)
    if (all) all.add(pending)
    else this.#pending.set(clientId, new Set([pending]))
  }

  #forget(clientId: string, pending: PendingSend): void {
    const all = this.#pending.get(clientId)
    all?.delete(pending)
    if (all?.size === 0) this.#pending.delete(clientId)
  }
}
