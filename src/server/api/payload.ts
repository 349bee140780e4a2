import { decodeUtf8, isJson, isText } from '../../wire/content-type.ts'
import { parseJson } from '../../wire/json.ts'
import { RawJson } from '../../wire/raw-json.ts'

/** As its content type says, as far as its bytes agree. For `stringifyRaw`: JSON keeps the publisher's text. */
export function payloadOf(contentType: string, payload: Uint8Array) {
  const text = isText(contentType) ? decodeUtf8(payload) : null
  if (text === null) return { base64: Buffer.from(payload).toString('base64') }
  return isJson(contentType) && parseJson(text) !== undefined ? { data: new RawJson(text) } : { text }
}
