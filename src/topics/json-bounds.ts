import type { Rule } from '../core/options.ts'

/** Of JSON that a rule keeps and that the API tells, in bytes. */
export const MAX_JSON_BYTES = 64 * 1024
/** Deeper values cannot be read by people, nor by every program. */
export const MAX_JSON_DEPTH = 32

/**
 * Is it what a program reads back? JSON.stringify leaves functions out, makes null of NaN and {} of a Map. What is
 * undefined says nothing, and may be there.
 */
export const plainJson: Rule = value => {
  try {
    JSON.stringify(value, unaltered)
    return undefined
  } catch {
    return 'a value that JSON can express'
  }
}

const PLAIN = /^\[object (Object|Array|String|Boolean|Null|Undefined)\]$/

/** `this` has the value as it is, and `written` is what its toJSON made of it. */
function unaltered(this: Readonly<Record<string, unknown>>, key: string, written: unknown): unknown {
  const value = this[key]
  const isPlain = Number.isFinite(value) || PLAIN.test(Object.prototype.toString.call(value))
  if (isPlain && value === written) return value
  throw new TypeError('not plain')
}

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
