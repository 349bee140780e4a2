import { randomUUID } from 'node:crypto'
import { setMaxListeners } from 'node:events'
import { HubError } from '../core/errors.ts'
import type { ClientId } from '../core/ids.ts'
import type { ConnectionManager } from '../core/manager.ts'
import { Direct } from '../core/parcel.ts'
import { circuitOpen } from '../core/refusals.ts'
import type { Scheduler } from '../core/scheduler.ts'
import type { Operation } from './operation.ts'
import { PendingSend, type SendResult } from './pending-send.ts'
import { serialize } from './serialize.ts'

export interface SendOptions {
  /** Default: by the message: bytes, text or JSON. */
  readonly contentType?: string | undefined
  /** The same for the same message, if you may send it twice: a receiver that is a URL gets it as its idempotency key. Default: random. */
  readonly id?: string | undefined
  /** In requests, their retries and their log lines. */
  readonly correlationId?: string | undefined
  /** true: wait until the peer has said that it has it, where its protocol can say. */
  readonly confirm?: boolean | undefined
  /** How long to wait, in ms. Default 30,000. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export const DEFAULT_SEND_TIMEOUT_MS = 30_000
const PING_TIMEOUT_MS = 5000
/** Of an id or a correlation id: they become headers. */
const MAX_KEY_LENGTH = 255
const KEY = /^[\x21-\x7e]+$/

/** A message ready for any number of clients, and how each of them is waited for. */
export interface Outgoing {
  readonly direct: Direct
  readonly timeoutMs: number
  readonly confirm: boolean
  readonly signal: AbortSignal | undefined
}

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
    const { payload, contentType } = serialize(message, options.contentType)
    if (payload.byteLength > this.#maxBytes) {
      throw new HubError(
        'MESSAGE_TOO_LARGE',
        `message: ${payload.byteLength} bytes are more than the ${this.#maxBytes} that one message may have`,
      )
    }
    const id = checkKey('id', options.id) ?? randomUUID()
    const direct = new Direct({
      id,
      payload,
      contentType,
      correlationId: checkKey('correlationId', options.correlationId),
    })
    const { timeoutMs = DEFAULT_SEND_TIMEOUT_MS, confirm = false, signal } = options
    // One signal may end thousands of sends.
    if (signal) setMaxListeners(0, signal)
    return { direct, timeoutMs, confirm, signal }
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

function checkKey(field: 'id' | 'correlationId', value: string | undefined): string | undefined {
  if (value === undefined || (value.length <= MAX_KEY_LENGTH && KEY.test(value))) return value
  throw new HubError(
    'REQUEST_INVALID',
    `${field}: it is 1 to ${MAX_KEY_LENGTH} printable ASCII characters without spaces`,
  )
}
