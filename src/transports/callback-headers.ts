import { validateHeaderValue } from 'node:http'
import type { Envelope } from './envelope.ts'
import { webhookSignature } from './webhook-signature.ts'

/** Characters of the header that names the publisher: servers take heads of 8 to 16 KiB. */
const MAX_PUBLISHER_LENGTH = 4096

/**
 * The head of one attempt. What publishers wrote may have any characters: a value that would break the head is left
 * away.
 * @param key what the target's secret stands for
 * @param timestamp when this attempt is made, in seconds since 1970
 */
export function callbackHeaders(
  envelope: Envelope,
  clientId: string,
  key: Uint8Array | undefined,
  timestamp: number,
): Record<string, string> {
  const { kind, topic, epoch, seq, contentType, correlationId, publisher, payload } = envelope
  const id = webhookId(envelope.id)
  const headers: Record<string, string> = {
    'user-agent': 'hubline',
    'content-type': isHeaderValue(contentType) ? contentType : 'application/octet-stream',
    'idempotency-key': id,
    'webhook-id': id,
    'webhook-timestamp': `${timestamp}`,
    'hubline-event': kind,
  }
  if (key) headers['webhook-signature'] = webhookSignature(key, id, timestamp, payload)
  const known = {
    'hubline-client': clientId,
    'hubline-topic': topic,
    'hubline-seq': seq,
    'hubline-epoch': epoch,
    'x-correlation-id': correlationId,
    'hubline-publisher': publisher && asciiJson(publisher),
  }
  for (const [name, value] of Object.entries(known)) {
    if (value !== undefined && isHeaderValue(`${value}`)) headers[name] = `${value}`
  }
  return headers
}

/** A header has ASCII only: other characters are escaped, as JSON allows. Too long for a header, it is left away. */
function asciiJson(value: object): string | undefined {
  const text = JSON.stringify(value).replace(
    /[^\x20-\x7e]/g,
    each => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return text.length <= MAX_PUBLISHER_LENGTH ? text : undefined
}

/**
 * A signed id has no dot, which is what parts it from the rest; an id that somebody chose may have one. Different ids
 * stay different.
 */
function webhookId(id: string): string {
  return id.replaceAll('%', '%25').replaceAll('.', '%2E')
}

function isHeaderValue(value: string): boolean {
  if (value.trim() === '') return false
  try {
    validateHeaderValue('value', value)
    return true
  } catch {
    return false
  }
}
