/**
 * Levels that a value may nest. Parsers of other languages recurse and give up at some hundreds of levels; ours does
 * not, but then it makes an object per level, which is a lot of work for a frame of brackets.
 */
export const MAX_JSON_DEPTH = 256

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const ARRAY = 0x5b
const ARRAY_END = 0x5d
const OBJECT = 0x7b
const OBJECT_END = 0x7d

/** The value, or undefined (which JSON cannot say) where the text is not JSON or nests deeper than MAX_JSON_DEPTH. */
export function parseJson(text: string): unknown {
  if (nestsTooDeep(text)) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const NO_ENDS: ReadonlyMap<number, number> = new Map()

/**
 * A value of valid JSON in its text. What is in it can be passed on byte for byte: numbers keep their digits, keys
 * their order.
 */
export class JsonText {
  readonly #json: string
  readonly #from: number
  readonly #to: number
  readonly #ends: ReadonlyMap<number, number>

  /** @param ends of the long values in `json`: where each ends, by where it begins. They are not scanned then */
  constructor(json: string, ends = NO_ENDS, from = 0, to = json.length) {
    this.#json = json
    this.#ends = ends
    this.#from = from
    this.#to = to
  }

  /** In characters. */
  get length(): number {
    return this.#to - this.#from
  }

  get text(): string {
    return this.#json.slice(this.#from, this.#to)
  }

  /** The value of an object's member. Of several of that name it is the last, as with JSON.parse. */
  member(name: string): JsonText | undefined {
    const json = this.#json
    let found: JsonText | undefined
    let at = this.#first()
    while (json.charCodeAt(at) === QUOTE) {
      const keyEnd = endOfString(json, at)
      const key = JSON.parse(json.slice(at, keyEnd)) as string
      const value = this.#value(skipSpace(json, skipSpace(json, keyEnd) + 1))
      if (key === name) found = value
      at = this.#next(value)
    }
    return found
  }

  /** The elements of an array. */
  *items(): Generator<JsonText> {
    let at = this.#first()
    while (this.#json.charCodeAt(at) !== ARRAY_END) {
      const value = this.#value(at)
      yield value
      at = this.#next(value)
    }
  }

  /** Where the first element begins, or its closing bracket is. */
  #first(): number {
    return skipSpace(this.#json, skipSpace(this.#json, this.#from) + 1)
  }

  #value(from: number): JsonText {
    const to = this.#ends.get(from) ?? endOfValue(this.#json, from)
    return new JsonText(this.#json, this.#ends, from, to)
  }

  /** Where the element after this one begins, or the closing bracket is. */
  #next(value: JsonText): number {
    const at = skipSpace(this.#json, value.#to)
    return this.#json.charCodeAt(at) === COMMA ? skipSpace(this.#json, at + 1) : at
  }
}

/** Deeper than MAX_JSON_DEPTH, be it JSON or not. */
export function nestsTooDeep(text: string): boolean {
  let depth = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === QUOTE) i = endOfString(text, i) - 1
    else if (code === ARRAY || code === OBJECT) depth++
    else if (code === ARRAY_END || code === OBJECT_END) depth--
    if (depth > MAX_JSON_DEPTH) return true
  }
  return false
}

/** Index behind the closing quote; `at` is the opening one. */
function endOfString(text: string, at: number): number {
  // Most strings have no escapes, and a large one is then found in one step.
  const end = text.indexOf('"', at + 1)
  if (end !== -1 && text.charCodeAt(end - 1) !== BACKSLASH) return end + 1
  for (let i = at + 1; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === BACKSLASH) i++
    else if (code === QUOTE) return i + 1
  }
  return text.length
}

function endOfValue(json: string, from: number): number {
  let depth = 0
  let i = from
  do {
    const code = json.charCodeAt(i)
    if (code === ARRAY || code === OBJECT) depth++
    else if (code === ARRAY_END || code === OBJECT_END) depth--
    i = code === QUOTE ? endOfString(json, i) : i + 1
  } while (i < json.length && (depth > 0 || !endsScalar(json, from, i)))
  return i
}

/** A string, array or object ends with its own last character; a number or a word ends where something else begins. */
function endsScalar(json: string, from: number, i: number): boolean {
  const first = json.charCodeAt(from)
  if (first === QUOTE || first === ARRAY || first === OBJECT) return true
  const code = json.charCodeAt(i)
  return code === COMMA || code === ARRAY_END || code === OBJECT_END || isSpace(code)
}

function skipSpace(json: string, from: number): number {
  let i = from
  while (isSpace(json.charCodeAt(i))) i++
  return i
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09
}
