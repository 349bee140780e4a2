import { decodeUtf8, isJson, isText } from '../../wire/content-type.ts'

/** As its content type says, as far as its bytes agree. */
export function payloadOf(contentType: string, payload: Uint8Array) {
  const text = isText(contentType) ? decodeUtf8(payload) : null
  if (text === null) return { base64: Buffer.from(payload).toString('base64') }
  if (!isJson(contentType)) return { text }
  try {
    const data: unknown = JSON.parse(text)
    // What is nested some thousand times can be read, and not written.
    JSON.stringify(data)
    return { data }
  } catch {
    return { text }
  }
}
