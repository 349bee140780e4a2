/**
 * The value of one cookie of a Cookie header (RFC 6265, section 4.2.1): the first of the name, for that is the one of
 * the longest path.
 */
export function cookieOf(header: string | string[] | undefined, name: string): string | undefined {
  for (const pair of [header ?? []].flat().join(';').split(';')) {
    const at = pair.indexOf('=')
    if (at > 0 && pair.slice(0, at).trim() === name) return unquoted(pair.slice(at + 1).trim())
  }
  return undefined
}

function unquoted(value: string): string {
  return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value
}
