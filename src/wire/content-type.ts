const TEXT = /^(text\/|application\/(json|xml|javascript|x-ndjson)\b|[^;]+\+(json|xml)\b)/i
const JSON_TYPE = /^(application\/json\b|[^;]+\+json\b)/i

/** Is a payload of this type text that a protocol of text can carry as it is? */
export function isText(contentType: string): boolean {
  return TEXT.test(contentType)
}

export function isJson(contentType: string): boolean {
  return JSON_TYPE.test(contentType)
}

export function isImage(contentType: string): boolean {
  return /^image\//i.test(contentType)
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The text of a payload, or null where it is not UTF-8. */
export function decodeUtf8(payload: Uint8Array): string | null {
  try {
    return strict.decode(payload)
  } catch {
    return null
  }
}
