/**
 * Levels that a value may nest. Parsers of other languages recurse and give up at some hundreds of levels; ours does not, but then
 * it makes an object per level, which is a lot of work for a frame of brackets.
 */
export const MAX_JSON_DEPTH = 256

/** Values that a body of JSON may have: to parse, check and write so many takes some milliseconds. */
export const MAX_JSON_VALUES = 100_000
/** So many values cost as much to parse as the key of a member, which may be a new one each time. */
const KEY_VALUES = 3

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
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

/**
 * The text of a member's value as it stands, so that it can be passed on byte for byte: numbers keep their digits, keys their order.
 * `json` must be the text of a valid object. Of several members of that name it is the last, as with JSON.parse.
 */
export function rawMember(json: string, name: string): string | undefined {
  let found: string | undefined
  let at = skipSpace(json, skipSpace(json, 0) + 1)
  while (json.charCodeAt(at) === QUOTE) {
    const keyEnd = endOfString(json, at)
    const key = JSON.parse(json.slice(at, keyEnd)) as string
    const from = skipSpace(json, skipSpace(json, keyEnd) + 1)
    const to = endOfValue(json, from)
    if (key === name) found = json.slice(from, to)
    at = skipSpace(json, to)
    if (json.charCodeAt(at) === COMMA) at = skipSpace(json, at + 1)
  }
  return found
}

/** The texts of an array's elements as they stand. `json` must be the text of a valid array. */
export function* rawItems(json: string): Generator<string> {
  let at = skipSpace(json, skipSpace(json, 0) + 1)
  while (json.charCodeAt(at) !== ARRAY_END) {
    const to = endOfValue(json, at)
    yield json.slice(at, to)
    at = skipSpace(json, to)
    if (json.charCodeAt(at) === COMMA) at = skipSpace(json, at + 1)
  }
}

/** What is wrong with a text that is to be parsed, be it JSON or not. It is found without reading further than need be. */
export function measureJson(text: string): 'deep' | 'many' | undefined {
  let depth = 0
  let values = 1
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === QUOTE) i = endOfString(text, i) - 1
    else if (code === ARRAY || code === OBJECT) depth++
    else if (code === ARRAY_END || code === OBJECT_END) depth--
    if (code === ARRAY || code === OBJECT || code === COMMA) values++
    else if (code === COLON) values += KEY_VALUES
    if (depth > MAX_JSON_DEPTH) return 'deep'
    if (values > MAX_JSON_VALUES) return 'many'
  }
  return undefined
}

/** Deeper than MAX_JSON_DEPTH, be it JSON or not. */
function nestsTooDeep(text: string): boolean {
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
