// Pictures with a time in them, and a reader that finds them again, whatever frames are around them.
export const PICTURE_BYTES = 60_000
const MARK = 'PICT'

/** Of the wall clock, which all processes of the machine share. */
export function picture() {
  const data = Buffer.alloc(PICTURE_BYTES)
  data.write(MARK)
  data.writeDoubleBE(Date.now(), MARK.length)
  return data
}

export class PictureReader {
  bytes = 0
  /** @type {number[]} how old each was when its last byte was read, in ms */
  ages = []
  #rest = Buffer.alloc(0)

  /** @param {Buffer} data */
  read(data) {
    this.bytes += data.byteLength
    this.#rest = this.#rest.byteLength === 0 ? data : Buffer.concat([this.#rest, data])
    for (;;) {
      const at = this.#rest.indexOf(MARK)
      if (at === -1 || this.#rest.byteLength < at + PICTURE_BYTES) return
      this.ages.push(Date.now() - this.#rest.readDoubleBE(at + MARK.length))
      this.#rest = this.#rest.subarray(at + PICTURE_BYTES)
    }
  }
}
