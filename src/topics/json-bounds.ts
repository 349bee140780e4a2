/** Of JSON that a rule keeps and that the API tells, in bytes. */
export const MAX_JSON_BYTES = 64 * 1024
/** Deeper values cannot be read by people, nor by every program. */
export const MAX_JSON_DEPTH = 32

/**
 * Says how a JSON value is too large. Not recursive: a deep value would end the stack here, and in `JSON.stringify`.
 */
export function excess(value: unknown): string | undefined {
  let level: unknown[] = [value]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_JSON_DEPTH) return `it nests deeper than ${MAX_JSON_DEPTH} levels`
    level = level.flatMap(each => (typeof each === 'object' && each !== null ? Object.values(each) : []))
  }
  return JSON.stringify(value).length > MAX_JSON_BYTES ? `it is longer than ${MAX_JSON_BYTES} bytes` : undefined
}
