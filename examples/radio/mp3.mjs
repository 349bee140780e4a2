// MP3 (MPEG-1, 2 and 2.5, layer III) cut into frames: each is a few hundred bytes that last a known time.

/** What may go by without one frame. No more than one frame of at most 1441 bytes is kept. */
export const MAX_NOISE = 64 * 1024

const KBPS = {
  1: [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  2: [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
}
const RATES = [44100, 48000, 32000]
const EMPTY = Buffer.alloc(0)

/** The header of a frame of layer III at this place; undefined where there is none. `kind` is what stays the same in one stream. */
export function frameHeader(bytes, at = 0) {
  if (at + 4 > bytes.length || bytes[at] !== 0xff || (bytes[at + 1] & 0xe6) !== 0xe2) return undefined
  const version = (bytes[at + 1] >> 3) & 3 // 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
  const rateIndex = (bytes[at + 2] >> 2) & 3
  const first = version === 3
  // Index 0 is the free format, which says nowhere how long a frame is.
  const kbps = KBPS[first ? 1 : 2][bytes[at + 2] >> 4]
  if (version === 1 || rateIndex === 3 || !kbps) return undefined
  const rate = RATES[rateIndex] / { 3: 1, 2: 2, 0: 4 }[version]
  const padding = (bytes[at + 2] >> 1) & 1
  return {
    kind: `${version} ${rate}`,
    kbps,
    length: Math.floor(((first ? 144_000 : 72_000) * kbps) / rate) + padding,
    seconds: (first ? 1152 : 576) / rate,
    mono: bytes[at + 3] >> 6 === 3,
    first,
  }
}

/** Takes bytes as they come and gives whole frames. Throws when a lot of bytes held none. */
export class Mp3Parser {
  #rest = EMPTY
  /** Bytes of a tag still to go by: a cover in it can be megabytes, which nobody keeps. */
  #skip = 0
  /** The kind of the frame before; undefined while out of step. */
  #kind
  #noise = 0

  push(chunk) {
    this.#rest = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk
    return this.#cut(false)
  }

  /** The input has ended: a last frame needs no other behind it. */
  end() {
    return this.#cut(true)
  }

  #cut(last) {
    const units = []
    let at = 0
    while (at < this.#rest.length) {
      const step = this.#step(at, last)
      if (step === undefined) break
      if (step.unit) units.push(step.unit)
      at += step.bytes
    }
    this.#rest = this.#rest.subarray(at)
    return units
  }

  /** How many bytes to go on from here, and what they are; undefined: more bytes must come first. */
  #step(at, last) {
    if (this.#skip > 0) {
      const bytes = Math.min(this.#skip, this.#rest.length - at)
      this.#skip -= bytes
      return { bytes }
    }
    if (this.#rest.length - at < 10 && !last) return undefined
    // Only where a frame should be: in noise three letters say nothing.
    this.#skip = this.#noise === 0 ? tagLength(this.#rest, at) : 0
    if (this.#skip > 0) return { bytes: 0 }
    const header = frameHeader(this.#rest, at)
    if (!header || (this.#kind && header.kind !== this.#kind)) return this.#noFrame()
    const end = at + header.length
    // Four bytes that look like a header are common in any file: the first frame counts only if another one follows it.
    const enough = this.#rest.length >= end + (this.#kind ? 0 : 4)
    if (!enough && !(last && this.#rest.length >= end)) return last ? { bytes: this.#rest.length - at } : undefined
    if (!this.#kind && this.#rest.length >= end + 4 && !follows(this.#rest, end, header.kind)) return this.#noFrame()
    this.#kind = header.kind
    this.#noise = 0
    const bytes = this.#rest.subarray(at, end)
    return { bytes: header.length, unit: isAudio(bytes, header) ? { bytes, seconds: header.seconds } : undefined }
  }

  #noFrame() {
    this.#kind = undefined
    if (++this.#noise > MAX_NOISE) throw new Error(`${MAX_NOISE / 1024} KiB without a frame: this is not MP3`)
    return { bytes: 1 }
  }
}

function follows(bytes, at, kind) {
  return (
    frameHeader(bytes, at)?.kind === kind || tagLength(bytes, at) > 0 || bytes.toString('latin1', at, at + 3) === 'TAG'
  )
}

/** ID3v2 (at the start, and wherever somebody joined two files) says its length; ID3v1 at the end is 128 bytes. */
function tagLength(bytes, at) {
  const mark = bytes.toString('latin1', at, at + 3)
  if (mark === 'TAG') return 128
  if (mark !== 'ID3' || bytes.length < at + 10) return 0
  const size = bytes.subarray(at + 6, at + 10).reduce((sum, byte) => sum * 128 + (byte & 0x7f), 0)
  return 10 + size + (bytes[at + 5] & 0x10 ? 10 : 0)
}

/** A first frame that holds a table of contents of the file: no sound, and a lie about a stream without an end. */
function isAudio(bytes, { mono, first }) {
  const at = 4 + (first ? (mono ? 17 : 32) : mono ? 9 : 17)
  return !['Xing', 'Info'].includes(bytes.toString('latin1', at, at + 4)) && bytes.toString('latin1', 36, 40) !== 'VBRI'
}
