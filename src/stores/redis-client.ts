import { type Cluster, Redis } from 'ioredis'
import { HubError } from '../core/errors.ts'
import { within } from '../event-loop.ts'

/** The way to Redis: a client, and whose it is. */
export interface RedisAccess {
  readonly client: Redis | Cluster
  /** Resolves when a command may be sent; rejects with what the driver says where it would wait for a connection. */
  usable(): Promise<void>
  close(): Promise<void>
}

/** Somebody else's: its own options say what becomes of commands while Redis is away, and it outlives the store. */
export function lentClient(client: Redis | Cluster): RedisAccess {
  return { client, usable: async () => {}, close: async () => {} }
}

/** Our own. Nothing waits in it but for the first connection, so that what waits while Redis is away has an end. */
export function ownClient(url: string, timeoutMs: number): RedisAccess {
  const client = new Redis(checkedUrl(url), {
    enableOfflineQueue: false,
    // What is under way when the connection ends is rejected at once, and so not sent again on the next.
    maxRetriesPerRequest: 0,
    connectTimeout: timeoutMs,
    // A server that takes commands and answers none: without this they would pile up in the driver.
    socketTimeout: timeoutMs,
    // After a goodbye that nobody answered. The process cannot end before.
    disconnectTimeout: 100,
    retryStrategy: reconnectDelay,
  })
  let fault = new Error('Connection is closed.')
  // Whoever calls is told; without a listener the driver would print it.
  client.on('error', error => {
    fault = error
  })
  const tried = new Promise<void>(resolve => {
    client.once('ready', resolve)
    client.once('close', resolve)
  })
  let closed = false
  async function usable(): Promise<void> {
    await tried
    if (closed || client.status !== 'ready') throw fault
  }
  async function hangUp(): Promise<void> {
    // On the same way as every command, so that those asked for before are sent and answered before.
    const goodbye = usable().then(() => client.quit())
    await answerWithin(timeoutMs, goodbye).catch(() => {})
    closed = true
    client.disconnect()
  }
  let closing: Promise<void> | undefined
  return {
    client,
    usable,
    close() {
      closing ??= hangUp()
      return closing
    },
  }
}

/** Half of it by chance, so that the nodes do not all come back in the same moment. In ms. */
function reconnectDelay(attempt: number): number {
  const limit = Math.min(2000, 50 * 2 ** Math.min(attempt, 10))
  return limit / 2 + Math.random() * (limit / 2)
}

export async function answerWithin<T>(ms: number, answer: Promise<T>): Promise<T> {
  return within(ms, signal => {
    const late = new Promise<never>((_, reject) => {
      const message = `Redis did not answer within timeoutMs (${ms} ms). What was asked may still be done.`
      signal.addEventListener('abort', () => reject(new HubError('STORE_UNAVAILABLE', message)))
    })
    return Promise.race([answer, late])
  })
}

/** The driver takes any other text for a path. The text may hold a password: it is not repeated. */
function checkedUrl(url: string): string {
  if (/^rediss?:\/\//.test(url)) return url
  throw new HubError('CONFIG_INVALID', 'url: must begin with redis:// or rediss://. For anything else give a client.')
}
