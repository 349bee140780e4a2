// Titles inside the stream, as SHOUTcast invented them: after every `icy-metaint` bytes of sound comes a block of text.

/** Bytes of sound between two blocks: half a second at 64 kb/s. */
export const METAINT = 4096
const MAX_TITLE_BYTES = 512

/** One byte with the length in units of 16, then the text, filled up with zeros. */
export function metadataBlock(title) {
  const text = Buffer.from(`StreamTitle='${plainTitle(title)}';`)
  const units = Math.ceil(text.length / 16)
  const block = Buffer.alloc(1 + units * 16)
  block[0] = units
  text.copy(block, 1)
  return block
}

/** One line, not too long, and without what ends the text for a player. */
export function plainTitle(title) {
  const line = title
    .replace(/\p{Cc}+/gu, ' ')
    .replaceAll("';", "'")
    .trim()
  const bytes = Buffer.from(line)
  if (bytes.length <= MAX_TITLE_BYTES) return line
  // A character that is cut in two would come out as a replacement character.
  return bytes
    .subarray(0, MAX_TITLE_BYTES)
    .toString()
    .replace(/\uFFFD+$/, '')
}

/**
 * Metadata comes at places that count from the listener's first byte, which looks like work for each listener. It is not: here all
 * broadcasts are exactly METAINT bytes long, and a listener joins between two of them. So the places are the same for all, each frame
 * (sound, then the block) is made once, and all listeners that asked for titles share its bytes.
 *
 * Every block has the title, so that who joins sees it within METAINT bytes: 50 bytes in 4096.
 */
export function icyCodec(title) {
  return {
    name: 'icy',
    encode: ({ payload }) => Buffer.concat([payload, metadataBlock(title())]),
    concat: (frames, bytes) => Buffer.concat(frames, bytes),
  }
}

/** Cuts what comes to pieces of exactly this size. The rest, always less than one piece, waits for more. */
export class Cutter {
  #size
  #rest = Buffer.alloc(0)

  constructor(size = METAINT) {
    this.#size = size
  }

  push(bytes) {
    const all = Buffer.concat([this.#rest, bytes])
    const pieces = []
    let at = 0
    for (; at + this.#size <= all.length; at += this.#size) pieces.push(all.subarray(at, at + this.#size))
    this.#rest = Buffer.from(all.subarray(at))
    return pieces
  }
}
