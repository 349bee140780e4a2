import type { Cluster, Redis } from 'ioredis'
import { z } from 'zod'
import { HubError } from '../core/errors.ts'
import { callable, having, period, type Rules, readOptions, text } from '../core/options.ts'
import type { ConnectionRecord, ConnectionStore, ConnectionTouch } from './connection-store.ts'
import { answerWithin, lentClient, ownClient, type RedisAccess } from './redis-client.ts'
import { type RunScript, scriptsOn } from './redis-scripts.ts'
import { checkTimes } from './times.ts'

export type RedisStoreOptions = {
  /** Begins every key. Stores with the same prefix on the same Redis are one. Default: `hubline:`. */
  readonly prefix?: string
  /** Every call has ended by then, in ms. Default: 2000. */
  readonly timeoutMs?: number
  /** Wall time, in ms since 1970. Default: Date.now. */
  readonly now?: () => number
} & (
  | {
      /** `redis://` or `rediss://` (TLS). The client is the store's own, and `close` closes it. */
      readonly url: string
      readonly client?: undefined
    }
  | {
      /** Stays yours: the store neither closes it nor listens to its errors. */
      readonly client: Redis | Cluster
      readonly url?: undefined
    }
)

/** Both forms. */
interface Options {
  readonly prefix?: string
  readonly timeoutMs?: number
  readonly now?: () => number
  readonly url?: string | undefined
  readonly client?: Redis | Cluster | undefined
}

const OPTIONS: Rules<Options> = {
  prefix: text,
  timeoutMs: period,
  now: callable,
  url: text,
  client: having('a client of ioredis', 'defineCommand'),
}

/**
 * Remembers connections in Redis, for all nodes that share it. A record and its places in the indexes change in one
 * script, so they cannot disagree. The scripts touch several keys: in a Redis Cluster the prefix needs a hash tag, as
 * in `{hubline}:`. A record is gone as soon as the clock of Redis or that of the reader says so.
 */
export function redisStore(given: RedisStoreOptions): ConnectionStore {
  const options = readOptions<Options>(given, OPTIONS, 'redisStore: ', 'CONFIG_INVALID')
  const { prefix = 'hubline:', timeoutMs = 2000, now = Date.now, url, client } = options
  if ((url === undefined) === (client === undefined))
    throw new HubError('CONFIG_INVALID', 'redisStore: give one of url and client')
  const access = client === undefined ? ownClient(url!, timeoutMs) : lentClient(client)
  return new RedisStore(access, scriptsOn(access.client, prefix), timeoutMs, now)
}

class RedisStore implements ConnectionStore {
  readonly name = 'redis'
  readonly #access: RedisAccess
  readonly #run: RunScript
  readonly #timeoutMs: number
  readonly #now: () => number

  constructor(access: RedisAccess, run: RunScript, timeoutMs: number, now: () => number) {
    this.#access = access
    this.#run = run
    this.#timeoutMs = timeoutMs
    this.#now = now
  }

  async put(record: ConnectionRecord): Promise<void> {
    checkTimes(record)
    const { id, ...fields } = record
    const values = Object.entries(fields).flatMap(([name, value]) => {
      const text = JSON.stringify(value)
      return text === undefined ? [] : [name, text]
    })
    await this.#call('put', [JSON.stringify(id), ...values])
  }

  async get(id: string): Promise<ConnectionRecord | undefined> {
    const token = JSON.stringify(id)
    return decode(token, await this.#call('get', [token]))
  }

  async touch(touches: readonly ConnectionTouch[]): Promise<void> {
    if (touches.length === 0) return
    for (const touch of touches) checkTimes(touch)
    const args = touches.flatMap(({ id, lastSendAt, expiresAt }) => [
      JSON.stringify(id),
      `${lastSendAt ?? ''}`,
      `${expiresAt ?? ''}`,
    ])
    await this.#call('touch', args)
  }

  async delete(id: string): Promise<boolean> {
    const token = JSON.stringify(id)
    return decode(token, await this.#call('delete', [token])) !== undefined
  }

  listByUser(user: string): Promise<ConnectionRecord[]> {
    return this.#list('user', user)
  }

  listByNode(node: string): Promise<ConnectionRecord[]> {
    return this.#list('node', node)
  }

  close(): Promise<void> {
    return this.#access.close()
  }

  async #list(kind: 'user' | 'node', owner: string): Promise<ConnectionRecord[]> {
    const found = (await this.#call('list', [kind, JSON.stringify(owner)])) as [token: string, fields: string[]][]
    return found.flatMap(([token, fields]) => decode(token, fields) ?? [])
  }

  #call(script: Parameters<RunScript>[0], args: readonly string[]): Promise<unknown> {
    const answer = this.#access.usable().then(() => this.#run(script, [`${this.#now()}`, ...args]))
    return answerWithin(this.#timeoutMs, answer).catch(withoutCommand)
  }
}

/**
 * The driver hangs what was sent onto its errors: a password, or what a record is restored from. Nobody may log those.
 */
function withoutCommand(error: unknown): never {
  delete (error as { command?: unknown }).command
  throw error
}

const recordSchema = z.object({
  id: z.string(),
  node: z.string(),
  protocol: z.string(),
  user: z.string().optional(),
  connectedAt: z.number(),
  lastSendAt: z.number().optional(),
  expiresAt: z.number().optional(),
  restore: z.unknown().optional(),
})

/**
 * Names and values by turns. Undefined for what no store of ours has written: somebody else can write to this Redis
 * too.
 */
function decode(token: string, reply: unknown): ConnectionRecord | undefined {
  if (reply === null) return undefined
  const fields = reply as string[]
  try {
    const values = fields.flatMap((name, i) => (i % 2 === 0 ? [[name, JSON.parse(fields[i + 1]!)]] : []))
    return recordSchema.parse({ ...Object.fromEntries(values), id: JSON.parse(token) })
  } catch {
    return undefined
  }
}
