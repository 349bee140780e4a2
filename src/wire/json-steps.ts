import { MAX_JSON_DEPTH } from './json.ts'

/** Values that one text may have: to check and use so many takes some milliseconds. */
export const MAX_JSON_VALUES = 100_000
/** The key of a member costs as much to parse as so many values, because each may be a new one. */
const KEY_VALUES = 3
/** Most characters of a key, a number or white space. They cannot be parsed in parts. */
export const MAX_JSON_TOKEN = 64 * 1024
/** Characters that one step parses. Short keys are the slowest: about a millisecond. */
const STEP = 32 * 1024

const QUOTE = 0x22
const BACKSLASH = 0x5c
const U = 0x75
const COMMA = 0x2c
const COLON = 0x3a
const ARRAY = 0x5b
const ARRAY_END = 0x5d
const OBJECT = 0x7b
const OBJECT_END = 0x7d
const SPACE = /[ \t\n\r]/
const SPACES = /^[ \t\n\r]+/

/** Why a text is refused: it nests too deep, has too many values or too long a token, or is not JSON. */
export type JsonFault = 'deep' | 'many' | 'long' | 'invalid'

export class JsonRefused extends Error {
  override readonly name = 'JsonRefused'
  readonly fault: JsonFault
  /** Where the part begins that is wrong, in characters. */
  readonly at: number

  constructor(fault: JsonFault, at: number, options?: ErrorOptions) {
    super(`JSON: ${fault} after character ${at}`, options)
    this.fault = fault
    this.at = at
  }
}

export interface SteppedJson {
  readonly value: unknown
  /** Of each string, array and object that is longer than a step: where it ends, by where it begins. */
  readonly ends: ReadonlyMap<number, number>
}

interface Options {
  /**
   * Parses a part. Throws where that is not JSON, for a key `__proto__`, and for `prototype` within `constructor`: also
   * in a member that a later one of the same name replaces.
   */
  readonly parse: (text: string) => unknown
  /** In characters. */
  readonly step?: number | undefined
}

/** An array, an object or a string that is open where the scan is. */
interface Level {
  readonly close: ']' | '}' | '"'
  readonly from: number
  /** What it has so far; undefined until the first cut within it. */
  made?: unknown[] | Record<string, unknown> | string
  /** The key of its current member: where the string begins and ends. */
  keyFrom: number
  keyTo: number
}

/**
 * As JSON.parse, in steps: the caller may do something else between two steps. The text is cut at commas and within
 * strings. Each part is closed with the brackets that are open, so that JSON.parse takes it, and its elements are added
 * to those before. Throws JsonRefused.
 */
export function parseInSteps(text: string, options: Options): Generator<undefined, SteppedJson> {
  return new Steps(text, options).run()
}

class Steps {
  readonly #text: string
  readonly #parse: (text: string) => unknown
  readonly #step: number
  readonly #ends = new Map<number, number>()
  /** The outermost stands for the text as a whole: it gets one element. */
  readonly #open: Level[] = [{ close: ']', from: -1, made: [], keyFrom: 0, keyTo: 0 }]
  /** So many of them have been made. The part that is being scanned is in the innermost of these. */
  #made = 1
  /** Where the part begins. */
  #cut = 0
  /** The part begins behind an element: a comma comes before the next. */
  #behindElement = false
  /** The next string is a key. */
  #keyNext = false
  #values = 1

  constructor(text: string, { parse, step = STEP }: Options) {
    this.#text = text
    this.#parse = parse
    this.#step = step
  }

  *run(): Generator<undefined, SteppedJson> {
    const text = this.#text
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      if (code === QUOTE) {
        i = yield* this.#string(i)
      } else if (code === COMMA && i - this.#cut >= this.#step) {
        this.#cutAtComma(i)
        yield
      } else {
        this.#bound(i)
      }
      this.#structure(code, i)
    }
    if (this.#open.length > 1) throw new JsonRefused('invalid', this.#cut)
    this.#take(text.length, '')
    const [value, ...more] = this.#open[0]!.made as unknown[]
    if (more.length > 0) throw new JsonRefused('invalid', this.#cut)
    return { value, ends: this.#ends }
  }

  /** Answers where the string ends that begins at `from`: its closing quote. */
  *#string(from: number): Generator<undefined, number> {
    const text = this.#text
    const isKey = this.#keyNext
    this.#open.push({ close: '"', from, keyFrom: 0, keyTo: 0 })
    let i = from + 1
    for (let code = text.charCodeAt(i); code !== QUOTE && i < text.length; code = text.charCodeAt(i)) {
      if (i - this.#cut >= this.#step && !isKey) {
        this.#cutOpen(i)
        this.#cut = i
        yield
      } else if (isKey) {
        this.#bound(i)
      }
      // An escape is not cut.
      if (code !== BACKSLASH) i++
      else i += text.charCodeAt(i + 1) === U ? 6 : 2
    }
    if (i >= text.length) throw new JsonRefused('invalid', this.#cut)
    this.#close('"', i)
    const level = this.#open.at(-1)!
    if (isKey) {
      level.keyFrom = from
      level.keyTo = i + 1
    }
    return i
  }

  #structure(code: number, i: number): void {
    if (code === COMMA) {
      this.#keyNext = this.#open.at(-1)!.close === '}'
      this.#count(1)
    } else if (code === COLON) {
      this.#keyNext = false
      this.#count(KEY_VALUES)
    } else if (code === ARRAY || code === OBJECT) {
      this.#keyNext = code === OBJECT
      this.#open.push({ close: code === OBJECT ? '}' : ']', from: i, keyFrom: 0, keyTo: 0 })
      if (this.#open.length - 1 > MAX_JSON_DEPTH) throw new JsonRefused('deep', i)
      this.#count(1)
    } else if (code === ARRAY_END || code === OBJECT_END) {
      this.#close(code === OBJECT_END ? '}' : ']', i)
    }
  }

  #count(values: number): void {
    this.#values += values
    if (this.#values > MAX_JSON_VALUES) throw new JsonRefused('many', this.#cut)
  }

  #bound(i: number): void {
    if (i - this.#cut >= this.#step + MAX_JSON_TOKEN) throw new JsonRefused('long', this.#cut)
  }

  #close(close: Level['close'], i: number): void {
    const level = this.#open.at(-1)!
    if (this.#open.length === this.#made) {
      // What closes the text itself, or another kind, belongs to nothing.
      if (level.close !== close || this.#made === 1) throw new JsonRefused('invalid', this.#cut)
      this.#take(i, '')
      this.#made--
      this.#cut = i + 1
      this.#behindElement = true
      if (typeof level.made === 'string') this.#put(this.#open.at(-2)!, level.made)
    }
    this.#open.pop()
    if (i + 1 - level.from > this.#step) this.#ends.set(level.from, i + 1)
  }

  #cutAtComma(i: number): void {
    let last = i - 1
    while (last > this.#cut && SPACE.test(this.#text[last]!)) last--
    // The bracket that is added would hide that there is nothing before the comma.
    const code = this.#text.charCodeAt(last)
    if (code === ARRAY || code === OBJECT) throw new JsonRefused('invalid', this.#cut)
    this.#cutOpen(i)
    this.#cut = i + 1
    this.#behindElement = false
  }

  /** Takes the part that ends at `end`, and makes what is open there. */
  #cutOpen(end: number): void {
    const closers = this.#open.slice(this.#made).map(({ close }) => close)
    this.#take(end, closers.reverse().join(''))
    for (; this.#made < this.#open.length; this.#made++) {
      this.#open[this.#made]!.made = this.#last(this.#open[this.#made - 1]!) as NonNullable<Level['made']>
    }
  }

  /** Parses the part that ends at `end`, and adds it to what it is in. */
  #take(end: number, closers: string): void {
    const level = this.#open[this.#made - 1]!
    const part = this.#text.slice(this.#cut, end)
    if (level.close === '"') {
      level.made = (level.made as string) + (this.#parsed(`"${part}"`) as string)
      return
    }
    const elements = this.#elements(part)
    if (elements === undefined) return
    const value = this.#container(`${level.close === '}' ? '{' : '['}${elements}${closers}${level.close}`)
    if (Array.isArray(level.made)) for (const each of value as unknown[]) level.made.push(each)
    else Object.assign(level.made as object, value)
  }

  /** Without the comma before them. Undefined: there are none. */
  #elements(part: string): string | undefined {
    const rest = part.replace(SPACES, '')
    if (this.#behindElement && rest === '') return undefined
    const elements = this.#behindElement ? rest.slice(1).replace(SPACES, '') : rest
    if (elements === '' || (this.#behindElement && rest[0] !== ',')) throw new JsonRefused('invalid', this.#cut)
    return elements
  }

  /** A part of the value of `constructor` is parsed within that name, which decides what is not taken in it. */
  #container(part: string): unknown {
    const outer = this.#open[this.#made - 2]
    if (outer?.close !== '}' || this.#key(outer) !== 'constructor') return this.#parsed(part)
    return (this.#parsed(`{"constructor":${part}}`) as { readonly constructor: unknown }).constructor
  }

  #parsed(part: string): unknown {
    try {
      return this.#parse(part)
    } catch (cause) {
      throw new JsonRefused('invalid', this.#cut, { cause })
    }
  }

  #last(level: Level): unknown {
    const { made } = level
    return Array.isArray(made) ? made.at(-1) : (made as Record<string, unknown>)[this.#key(level)]
  }

  #put(level: Level, value: unknown): void {
    const { made } = level
    if (Array.isArray(made)) made[made.length - 1] = value
    else (made as Record<string, unknown>)[this.#key(level)] = value
  }

  #key({ keyFrom, keyTo }: Level): string {
    return JSON.parse(this.#text.slice(keyFrom, keyTo)) as string
  }
}
