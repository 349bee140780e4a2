import { HubError } from '../core/errors.ts'

/** What somebody wants to send, as bytes. */
export interface Serialized {
  readonly payload: Uint8Array
  readonly contentType: string
}

const encoder = new TextEncoder()

/**
 * Bytes as they are (application/octet-stream), a string as text/plain, anything else as JSON; `contentType` wins over these.
 * Throws INVALID_MESSAGE where JSON has no form for it: a cycle, a BigInt, undefined, a function, a symbol.
 */
export function serialize(message: unknown, contentType?: string): Serialized {
  if (message instanceof Uint8Array) return { payload: message, contentType: contentType ?? 'application/octet-stream' }
  if (typeof message === 'string') {
    return { payload: encoder.encode(message), contentType: contentType ?? 'text/plain; charset=utf-8' }
  }
  return { payload: encoder.encode(json(message)), contentType: contentType ?? 'application/json' }
}

function json(message: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(message)
  } catch (error) {
    throw new HubError('INVALID_MESSAGE', `message: it has no form in JSON: ${reason(error)}`, { cause: error })
  }
  if (text !== undefined) return text
  throw new HubError(
    'INVALID_MESSAGE',
    `message: ${typeof message} has no form in JSON; give bytes, text or plain data`,
  )
}

/** The first line of it. A toJSON may throw anything, also what has no text. */
function reason(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error).split('\n')[0]!
  } catch {
    return 'its toJSON threw'
  }
}
