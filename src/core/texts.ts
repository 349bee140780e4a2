/** V8 copies shorter parts of a string. A longer part refers to the string that it was cut from, and keeps all of it in memory. */
const PART_LENGTH = 13
/** How many texts `SharedTexts` knows at most: their number must not grow with what strangers send. */
const MAX_SHARED = 256

const NOT_LATIN_1 = /[\u0100-\uffff]/

/** The text in memory of its own. A part of a URL or of a line would keep the whole URL or line. */
export function ownText(text: string): string {
  return text.length < PART_LENGTH ? text : (JSON.parse(JSON.stringify(text)) as string)
}

/** The memory of a text's characters, in bytes: two for each if one of them is not Latin-1. */
export function textBytes(text: string): number {
  return NOT_LATIN_1.test(text) ? 2 * text.length : text.length
}

/** One string for each of the few texts that many messages have: each request brings a string of its own. */
export class SharedTexts {
  readonly #texts = new Map<string, string>()

  /** Undefined: it is not one of them. */
  get(text: string): string | undefined {
    const known = this.#texts.get(text)
    if (known !== undefined || this.#texts.size >= MAX_SHARED) return known
    const own = ownText(text)
    this.#texts.set(own, own)
    return own
  }
}
