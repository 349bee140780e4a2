import type { Client } from '../core/connection.ts'
import { HubError } from '../core/errors.ts'
import type { ConnectionManager } from '../core/manager.ts'
import { readOptions } from '../core/options.ts'
import { departed } from '../core/outbox-items.ts'
import type { Direct } from '../core/parcel.ts'
import { circuitOpen, notConnected } from '../core/refusals.ts'
import type { Scheduler } from '../core/scheduler.ts'
import { Aborts } from '../receiving/aborts.ts'
import { ByClient } from './by-client.ts'
import type { Operation } from './operation.ts'
import { IS_ACTIVE_OPTIONS, type Outgoing, prepareOutgoing, type SendOptions } from './outgoing.ts'
import { PendingSend, type SendResult } from './pending-send.ts'

const PING_TIMEOUT_MS = 5000

/** Sends to single clients. Knows every send that is under way, so that a breaker or a shutdown can end them. */
export class Sender {
  readonly #hub: ConnectionManager
  readonly #scheduler: Scheduler
  readonly #operation: Operation
  readonly #maxBytes: number
  readonly #pending = new ByClient<PendingSend>()
  /** Who asks whether a client is there. */
  readonly #questions = new ByClient<(active: boolean) => void>()
  readonly #aborts = new Aborts<{ fail(error: HubError): void }>(one => one.fail(aborted()))
  /** Sends that have ended, whatever came of them. */
  ended = 0
  /** Why nothing is begun any more. */
  #over: HubError | undefined

  constructor(hub: ConnectionManager, scheduler: Scheduler, operation: Operation, maxBytes: number) {
    this.#hub = hub
    this.#scheduler = scheduler
    this.#operation = operation
    this.#maxBytes = maxBytes
    hub.events.on('circuit', ({ id, client, circuit }) => {
      if (circuit === 'open') this.#failAll(client, circuitOpen(id))
    })
    // What its transport had not taken has failed by now; what it had taken will not be confirmed any more.
    hub.events.on('unregister', ({ id, client, reason }) => {
      // Most have nothing under way, and an error is dear: it keeps its stack.
      if (this.#pending.has(client)) this.#failAll(client, departed(id, reason))
      for (const answer of this.#questions.of(client)) answer(false)
    })
  }

  /**
   * Checks and serialises, before anything is sent. Throws INVALID_MESSAGE, MESSAGE_TOO_LARGE, REQUEST_INVALID,
   * SHUTTING_DOWN.
   */
  prepare(message: unknown, options: SendOptions): Outgoing {
    if (this.#hub.draining) throw new HubError('SHUTTING_DOWN', 'the hub is shutting down')
    return prepareOutgoing(message, options, this.#maxBytes)
  }

  /** Begins one send. `slow`: it is a request that has an answer, and not just a write. */
  begin(clientId: string, outgoing: Outgoing): { result: Promise<SendResult>; slow: boolean } {
    const { direct, timeoutMs, confirm, signal } = outgoing
    this.#operation.begin()
    const client = this.#hub.handleOf(clientId)
    const pending = new PendingSend(this.#scheduler, { id: direct.message.id, timeoutMs }, (ended, ms, error) => {
      this.ended++
      if (client) this.#pending.delete(client, ended)
      if (signal) this.#aborts.delete(signal, ended)
      this.#operation.end(ms, error?.code)
    })
    if (this.#over) pending.fail(this.#over)
    else if (signal) this.#aborts.add(signal, pending)
    if (client === undefined) pending.fail(notConnected(clientId))
    const slow = client !== undefined && !pending.over && this.#post(client, direct, confirm, pending)
    return { result: pending.result, slow }
  }

  #post(client: Client, direct: Direct, confirm: boolean, pending: PendingSend): boolean {
    const { id: clientId } = client
    try {
      const posted = this.#hub.post(clientId, direct, error => {
        if (error) pending.fail(error)
        else pending.taken(posted.confirms)
      })
      pending.posted(posted, 1)
      this.#pending.add(client, pending)
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
  isActive(clientId: string, options: Pick<SendOptions, 'timeoutMs' | 'signal'>): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const { timeoutMs = PING_TIMEOUT_MS, signal } = readOptions(options, IS_ACTIVE_OPTIONS, 'isActive')
      const client = this.#hub.handleOf(clientId)
      const end = (): void => {
        timer[Symbol.dispose]()
        if (client) this.#questions.delete(client, answer)
        if (signal) this.#aborts.delete(signal, question)
      }
      const answer = (active: boolean): void => {
        end()
        resolve(active)
      }
      const question = {
        fail(error: HubError): void {
          end()
          reject(error)
        },
      }
      const timer = this.#scheduler.after(timeoutMs, () => answer(false))
      if (client) this.#questions.add(client, answer)
      if (signal) this.#aborts.add(signal, question)
      if (!signal?.aborted) this.#ask(clientId, answer)
    })
  }

  #ask(clientId: string, answer: (active: boolean) => void): void {
    try {
      if (!this.#hub.ping(clientId, answer)) answer(true)
    } catch {
      answer(false)
    }
  }

  /** Is something under way to this client? */
  owes(clientId: string): boolean {
    const client = this.#hub.handleOf(clientId)
    return client !== undefined && this.#pending.has(client)
  }

  /** Ends all that is under way, and what a broadcast has yet to begin. Answers how many were under way. */
  abandon(error: HubError): number {
    this.#over = error
    const { all } = this.#pending
    for (const pending of all) pending.fail(error)
    return all.length
  }

  #failAll(client: Client, error: HubError): void {
    for (const pending of this.#pending.of(client)) pending.fail(error)
  }
}

function aborted(): HubError {
  return new HubError('SEND_ABORTED', 'signal: the caller gave up waiting; the message may still arrive')
}
