import { EventEmitter } from 'eventemitter3'
import type { Circuit, Client, CloseReason } from './connection.ts'
import type { ClientId, TopicName } from './ids.ts'
import type { Gap } from './message.ts'
import { callable, checkValue, oneOf } from './options.ts'
import type { TopicPattern } from './patterns.ts'
import type { Session } from './sessions.ts'

/**
 * What happened, for hooks. Emitted when the state is already changed, never while a set is walked, so a handler may
 * call anything on the hub. Every listener sees all events in the order in which they happened. An id may belong to
 * another client by the time a listener runs: `client` says which one the event is about, and `client.closed` whether
 * that one has ended since. Never once per message.
 */
export interface HubEvents {
  register: [client: { id: ClientId; client: Client; protocol: string; user: string | undefined; restore: unknown }]
  unregister: [client: { id: ClientId; client: Client; protocol: string; reason: CloseReason }]
  /** `pattern`: the client did not name the topic, but this. */
  subscribe: [subscription: { id: ClientId; client: Client; topic: TopicName; pattern?: TopicPattern }]
  /** An existing subscription has another policy wish. */
  wish: [subscription: { id: ClientId; topic: TopicName }]
  unsubscribe: [subscription: { id: ClientId; client: Client; topic: TopicName }]
  /** A client subscribed or unsubscribed by pattern. `subscribe` and `unsubscribe` tell the topics that it matches. */
  subscribePattern: [order: { id: ClientId; pattern: TopicPattern }]
  unsubscribePattern: [order: { id: ClientId; pattern: TopicPattern }]
  /** A client brought a newer token. */
  session: [change: { id: ClientId; session: Session }]
  /**
   * A loss was told to the client, or would have been if its protocol could carry the notice. Once for each loss: where
   * the client refuses the notice and gets it again, together with later losses, `gap.count` has only the later ones,
   * and `from` to `to` spans all of them.
   */
  gap: [loss: { id: ClientId; gap: Gap; policy: string }]
  /** A request to a client that is a URL failed and is made again in `waitMs`. */
  retry: [retry: RequestFailure & { waitMs: number }]
  /** A message to a client that is a URL was given up. */
  undelivered: [failure: RequestFailure]
  /** The circuit breaker of a client that is a URL. */
  circuit: [change: { id: ClientId; client: Client; circuit: Circuit; why: string | undefined }]
  /** Code that is not the hub's threw, or its promise rejected. It is told here and nowhere else. */
  fault: [fault: { error: unknown; where: string }]
}

/** One request that failed. `why` is one phrase, without anything that the receiver said. */
export interface RequestFailure {
  readonly id: ClientId
  /** Of the message: the same for all its attempts. */
  readonly messageId: string
  readonly topic: string | undefined
  readonly correlationId: string | undefined
  /** Attempts so far. */
  readonly attempts: number
  readonly why: string
}

/** The names of all events, for a check at run time. The type makes the list complete. */
const NAMES: Readonly<Record<keyof HubEvents, true>> = {
  register: true,
  unregister: true,
  subscribe: true,
  wish: true,
  unsubscribe: true,
  subscribePattern: true,
  unsubscribePattern: true,
  session: true,
  gap: true,
  retry: true,
  undelivered: true,
  circuit: true,
  fault: true,
}

const eventName = oneOf(...Object.keys(NAMES))

/**
 * Throws REQUEST_INVALID for an unknown event, whose listener would never be called, and for a listener that is not a
 * function.
 */
function checkListener(event: unknown, listener: unknown): void {
  checkValue(event, eventName, 'event')
  checkValue(listener, callable, `the listener of "${event}"`)
}

interface Emitted {
  readonly event: keyof HubEvents
  readonly args: HubEvents[keyof HubEvents]
}

/** A typed emitter. A listener that throws affects neither the hub nor another listener. */
export class Events extends EventEmitter<HubEvents> {
  /** Emitted and not yet delivered, oldest first. */
  #queue: Emitted[] = []
  /** Number of changes under way; a delivery counts as one. Events wait while there are any. */
  #holds = 0

  /**
   * An event that a listener causes is delivered after the current one, so that all listeners see the same order. A
   * listener that throws, or returns a promise that rejects, is told as a fault; the others still run.
   */
  override emit<E extends keyof HubEvents>(event: E, ...args: HubEvents[E]): boolean {
    if (this.#holds > 0) this.#queue.push({ event, args })
    else this.together(() => this.#deliver(event, args))
    return this.listenerCount(event) > 0
  }

  /**
   * Delivers what `change` emits once it is done, so that no listener comes between the events of one change. Answers
   * what it answers.
   */
  together<T>(change: () => T): T {
    checkValue(change, callable, 'change')
    this.#holds++
    try {
      return change()
    } finally {
      if (this.#holds === 1 && this.#queue.length > 0) {
        for (const { event, args } of this.#queue) this.#deliver(event, args)
        this.#queue = []
      }
      this.#holds--
    }
  }

  #deliver<E extends keyof HubEvents>(event: E, args: HubEvents[E]): void {
    for (const listener of this.listeners(event) as unknown as ((...args: HubEvents[E]) => unknown)[]) {
      try {
        const result = listener(...args)
        if (result instanceof Promise) result.catch(error => this.#failed(event, error))
      } catch (error) {
        this.#failed(event, error)
      }
    }
  }

  #failed(event: keyof HubEvents, error: unknown): void {
    if (event !== 'fault') this.emit('fault', { error, where: `listener of '${event}'` })
  }

  /** Throws REQUEST_INVALID for an unknown event. */
  override on<E extends keyof HubEvents>(event: E, listener: (...args: HubEvents[E]) => void): this {
    checkListener(event, listener)
    return super.on(event, listener as never)
  }

  override addListener<E extends keyof HubEvents>(event: E, listener: (...args: HubEvents[E]) => void): this {
    return this.on(event, listener)
  }

  /** Not `super.once`: its mark on the listener is lost above. */
  override once<E extends keyof HubEvents>(event: E, listener: (...args: HubEvents[E]) => void): this {
    checkListener(event, listener)
    const first = (...args: HubEvents[E]): void => {
      this.off(event, first as never)
      listener(...args)
    }
    return this.on(event, first as never)
  }
}
