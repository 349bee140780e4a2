import { HubError } from '../core/errors.ts'
import { contentTypeOf } from './content-type.ts'

/** A message as bytes. */
export interface Serialized {
  readonly payload: Uint8Array
  readonly contentType: string
}

const encoder = new TextEncoder()
export const JSON_TYPE = 'application/json'

/**
 * Bytes as they are (application/octet-stream), a string as text/plain, anything else as JSON; `contentType` wins over
 * these. Throws INVALID_MESSAGE where JSON has no form for it: a cycle, a BigInt, NaN, undefined, a function, a symbol,
 * and an object that JSON would make empty, such as a Map, a Set, an Error or a promise.
 */
export function serialize(message: unknown, contentType?: string): Serialized {
  return { payload: bytesOf(message), contentType: contentType ?? ownType(message) }
}

/**
 * The same, for a topic. The type of bytes and strings, if neither the publisher nor the topic's rule names it, is
 * guessed as by POST /topics/{topic}.
 */
export function serializePublication(
  message: unknown,
  said: string | undefined,
  known: string | undefined,
): Serialized {
  const payload = bytesOf(message)
  const isText = typeof message === 'string' || isBytes(message)
  return { payload, contentType: isText ? contentTypeOf(said, known, payload) : (said ?? known ?? JSON_TYPE) }
}

/** Bytes as they are, a string as UTF-8, anything else as JSON text. Throws INVALID_MESSAGE as `serialize`. */
export function bytesOf(message: unknown): Uint8Array {
  if (message instanceof Uint8Array) return message
  if (isBytes(message)) {
    return ArrayBuffer.isView(message)
      ? new Uint8Array(message.buffer, message.byteOffset, message.byteLength)
      : new Uint8Array(message)
  }
  return encoder.encode(typeof message === 'string' ? message : json(message))
}

/** A buffer, or a view of one. */
function isBytes(message: unknown): message is ArrayBufferView | ArrayBuffer | SharedArrayBuffer {
  return ArrayBuffer.isView(message) || message instanceof ArrayBuffer || message instanceof SharedArrayBuffer
}

function ownType(message: unknown): string {
  if (isBytes(message)) return 'application/octet-stream'
  return typeof message === 'string' ? 'text/plain; charset=utf-8' : JSON_TYPE
}

function json(message: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(message)
  } catch (error) {
    throw new HubError('INVALID_MESSAGE', `message: it has no form in JSON: ${reason(error)}`, { cause: error })
  }
  if (text !== undefined && !isEmptied(message, text)) return text
  throw new HubError(
    'INVALID_MESSAGE',
    `message: ${kindOf(message)} has no form in JSON; give bytes, text or plain data`,
  )
}

/** Has JSON left out what it is? */
function isEmptied(message: unknown, text: string): boolean {
  if (typeof message === 'number') return !Number.isFinite(message)
  return text === '{}' && tagOf(message) !== 'Object'
}

/** `Map`, `Error`, `Promise`; `Object` of a plain object and of an object of a class. */
function tagOf(message: unknown): string {
  return Object.prototype.toString.call(message).slice(8, -1)
}

function kindOf(message: unknown): string {
  if (typeof message === 'number') return String(message)
  const tag = tagOf(message)
  return typeof message === 'object' && tag !== 'Object' ? tag : typeof message
}

/** The first line of it. A toJSON may throw anything, also what has no text. */
function reason(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error).split('\n')[0]!
  } catch {
    return 'its toJSON threw'
  }
}
