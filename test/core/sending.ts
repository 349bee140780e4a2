import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { HubError } from '../../src/core/errors.ts'
import { createHub, type Hub, type HubOptions } from '../../src/hub.ts'
import type { SendOptions } from '../../src/sending/outgoing.ts'
import type { SendResult } from '../../src/sending/pending-send.ts'
import { FakeConnection, type FakeConnectionOptions, FakeRequestConnection } from '../../src/testing/fake-connection.ts'
import { ManualScheduler } from '../../src/testing/manual-scheduler.ts'

/** What was heard of a promise so far. */
export interface Heard<T> {
  result: T | undefined
  error: HubError | undefined
  /** How often it ended: 0 or 1. */
  ends: number
}

export function heard<T>(promise: Promise<T>): Heard<T> {
  const seen: Heard<T> = { result: undefined, error: undefined, ends: 0 }
  promise.then(
    result => Object.assign(seen, { result, ends: seen.ends + 1 }),
    (error: HubError) => Object.assign(seen, { error, ends: seen.ends + 1 }),
  )
  return seen
}

/** All of it, now: Node has no switch for that at run time but this. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  ;(runInNewContext('gc') as () => void)()
}

/** Lets everything that promises have to say be heard. */
export const listen = (): Promise<void> => new Promise(resolve => void setImmediate(resolve))

export interface SendingWorld {
  readonly scheduler: ManualScheduler
  readonly hub: Hub
  readonly faults: unknown[]
  connect(id: string, options?: FakeConnectionOptions): FakeConnection
  /** A client that is asked by requests, as one that is a URL. */
  receiver(id: string, options?: FakeConnectionOptions): FakeRequestConnection
  publish(topic: string, text?: string): void
  send(id: string, message?: unknown, options?: SendOptions): Heard<SendResult>
  /** What is kept for single clients and in all. */
  kept(): { queued: number; kept: number }
}

export function sendingWorld(options: HubOptions = {}): SendingWorld {
  const scheduler = new ManualScheduler()
  const hub = createHub({ scheduler, ...options })
  const faults: unknown[] = []
  hub.events.on('fault', ({ error }) => faults.push(error))
  const register = <C extends FakeConnection>(id: string, connection: C): C => {
    connection.client = hub.registerClient(id, connection)
    return connection
  }
  return {
    scheduler,
    hub,
    faults,
    connect: (id, fake) => register(id, new FakeConnection(fake)),
    receiver: (id, fake) => register(id, new FakeRequestConnection(fake)),
    publish: (topic, text = 'x') => void hub.routeData(topic, new TextEncoder().encode(text)),
    send: (id, message = 'hello', sendOptions) => heard(hub.send(id, message, sendOptions)),
    kept() {
      const { queuedBytes: queued, keptBytes: kept } = hub.getConnectionStats()
      return { queued, kept }
    },
  }
}
