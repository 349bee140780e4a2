import { randomUUID } from 'node:crypto'
import { setMaxListeners } from 'node:events'
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
/** Of an id or a correlation id: they become headers. */
const MAX_KEY_LENGTH = 255
const KEY = /^[\x21-\x7e]+$/

/** A message ready for any number of clients, and how each of them is waited for. */
export interface Outgoing {
  readonly direct: Direct
  readonly timeoutMs: number
  readonly confirm: boolean
  readonly signal: AbortSignal | undefined
}

/** Checks and serialises, before anything is sent. Throws INVALID_MESSAGE, MESSAGE_TOO_LARGE, REQUEST_INVALID. */
export function prepareOutgoing(message: unknown, options: SendOptions, maxBytes: number): Outgoing {
  const { payload, contentType } = serialize(message, options.contentType)
  if (payload.byteLength > maxBytes) {
    throw new HubError(
      'MESSAGE_TOO_LARGE',
      `message: ${payload.byteLength} bytes are more than the ${maxBytes} that one message may have`,
    )
  }
  const id = checkKey('id', options.id) ?? randomUUID()
  const direct = new Direct({
    id,
    payload,
    contentType,
    correlationId: checkKey('correlationId', options.correlationId),
  })
  const { timeoutMs = DEFAULT_TIMEOUT_MS, confirm = false, signal } = options
  // One signal may end thousands of sends.
  if (signal) setMaxListeners(0, signal)
  return { direct, timeoutMs, confirm, signal }
}

function checkKey(field: 'id' | 'correlationId', value: string | undefined): string | undefined {
  if (value === undefined || (value.length <= MAX_KEY_LENGTH && KEY.test(value))) return value
  throw new HubError(
    'REQUEST_INVALID',
    `${field}: it is 1 to ${MAX_KEY_LENGTH} printable ASCII characters without spaces`,
  )
}
