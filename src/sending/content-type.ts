import { isUtf8 } from 'node:buffer'
import { decodeUtf8 } from '../wire/content-type.ts'

const SPACE = 0x20
const JSON_BEGINS = /[[{"\-\dtfn]/
const TEXT = 'text/plain; charset=utf-8'

/** The type of a publication: what the publisher says, else what the topic's rule says, else a guess from the bytes. */
export function contentTypeOf(said: string | undefined, known: string | undefined, body: Uint8Array): string {
  // `curl -d` sends this type with every body, so it says nothing about the body.
  if (said !== undefined && !/^application\/x-www-form-urlencoded\b/i.test(said)) return said
  return known ?? guess(body)
}

/** JSON, other text, or bytes. */
function guess(body: Uint8Array): string {
  if (!isUtf8(body)) return 'application/octet-stream'
  // The first character tells most text that is not JSON; decoding and parsing all of it is expensive.
  const first = String.fromCharCode(body.find(byte => byte > SPACE) ?? SPACE)
  if (!JSON_BEGINS.test(first)) return TEXT
  try {
    JSON.parse(decodeUtf8(body)!)
    return 'application/json'
  } catch {
    return TEXT
  }
}
