import { randomUUID } from 'node:crypto'
import { HubError } from '../core/errors.ts'
import { Direct } from '../core/parcel.ts'
import { serialize } from './serialize.ts'

export interface SendOptions {
  /** Default: by the message: bytes, text or JSON. */
  readonly contentType?: string | undefined
  /** The same for the same message, if you may send it twice: a receiver that is a URL gets it as its idempotency key. Default: random. */
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
/** Of an id, a correlation id or a content type: they become headers. */
const MAX_HEADER_LENGTH = 255
const KEY = /^[\x21-\x7e]+$/
const CONTENT_TYPE = /^[\x20-\x7e]+$/
/** A longer timer would fire at once. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1

/** A message ready for any number of clients, and how each of them is waited for. */
export interface Outgoing {
  readonly direct: Direct
  readonly timeoutMs: number
  readonly confirm: boolean
  readonly signal: AbortSignal | undefined
}

/** Checks and serialises, before anything is sent. Throws INVALID_MESSAGE, MESSAGE_TOO_LARGE, REQUEST_INVALID. */
export function prepareOutgoing(message: unknown, options: SendOptions, maxBytes: number): Outgoing {
  const { timeoutMs = DEFAULT_TIMEOUT_MS, confirm = false, signal } = options
  checkWaiting(timeoutMs, signal)
  const { payload, contentType } = serialize(message, checkHeader('contentType', options.contentType, CONTENT_TYPE))
  if (payload.byteLength > maxBytes) {
    throw new HubError(
      'MESSAGE_TOO_LARGE',
      `message: ${payload.byteLength} bytes are more than the ${maxBytes} that one message may have`,
    )
  }
  const id = checkHeader('id', options.id, KEY) ?? randomUUID()
  const correlationId = checkHeader('correlationId', options.correlationId, KEY)
  const direct = new Direct({ id, payload, contentType, correlationId })
  return { direct, timeoutMs, confirm, signal }
}

/** Throws REQUEST_INVALID. */
export function checkWaiting(timeoutMs: number, signal: AbortSignal | undefined): void {
  if (typeof timeoutMs !== 'number' || !(timeoutMs > 0 && timeoutMs <= MAX_TIMEOUT_MS)) {
    throw new HubError(
      'REQUEST_INVALID',
      `timeoutMs: it is a number over 0 and at most ${MAX_TIMEOUT_MS}, not ${timeoutMs}`,
    )
  }
  checkSignal(signal)
}

/** Throws REQUEST_INVALID. */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new HubError('REQUEST_INVALID', 'signal: it is an AbortSignal, or absent')
  }
}

function checkHeader(field: string, value: string | undefined, form: RegExp): string | undefined {
  const fits = typeof value === 'string' && value.length <= MAX_HEADER_LENGTH && form.test(value)
  if (value === undefined || fits) return value
  const characters = form === KEY ? 'printable ASCII characters without spaces' : 'printable ASCII characters'
  throw new HubError('REQUEST_INVALID', `${field}: it is 1 to ${MAX_HEADER_LENGTH} ${characters}`)
}
