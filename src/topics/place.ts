/** Longest part of a sentence that comes from a message, a schema or its library. */
const MAX_SHOWN = 200

/** RFC 6901: `/items/0/price`; `payload` for the whole. */
export function placeOf(keys: readonly PropertyKey[]): string {
  if (keys.length === 0) return 'payload'
  return printable(keys.map(key => `/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`).join(''))
}

/**
 * One line of ASCII, cut: members of a message have any name, and what is told of them goes into logs and close
 * reasons, which are counted in bytes.
 */
export function printable(text: string): string {
  const cut = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}...` : text
  return cut.replace(/[^\x20-\x7e]/g, character => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
