import { randomUUID } from 'node:crypto'
import { contentTypeRule } from '../core/arguments.ts'
import { HubError } from '../core/errors.ts'
import { flag, period, type Rule, type Rules, readOptions } from '../core/options.ts'
import { Direct } from '../core/parcel.ts'
import { serialize } from './serialize.ts'

export interface SendOptions {
  /** Default: by the message: bytes, text or JSON. */
  readonly contentType?: string | undefined
  /**
   * The same for the same message, if you may send it twice: a receiver that is a URL gets it as its idempotency key.
   * Default: random.
   */
  readonly id?: string | undefined
  /** In requests, their retries and their log lines. */
  readonly correlationId?: string | undefined
  /** true: wait until the peer has said that it has it, where its protocol can say. */
  readonly confirm?: boolean | undefined
  /** How long to wait, in ms. Default 30,000. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

const DEFAULT_TIMEOUT_MS = 30_000

/** A message ready for any number of clients, and how each of them is waited for. */
export interface Outgoing {
  readonly direct: Direct
  readonly timeoutMs: number
  readonly confirm: boolean
  readonly signal: AbortSignal | undefined
}

/** Checks and serialises, before anything is sent. Throws INVALID_MESSAGE, MESSAGE_TOO_LARGE, REQUEST_INVALID. */
export function prepareOutgoing(message: unknown, given: SendOptions, maxBytes: number): Outgoing {
  const options = readOptions(given, SEND_OPTIONS, 'send')
  const { timeoutMs = DEFAULT_TIMEOUT_MS, confirm = false, signal, id = randomUUID(), correlationId } = options
  const { payload, contentType } = serialize(message, options.contentType)
  if (payload.byteLength > maxBytes) {
    throw new HubError(
      'MESSAGE_TOO_LARGE',
      `message: ${payload.byteLength} bytes are more than the ${maxBytes} that one message may have`,
    )
  }
  const direct = new Direct({ id, payload, contentType, correlationId })
  return { direct, timeoutMs, confirm, signal }
}

/** Of an option that is a signal. */
export const signalRule: Rule = value => (value instanceof AbortSignal ? undefined : 'an AbortSignal')

/** Of an id and a correlation id, which become headers. */
export const idRule: Rule = value =>
  typeof value === 'string' && /^[\x21-\x7e]{1,255}$/.test(value)
    ? undefined
    : '1 to 255 printable ASCII characters without spaces'
/** Of a publication: the key whose newest value it is. */
export const keyRule: Rule = value =>
  typeof value === 'string' && value.length <= 255 ? undefined : 'at most 255 characters'

export const SEND_OPTIONS: Rules<SendOptions> = {
  contentType: contentTypeRule,
  id: idRule,
  correlationId: idRule,
  confirm: flag,
  timeoutMs: period,
  signal: signalRule,
}

export const IS_ACTIVE_OPTIONS: Rules<Pick<SendOptions, 'timeoutMs' | 'signal'>> = {
  timeoutMs: period,
  signal: signalRule,
}
