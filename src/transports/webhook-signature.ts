import { createHmac } from 'node:crypto'
import { type ErrorCode, HubError } from '../core/errors.ts'

const PREFIX = 'whsec_'
const MIN_SECRET_BYTES = 24
const MAX_SECRET_BYTES = 64

/**
 * The key in a secret as the Standard Webhooks specification writes it. The error never repeats it.
 */
export function parseSecret(text: unknown, field = 'secret', code: ErrorCode = 'REQUEST_INVALID'): Buffer {
  const encoded = typeof text === 'string' && text.startsWith(PREFIX) ? text.slice(PREFIX.length) : ''
  const key = Buffer.from(encoded, 'base64')
  // Node passes over what is not base64; a receiver's decoder may not, and would then have another key.
  const isExact = key.toString('base64') === encoded
  if (isExact && key.byteLength >= MIN_SECRET_BYTES && key.byteLength <= MAX_SECRET_BYTES) return key
  const rule = `${PREFIX} and then the base64 of ${MIN_SECRET_BYTES} to ${MAX_SECRET_BYTES} random bytes`
  throw new HubError(code, `${field}: it must be ${rule}; openssl rand -base64 32 makes such a part`)
}

/**
 * Proves to a receiver who knows the key that this body belongs to this id and time: Standard Webhooks, symmetric.
 * @param id without a dot: it is what parts the three, so an id with one could be read as another id and time
 * @param timestamp when this attempt is made, in seconds since 1970
 */
export function webhookSignature(key: Uint8Array, id: string, timestamp: number, body: Uint8Array): string {
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.`).update(body).digest('base64')}`
}
