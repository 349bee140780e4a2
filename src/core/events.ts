import { EventEmitter } from 'eventemitter3'
import type { CloseReason } from './connection.ts'
import type { ClientId, TopicName } from './ids.ts'
import type { Gap } from './message.ts'

/**
 * What happened, for hooks. Emitted when the state is already changed, never while a set is walked, so a handler may call
 * anything on the hub. Never once per message.
 */
export interface HubEvents {
  register: [client: { id: ClientId; protocol: string }]
  unregister: [client: { id: ClientId; protocol: string; reason: CloseReason }]
  subscribe: [subscription: { id: ClientId; topic: TopicName }]
  unsubscribe: [subscription: { id: ClientId; topic: TopicName }]
  /** A loss was told to the client, or would have been if its protocol could carry the notice. */
  gap: [loss: { id: ClientId; gap: Gap; policy: string }]
  /** A handler, a policy or a broker threw. Unheard, it goes nowhere: give the hub a listener. */
  fault: [fault: { error: unknown; where: string }]
}

type Listener<E extends keyof HubEvents> = (...args: HubEvents[E]) => void

/** A typed emitter of which no listener can hurt the hub or another listener. */
export class Events {
  readonly #emitter = new EventEmitter()

  on<E extends keyof HubEvents>(event: E, listener: Listener<E>): this {
    this.#emitter.on(event, listener as (...args: unknown[]) => void)
    return this
  }

  off<E extends keyof HubEvents>(event: E, listener: Listener<E>): this {
    this.#emitter.off(event, listener as (...args: unknown[]) => void)
    return this
  }

  has(event: keyof HubEvents): boolean {
    return this.#emitter.listenerCount(event) > 0
  }

  /** A listener that throws, or returns a promise that rejects, is told as a fault; the others still run. */
  emit<E extends keyof HubEvents>(event: E, ...args: HubEvents[E]): void {
    if (!this.has(event)) return
    // Not emitter.emit(): it would stop at the first listener that throws.
    let failed: { error: unknown } | undefined
    for (const listener of this.#emitter.listeners(event)) {
      try {
        const result = (listener as (...args: unknown[]) => unknown)(...args)
        if (result instanceof Promise) result.catch(error => this.#fault(error, event))
      } catch (error) {
        failed ??= { error }
      }
    }
    if (failed) this.#fault(failed.error, event)
  }

  #fault(error: unknown, event: keyof HubEvents): void {
    if (event !== 'fault') this.emit('fault', { error, where: `listener of '${event}'` })
  }
}
