/** V8 copies parts of a string that are shorter, in characters. A longer part keeps the whole string in memory. */
const PART_LENGTH = 13
/** Bounds the texts of `SharedTexts`, because anybody on the network may send new ones. */
const MAX_SHARED = 256

const NOT_LATIN_1 = /[\u0100-\uffff]/

/** Copies the text where it may be a part of another one, such as a URL or a line, which it would keep in memory. */
export function ownText(text: string): string {
  return text.length < PART_LENGTH ? text : (JSON.parse(JSON.stringify(text)) as string)
}

/** The memory of a text's characters, in bytes: one for each, or two where one of them is not Latin-1. */
export function textBytes(text: string): number {
  return NOT_LATIN_1.test(text) ? 2 * text.length : text.length
}

/** Gives equal texts of many messages one string. Each request brings a new string of its own. */
export class SharedTexts {
  readonly #texts = new Map<string, string>()

  /** Undefined: there is no room for another text. */
  get(text: string): string | undefined {
    const known = this.#texts.get(text)
    if (known !== undefined || this.#texts.size >= MAX_SHARED) return known
    const own = ownText(text)
    this.#texts.set(own, own)
    return own
  }
}
