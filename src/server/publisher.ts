import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { PublishResult, RouteOptions } from '../core/contract.ts'
import { HubError } from '../core/errors.ts'
import type { ConnectionManager } from '../core/manager.ts'
import { eventLoop } from '../event-loop.ts'
import { isRefusedByHook } from '../sending/before-publish.ts'
import { LineSplitter } from '../wire/lines.ts'
import { Turn } from './turn.ts'

/** Messages of one source that a broker or a hook may have to accept at a time. */
const WINDOW = 256
/** Messages of one source in one turn of the event loop: a piece of 64 KB may have tens of thousands of lines. */
export const MESSAGES_PER_TURN = 512

/** curl -d says so of whatever it sends; it means that nobody said what it is. */
const UNSAID = /^(application\/x-www-form-urlencoded|application\/octet-stream)\b/i

/** A live source is looked at so often within its time limit. */
const LOOKS = 4

/**
 * What a request says its body is. Throws UNSUPPORTED_PAYLOAD for multipart/form-data: its parts are not the message. A
 * form in the other encoding is what `curl -d` says of everything, so its body is taken as it is.
 */
export function saidType({ headers }: { readonly headers: IncomingHttpHeaders }): string | undefined {
  const said = headers['content-type']
  if (said === undefined || !/^\s*multipart\/form-data\b/i.test(said)) return said
  throw new HubError(
    'UNSUPPORTED_PAYLOAD',
    'content-type: multipart/form-data is not taken here; send the message itself as the body, with its own content-type (curl --data-binary @file, or -T)',
  )
}

/** What the answer to a publisher says. A broker may not know the message's place. */
export function resultBody({ position, matched, behind, unsupported }: PublishResult): object {
  return { ...(position.epoch !== '' && position), matched, behind, unsupported }
}

export interface SourceOptions extends RouteOptions {
  readonly split: 'lines' | 'none'
  readonly maxBytes: number
  /** Aborts when the hub shuts down. */
  readonly signal: AbortSignal
  /** How long it may send nothing, in ms, until it is given up with REQUEST_TIMEOUT; and who counts that. */
  readonly idleMs?: number
  readonly idle?: () => void
  /** Asked before each window of messages is published: throws where the source may not go on. */
  readonly check?: () => void
  /** Says how long nothing more is read of it after so much, in ms. Default: it is read as fast as it comes. */
  readonly pace?: { waitMs(messages: number, bytes: number): number }
}

export interface SourceResult {
  /** Published. */
  readonly messages: number
  readonly bytes: number
  /** Messages that `beforePublish` refused; absent where there are none. */
  readonly refused?: number
  /** The sum over all messages of the subscribers that cannot receive them; absent where it is 0. */
  readonly unsupported?: number
}

/**
 * Publishes a body as it arrives: each piece that the network gives is a message, or each line. The hub never makes a
 * source wait: who cannot keep up is the policies' business; only a broker may (it answers with a promise). Rejects
 * where a line is too long, the source goes away, or the hub shuts down; the rest of the body is then read and thrown
 * away, so that the answer can be sent.
 */
export function publishSource(
  hub: ConnectionManager,
  topic: string,
  body: IncomingMessage,
  options: SourceOptions,
): Promise<SourceResult> {
  const { split, maxBytes, signal, idleMs = Number.POSITIVE_INFINITY, idle, check, pace, ...route } = options
  const lines = new LineSplitter(maxBytes)
  const turn = new Turn(MESSAGES_PER_TURN)
  const result: { -readonly [K in keyof SourceResult]: SourceResult[K] } = { messages: 0, bytes: 0 }

  /** A promise: until it is settled nothing more is to be read. */
  function publish(messages: Iterable<Uint8Array>): Promise<unknown> | undefined {
    const before = { ...result }
    const left = messages[Symbol.iterator]()
    const accepted = publishUpTo(left)
    if (accepted !== undefined) return publishRest(accepted, left, before)
    const waitMs = paceOf(before)
    return waitMs > 0 ? paced(waitMs) : undefined
  }

  /** At most a window of messages that a broker or a hook has not accepted, and at most the messages of one turn. */
  function publishUpTo(left: Iterator<Uint8Array>): Promise<unknown>[] | undefined {
    check?.()
    const accepted: Promise<unknown>[] = []
    try {
      for (let next = left.next(); next.done !== true; next = left.next()) {
        const answer = attemptOne(next.value)
        const rest = turn.after(next.value.byteLength)
        if (answer !== undefined) accepted.push(answer)
        if (rest !== undefined) accepted.push(rest)
        if (rest !== undefined || accepted.length === WINDOW) break
      }
    } catch (error) {
      if (accepted.length === 0) throw error
      // Those before it may still reject, and each rejection needs a handler.
      accepted.push(Promise.reject(error))
    }
    return accepted.length > 0 ? accepted : undefined
  }

  /**
   * A promise only where the publication has to wait. One that `beforePublish` refuses is counted, and the source goes
   * on.
   */
  function attemptOne(data: Uint8Array): Promise<unknown> | undefined {
    try {
      const answer = hub.publishBytes(topic, data, route)
      if (answer instanceof Promise) return answer.then(told => published(data, told), refused)
      published(data, answer)
    } catch (error) {
      refused(error)
    }
    return undefined
  }

  function published({ byteLength }: Uint8Array, { unsupported }: PublishResult): void {
    result.messages++
    result.bytes += byteLength
    if (unsupported > 0) result.unsupported = (result.unsupported ?? 0) + unsupported
  }

  function refused(error: unknown): void {
    if (!isRefusedByHook(error)) throw error
    result.refused = (result.refused ?? 0) + 1
  }

  async function publishRest(first: Promise<unknown>[], left: Iterator<Uint8Array>, before: SourceResult) {
    for (let accepted: Promise<unknown>[] | undefined = first; accepted !== undefined; ) {
      await Promise.all(accepted)
      accepted = publishUpTo(left)
    }
    await paced(paceOf(before))
  }

  function paceOf(before: SourceResult): number {
    return pace?.waitMs(result.messages - before.messages, result.bytes - before.bytes) ?? 0
  }

  async function paced(waitMs: number): Promise<void> {
    for (let ms = waitMs; ms > 0 && !signal.aborted; ms = pace!.waitMs(0, 0)) await sleep(ms)
  }

  return new Promise((resolve, reject) => {
    const silence = idleMs === Number.POSITIVE_INFINITY ? undefined : eventLoop.every(idleMs / LOOKS, () => look())
    /** Looks since the last piece; the first of them may come at once. */
    let quiet = 0
    /** Messages that have come are still being published. */
    let busy = false
    /** The body ended meanwhile: a stream emits `end` even when it is paused in its last `data` event. */
    let ended = false
    const release = (): void => {
      silence?.[Symbol.dispose]()
      signal.removeEventListener('abort', shutDown)
      body.off('data', take).off('end', finish)
    }
    const fail = (error: Error): void => {
      release()
      body.resume()
      reject(error instanceof RangeError ? new HubError('MESSAGE_TOO_LARGE', `body: ${error.message}`) : error)
    }
    const look = (): void => {
      // What is not read cannot come.
      quiet = body.isPaused() ? 0 : quiet + 1
      if (quiet <= LOOKS) return
      idle?.()
      fail(new HubError('REQUEST_TIMEOUT', `body: nothing came for ${idleMs} ms (timeouts.sourceIdleMs); begin again`))
    }
    const shutDown = (): void => fail(new HubError('SHUTTING_DOWN', 'the hub is shutting down'))
    /** Nothing may be thrown at the stream: it would end the process. */
    const attempt = (messages: () => Iterable<Uint8Array>, then: () => void): void => {
      try {
        const accepted = publish(messages())
        if (accepted === undefined) {
          then()
        } else {
          busy = true
          body.pause()
          accepted.then(() => {
            busy = false
            then()
            if (ended) finish()
          }, fail)
        }
      } catch (error) {
        fail(error as Error)
      }
    }
    const take = (piece: Buffer): void => {
      quiet = 0
      attempt(
        () => (split === 'lines' ? lines.push(piece) : [piece]),
        () => body.resume(),
      )
    }
    const finish = (): void => {
      ended = busy
      if (busy) return
      attempt(
        () => lines.end(),
        () => {
          release()
          resolve(result)
        },
      )
    }
    body.on('data', take).on('end', finish)
    body.on('error', () => fail(new HubError('REQUEST_INVALID', 'body: the source went away before it ended')))
    signal.addEventListener('abort', shutDown, { once: true })
  })
}

/** The content type of a live source: it cannot be guessed from a first piece. */
export function sourceContentType(
  said: string | undefined,
  known: string | undefined,
  split: 'lines' | 'none',
): string {
  if (said !== undefined && !UNSAID.test(said)) return said
  return (
    known ??
    said?.replace(UNSAID, 'application/octet-stream') ??
    (split === 'lines' ? 'text/plain; charset=utf-8' : 'application/octet-stream')
  )
}
