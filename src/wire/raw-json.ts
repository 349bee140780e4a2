/** What no publisher can know: it stands for a raw text while the JSON around it is written. */
const MARK = `raw:${crypto.randomUUID()}:`
const MARKED = new RegExp(`"${MARK}(\\d+)"`, 'g')

let written: string[] | undefined

/**
 * A text of valid JSON that `stringifyRaw` writes as it stands: numbers keep their digits, keys their order. Whatever
 * else writes it gets the value.
 */
export class RawJson {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }

  toJSON(): unknown {
    return written === undefined ? JSON.parse(this.text) : `${MARK}${written.push(this.text) - 1}`
  }
}

/** As JSON.stringify, with each RawJson in it as it stands. */
export function stringifyRaw(value: object): string {
  const texts: string[] = []
  written = texts
  try {
    const json = JSON.stringify(value)
    return texts.length === 0 ? json : json.replace(MARKED, (_, index) => texts[Number(index)]!)
  } finally {
    written = undefined
  }
}
