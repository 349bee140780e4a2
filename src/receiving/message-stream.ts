import { randomUUID } from 'node:crypto'
import { attempt } from '../core/attempt.ts'
import type { SubscribeOptions } from '../core/contract.ts'
import { HubError } from '../core/errors.ts'
import type { Position } from '../core/ids.ts'
import type { ConnectionManager } from '../core/manager.ts'
import type { Gap } from '../core/message.ts'
import { isPattern } from '../core/patterns.ts'
import { Aborts } from './aborts.ts'
import { InProcessConnection } from './in-process.ts'
import type { ReceivedMessage } from './received-message.ts'

export interface StreamOptions extends Pick<SubscribeOptions, 'after' | 'policy'> {
  /** Ends the stream: the loop over it ends without an error. */
  readonly signal?: AbortSignal | undefined
  /**
   * Told of messages that this stream will never get, in their place between the messages. `gap.count` is their number,
   * null where nobody knows it. An error that it throws, or rejects with, is a fault.
   */
  readonly onGap?: ((gap: Gap) => void) | undefined
}

/** Messages inside the program, as `for await` takes them. */
export interface MessageStream extends AsyncIterableIterator<ReceivedMessage, undefined, undefined>, AsyncDisposable {
  /** Everything after this position comes, or is told as a gap. Undefined for a pattern. */
  readonly position: Position | undefined
  /** `after` was found, and everything after it was still there. */
  readonly recovered: boolean
  next(): Promise<IteratorResult<ReceivedMessage, undefined>>
  /** Ends it, as `break` does. */
  return(): Promise<IteratorReturnResult<undefined>>
}

const DONE = { value: undefined, done: true } as const

/**
 * Subscribes the program to a topic or a pattern, as a client of the protocol `in-process`. Throws TOPIC_INVALID,
 * TOPIC_UNKNOWN, POLICY_DENIED, LIMIT_EXCEEDED, REQUEST_INVALID, SHUTTING_DOWN.
 */
export function openStream(hub: ConnectionManager, topic: string, options: StreamOptions): MessageStream {
  return new InProcessStream(hub, topic, options)
}

const aborts = new Aborts<InProcessStream>(stream => void stream.return())

class InProcessStream implements MessageStream {
  readonly position: Position | undefined
  readonly recovered: boolean
  readonly #connection: InProcessConnection
  readonly #topic: string
  readonly #signal: AbortSignal | undefined
  /** Calls of `next` are answered in their order. */
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0
  #ended = false

  constructor(hub: ConnectionManager, topic: string, { after, policy, signal, onGap }: StreamOptions) {
    this.#topic = topic
    this.#signal = signal
    const failed = (error: unknown): void =>
      void hub.events.emit('fault', { error, where: `onGap of a stream of ${topic}` })
    // An async function, because onGap may return a promise of another library.
    this.#connection = new InProcessConnection(gap => attempt(async () => onGap?.(gap), failed))
    const client = hub.registerClient(`in-process-${randomUUID()}`, this.#connection, { internal: true })
    this.#connection.bind(client)
    try {
      if (isPattern(topic)) {
        hub.subscribePattern(client.id, topic, { after, policy })
        this.recovered = false
      } else {
        const { position, recovered } = hub.subscribe(client.id, topic, { after, policy })
        this.position = position
        this.recovered = recovered
      }
    } catch (error) {
      client.close('peer')
      throw error
    }
    if (signal) aborts.add(signal, this)
  }

  next(): Promise<IteratorResult<ReceivedMessage, undefined>> {
    const message = this.#waiting === 0 && !this.#ended ? this.#connection.take() : undefined
    if (message !== undefined) return Promise.resolve({ value: message, done: false })
    this.#waiting++
    const next = this.#last.then(() => this.#wait())
    this.#last = next.then(
      () => this.#waiting--,
      () => this.#waiting--,
    )
    return next
  }

  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#end()
    return DONE
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end()
  }

  async #wait(): Promise<IteratorResult<ReceivedMessage, undefined>> {
    while (!this.#ended) {
      const message = this.#connection.take()
      if (message !== undefined) return { value: message, done: false }
      const { closed } = this.#connection
      if (closed === undefined) {
        await this.#connection.arrival()
        continue
      }
      this.#end()
      // The hub was closed: there is nothing more. Everything else is a loss that the consumer must hear of.
      if (closed !== 'shutdown')
        throw new HubError('CONNECTION_STALE', `stream: the hub ended it (${closed}); ${this.#topic}`)
    }
    return DONE
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    if (this.#signal) aborts.delete(this.#signal, this)
    this.#connection.end()
  }
}
