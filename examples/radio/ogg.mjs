// Ogg (RFC 3533) with Vorbis, Opus or FLAC, cut into pages. What a decoder needs first, the header pages, is one unit of its own.

import { MAX_NOISE } from './mp3.mjs'

/** Header pages carry comments, and some comments carry a picture. */
const MAX_HEADERS = 256 * 1024
const EMPTY = Buffer.alloc(0)
const BEGINS = 2
/** No encoder makes pages of more; a jump of the position is a hole in a recording. */
const MAX_PAGE_SECONDS = 10
const NO_PACKET_ENDS = 0xffff_ffff_ffff_ffffn

/** The checksum of a page: CRC-32 with the bits the other way round than zlib's, over the page with zeros in its place. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte << 24
  for (let bit = 0; bit < 8; bit++) value = value & 0x8000_0000 ? (value << 1) ^ 0x04c1_1db7 : value << 1
  return value
})

export function checksum(page) {
  let value = 0
  for (let at = 0; at < page.length; at++) {
    const byte = at >= 22 && at < 26 ? 0 : page[at]
    value = (value << 8) ^ TABLE[(value >>> 24) ^ byte]
  }
  return value >>> 0
}

/** Takes bytes as they come and gives whole pages, with how long they last. Throws when a lot of bytes held none. */
export class OggParser {
  #rest = EMPTY
  #noise = 0
  /** The stream that is heard: what it is, and how far it got. */
  #stream

  push(chunk) {
    this.#rest = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk
    const units = []
    let at = 0
    for (;;) {
      const found = this.#rest.indexOf('OggS', at, 'latin1')
      // The first letters of the mark may be there already.
      const start = found < 0 ? Math.max(at, this.#rest.length - 3) : found
      this.#lose(start - at)
      at = start
      const length = found < 0 ? undefined : pageLength(this.#rest, at)
      if (length === undefined || at + length > this.#rest.length) break
      const page = this.#rest.subarray(at, at + length)
      const whole = page.readUInt32LE(22) === checksum(page)
      if (whole) units.push(...this.#page(page))
      else this.#lose(1)
      at += whole ? length : 1
    }
    this.#rest = this.#rest.subarray(at)
    return units
  }

  end() {
    return []
  }

  #lose(bytes) {
    this.#noise += bytes
    if (this.#noise > MAX_NOISE)
      throw new Error(`${MAX_NOISE / 1024} KiB without a page of sound: this is not Ogg Vorbis, Opus or FLAC`)
  }

  #page(page) {
    const serial = page.readUInt32LE(14)
    if (page[5] & BEGINS) this.#stream = begin(page, serial)
    const stream = this.#stream
    // Who joins in the middle of a file has no headers; and a second stream (a picture, a subtitle) is not for a radio.
    if (stream?.serial !== serial) return []
    if (stream.missing > 0) {
      collectHeader(stream, page)
      return stream.missing > 0 ? [] : [{ bytes: Buffer.concat(stream.headers), seconds: 0, header: true }]
    }
    const seconds = lasts(stream, page)
    // Pages that take no time would all be sent at once: they are noise too.
    if (seconds > 0) this.#noise = 0
    else this.#lose(page.length)
    return [{ bytes: page, seconds }]
  }
}

function pageLength(bytes, at) {
  if (bytes.length < at + 27 || bytes.length < at + 27 + bytes[at + 26]) return undefined
  const table = bytes.subarray(at + 27, at + 27 + bytes[at + 26])
  return 27 + table.length + table.reduce((sum, size) => sum + size, 0)
}

/** Vorbis has three packets before the sound, Opus two; FLAC says how many follow its first (0: unknown, but comments always do). */
function begin(page, serial) {
  const packet = page.subarray(27 + page[26])
  if (packet.toString('latin1', 0, 7) === '\x01vorbis') {
    return { serial, rate: packet.readUInt32LE(12), missing: 3, headers: [], bytes: 0, position: undefined }
  }
  if (packet.toString('latin1', 0, 8) === 'OpusHead') {
    return { serial, rate: 48_000, missing: 2, headers: [], bytes: 0, position: undefined }
  }
  if (packet.toString('latin1', 0, 5) === '\x7fFLAC' && packet.length >= 30) {
    const missing = 1 + Math.max(packet.readUInt16BE(7), 1)
    return { serial, rate: packet.readUIntBE(27, 3) >> 4, missing, headers: [], bytes: 0, position: undefined }
  }
  throw new Error('an Ogg stream that is neither Vorbis, Opus nor FLAC')
}

function collectHeader(stream, page) {
  stream.headers.push(page)
  stream.bytes += page.length
  if (stream.bytes > MAX_HEADERS) throw new Error(`Ogg headers of more than ${MAX_HEADERS / 1024} KiB`)
  // A packet ends where a segment is shorter than it could be.
  stream.missing -= page.subarray(27, 27 + page[26]).filter(size => size < 255).length
}

/** From the granule position, which counts samples up to the end of the page. */
function lasts(stream, page) {
  const granule = page.readBigUInt64LE(6)
  if (granule === NO_PACKET_ENDS) return 0
  const position = Number(granule) / stream.rate
  // A file begins near 0; what was recorded from a running stream begins anywhere.
  const before = stream.position ?? (position < 5 ? 0 : position)
  stream.position = position
  const seconds = position - before
  return seconds > 0 && seconds <= MAX_PAGE_SECONDS ? seconds : 0
}
