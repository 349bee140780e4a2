import { contentTypeRule } from '../core/arguments.ts'
import type { Publisher, PublishResult } from '../core/contract.ts'
import { HubError } from '../core/errors.ts'
import type { TopicName } from '../core/ids.ts'
import { anything, type Rules, readOptions } from '../core/options.ts'
import type { Scheduler } from '../core/scheduler.ts'
import { isJson } from '../wire/content-type.ts'
import { keyRule } from './outgoing.ts'
import { JSON_TYPE, serialize } from './serialize.ts'

const CHANGE: Rules<DraftChange> = { data: anything, contentType: contentTypeRule, key: keyRule }

/** Publications of one publisher that wait for the hook, and their payload bytes; one larger message waits alone. */
const MAX_WAITING = 1000
const MAX_WAITING_BYTES = 8 * 1024 * 1024

/**
 * A publication before it is checked and routed. Its size is not checked against the topic's rule yet, nor its schema.
 */
export interface Draft {
  readonly topic: TopicName
  readonly data: Uint8Array
  readonly contentType: string
  readonly key: string | undefined
  readonly correlationId: string | undefined
  /** Undefined: the program itself. */
  readonly publisher: Publisher | undefined
}

/** What the hook changes. A field that is absent stays as it is. */
export interface DraftChange {
  /**
   * Bytes as they are, a string as UTF-8, anything else as JSON. The default contentType for JSON is application/json,
   * or that of the publication if it is a type of JSON. For bytes and strings the default is the contentType of the
   * publication.
   */
  readonly data?: Uint8Array | string | object | undefined
  readonly contentType?: string | undefined
  readonly key?: string | undefined
}

/**
 * Called for every publication before it is routed, on the node where it is published. It answers nothing (publish as
 * it is), a change, or a promise of one of these. It throws or rejects with a HubError to refuse: the publisher gets
 * its code and message. Anything else that it throws is a fault, and the publisher gets INTERNAL. So is a promise that
 * does not settle within `beforePublishTimeoutMs`; its late answer is ignored.
 */
// biome-ignore lint/suspicious/noConfusingVoidType: a hook that only looks returns nothing
export type BeforePublish = (publication: Draft) => DraftChange | void | Promise<DraftChange | void>

/** What waits of one publisher. */
interface Line {
  tail: Promise<unknown>
  count: number
  bytes: number
}

export interface PublishHookOptions {
  readonly hook: BeforePublish
  /** How long one promise of the hook may take to settle, in ms. */
  readonly timeoutMs: number
  readonly scheduler: Pick<Scheduler, 'after'>
  readonly fault: (error: unknown) => void
}

/** The publisher of what the program itself publishes. */
const PROGRAM: Publisher = Object.freeze({})
const refusals = new WeakSet<Error>()

/** Did the hook refuse this one publication? Then its source goes on. */
export function isRefusedByHook(error: unknown): boolean {
  return error instanceof HubError && refusals.has(error)
}

/**
 * Runs the hook. While it has not answered, further publications of the same publisher wait in a line, so that they
 * stay in their order; publications of others do not wait for them.
 */
export class PublishHook {
  readonly #hook: BeforePublish
  readonly #timeoutMs: number
  readonly #scheduler: Pick<Scheduler, 'after'>
  readonly #fault: (error: unknown) => void
  readonly #lines = new Map<Publisher, Line>()

  constructor({ hook, timeoutMs, scheduler, fault }: PublishHookOptions) {
    this.#hook = hook
    this.#timeoutMs = timeoutMs
    this.#scheduler = scheduler
    this.#fault = fault
  }

  /**
   * A promise only where the hook, a publication ahead, or `publish` has one. Throws or rejects with what the hook and
   * `publish` throw.
   */
  run(
    draft: Draft,
    publish: (changed: Draft) => PublishResult | Promise<PublishResult>,
  ): PublishResult | Promise<PublishResult> {
    const publisher = draft.publisher ?? PROGRAM
    const line = this.#lines.get(publisher)
    if (line !== undefined) {
      checkRoom(line, draft)
      const { tail } = line
      return this.#lineUp(
        publisher,
        line,
        draft,
        tail.then(() => this.#ask(draft)),
        publish,
      )
    }
    const answer = this.#ask(draft)
    if (!(answer instanceof Promise)) return publish(answer)
    const first: Line = { tail: answer, count: 0, bytes: 0 }
    this.#lines.set(publisher, first)
    return this.#lineUp(publisher, first, draft, answer, publish)
  }

  #lineUp(
    publisher: Publisher,
    line: Line,
    { data }: Draft,
    answer: Promise<Draft>,
    publish: (changed: Draft) => PublishResult | Promise<PublishResult>,
  ): Promise<PublishResult> {
    // The hook may transfer the buffer, and then the data has no bytes.
    const { byteLength } = data
    line.count++
    line.bytes += byteLength
    // Wrapped, so that the next does not wait for the broker's answer.
    const begun = answer.then(changed => ({ result: publish(changed) }))
    const leave = (): void => {
      line.count--
      line.bytes -= byteLength
      if (line.count === 0) this.#lines.delete(publisher)
    }
    line.tail = begun.then(leave, leave)
    return begun.then(({ result }) => result)
  }

  #ask(draft: Draft): Draft | Promise<Draft> {
    try {
      const answer: unknown = this.#hook(draft)
      if (!isThenable(answer)) return changed(draft, answer)
      return this.#withinTime(answer).then(
        change => this.#attempt(draft, change),
        error => {
          throw this.#refusal(error)
        },
      )
    } catch (error) {
      throw this.#refusal(error)
    }
  }

  /** Settles as `answer` does, or rejects once it has taken too long. */
  #withinTime(answer: PromiseLike<unknown>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = this.#scheduler.after(this.#timeoutMs, () => {
        const late = new HubError(
          'INTERNAL',
          `publication: beforePublish must settle within ${this.#timeoutMs} ms (beforePublishTimeoutMs)`,
        )
        this.#fault(late)
        reject(late)
      })
      const settled = Promise.resolve(answer).finally(() => timer[Symbol.dispose]())
      settled.then(resolve, reject)
    })
  }

  #attempt(draft: Draft, change: unknown): Draft {
    try {
      return changed(draft, change)
    } catch (error) {
      throw this.#refusal(error)
    }
  }

  /** What the publisher is told. Only a HubError is meant for it. */
  #refusal(error: unknown): HubError {
    if (!(error instanceof HubError)) this.#fault(error)
    const refusal =
      error instanceof HubError
        ? error
        : new HubError('INTERNAL', 'publication: beforePublish failed; see the fault event')
    refusals.add(refusal)
    return refusal
  }
}

function changed(draft: Draft, change: unknown): Draft {
  if (change === undefined) return draft
  // Fails closed: `false` is surely not meant as "publish it".
  if (typeof change !== 'object' || change === null) {
    throw new TypeError(
      `beforePublish must return undefined or an object, got ${String(change)}; throw a HubError to refuse`,
    )
  }
  try {
    return apply(draft, change)
  } catch (error) {
    // It is a fault of the hook, and the publisher does not see the message.
    throw new TypeError((error as Error).message.replace(/^message:/, 'data:'), { cause: error })
  }
}

/** Throws REQUEST_INVALID and INVALID_MESSAGE for a wrong change. */
function apply(draft: Draft, change: DraftChange): Draft {
  const { data, contentType, key = draft.key } = readOptions(change, CHANGE, 'beforePublish')
  if (data === undefined) return { ...draft, contentType: contentType ?? draft.contentType, key }
  const { payload, contentType: type } = serialize(data)
  // For text and bytes, the publisher's content type holds unless the hook returns one.
  const isJsonValue = type === JSON_TYPE && !isJson(draft.contentType)
  return { ...draft, data: payload, contentType: contentType ?? (isJsonValue ? type : draft.contentType), key }
}

function checkRoom({ count, bytes }: Line, { data }: Draft): void {
  if (count < MAX_WAITING && bytes + data.byteLength <= MAX_WAITING_BYTES) return
  throw new HubError(
    'LIMIT_EXCEEDED',
    `publication: at most ${MAX_WAITING} publications of one publisher, and ${MAX_WAITING_BYTES} bytes, may wait for beforePublish`,
  )
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined)?.then === 'function'
}
