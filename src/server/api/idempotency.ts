import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { HubError } from '../../core/errors.ts'
import type { Scheduler } from '../../core/scheduler.ts'

const HEADER = 'idempotency-key'
const KEY = /^[\x21-\x7e]{1,255}$/

/** How long an answer is kept, in ms. */
const KEEP_MS = 5 * 60_000
/**
 * How many, and how many bytes of them. Beyond it the oldest go, and a late repetition of theirs is published again.
 */
const MAX_ENTRIES = 100_000
const MAX_BYTES = 32 * 1024 * 1024
/** Beside its name and its answer: measured. */
const ENTRY_BYTES = 400

interface Answered {
  readonly fingerprint: string
  readonly at: number
  /** Whoever comes while it is being made waits for it. */
  readonly answer: Promise<Answer>
  bytes: number
}

interface Answer {
  readonly status: number
  readonly body: string
}

/** What came of the work. */
export interface Done {
  readonly status: number
  readonly body: object
  /** Nothing was published: there is nothing to keep from happening again. */
  readonly nothing?: boolean
}

/**
 * Answers a publication that comes again under its key with what the first was answered, and publishes it once: whoever
 * lost the answer may just ask again. Only what was done is kept; what was refused may be tried again under the same
 * key.
 */
export class Idempotency {
  readonly #scheduler: Pick<Scheduler, 'now'>
  readonly #max: { readonly entries: number; readonly bytes: number }
  /** The oldest first. */
  readonly #answered = new Map<string, Answered>()
  #bytes = 0

  constructor(scheduler: Pick<Scheduler, 'now'>, max = { entries: MAX_ENTRIES, bytes: MAX_BYTES }) {
    this.#scheduler = scheduler
    this.#max = max
  }

  /**
   * `who`: keys of different callers are different keys. `parts`: all that makes the request what it is. Rejects with
   * REQUEST_INVALID, IDEMPOTENCY_CONFLICT, and as `work`.
   */
  async once(
    request: FastifyRequest,
    reply: FastifyReply,
    who: string,
    parts: readonly (string | Uint8Array | undefined)[],
    work: () => Promise<Done>,
  ): Promise<FastifyReply> {
    const key = request.headers[HEADER]
    if (key === undefined) {
      const { status, body } = await work()
      return reply.code(status).send(body)
    }
    if (typeof key !== 'string' || !KEY.test(key)) {
      throw new HubError('REQUEST_INVALID', `${HEADER}: it is 1 to 255 printable ASCII characters without spaces`)
    }
    this.#forgetOld()
    const name = JSON.stringify([who, request.method, key])
    const fingerprint = fingerprintOf(parts)
    const known = this.#answered.get(name)
    if (known === undefined) {
      return send(reply, await this.#begin(name, fingerprint, work))
    }
    if (known.fingerprint !== fingerprint) {
      throw new HubError(
        'IDEMPOTENCY_CONFLICT',
        `${HEADER}: another request has had this key; give each one of its own`,
      )
    }
    reply.header('idempotent-replayed', 'true')
    return send(reply, await known.answer)
  }

  get size(): number {
    return this.#answered.size
  }

  async #begin(name: string, fingerprint: string, work: () => Promise<Done>): Promise<Answer> {
    const done = work()
    const answer = done.then(({ status, body }) => ({ status, body: JSON.stringify(body) }))
    const entry: Answered = { fingerprint, at: this.#scheduler.now(), answer, bytes: ENTRY_BYTES + name.length }
    this.#answered.set(name, entry)
    this.#bytes += entry.bytes
    try {
      // Both at once: a promise that fails while nobody waits for it would end the process.
      const [{ nothing = false }, answered] = await Promise.all([done, answer])
      if (nothing) this.#forget(name, entry)
      else this.#grow(name, entry, answered.body.length)
      return answered
    } catch (error) {
      this.#forget(name, entry)
      throw error
    }
  }

  #grow(name: string, entry: Answered, bytes: number): void {
    if (this.#answered.get(name) !== entry) return
    entry.bytes += bytes
    this.#bytes += bytes
    this.#bound()
  }

  #forgetOld(): void {
    const since = this.#scheduler.now() - KEEP_MS
    for (const [name, entry] of this.#answered) {
      if (entry.at > since) return
      this.#forget(name, entry)
    }
  }

  #bound(): void {
    for (const [name, entry] of this.#answered) {
      if (this.#answered.size <= this.#max.entries && this.#bytes <= this.#max.bytes) return
      this.#forget(name, entry)
    }
  }

  #forget(name: string, entry: Answered): void {
    if (this.#answered.get(name) !== entry) return
    this.#answered.delete(name)
    this.#bytes -= entry.bytes
  }
}

/** Whose keys these are. An API key's, a user's and nobody's are never the same, whatever they are called. */
export function callerOf({ apiKey, hubSession: { key, user, tokenId } = {} }: FastifyRequest): string {
  const name = apiKey?.name ?? key
  if (name !== undefined) return JSON.stringify(['key', name])
  return JSON.stringify(user === undefined ? ['nobody', tokenId] : ['user', user])
}

function send(reply: FastifyReply, { status, body }: Answer): FastifyReply {
  return reply.code(status).type('application/json; charset=utf-8').send(body)
}

/** Each part with its length before it: two lists never look the same. */
function fingerprintOf(parts: readonly (string | Uint8Array | undefined)[]): string {
  const hash = createHash('sha256')
  for (const part of parts) {
    const bytes = typeof part === 'string' ? Buffer.from(part) : part
    hash.update(`${bytes?.byteLength ?? '-'}:`)
    if (bytes) hash.update(bytes)
  }
  return hash.digest('base64')
}
