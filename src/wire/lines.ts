const LF = 0x0a
const CR = 0x0d

/**
 * Cuts a byte stream into lines, whatever the pieces it comes in. A line ends with LF or CR LF, which are not part of
 * it; the last may lack its end.
 */
export class LineSplitter {
  readonly #maxBytes: number
  #rest: Uint8Array[] = []
  #restBytes = 0

  /** @param maxBytes a longer line makes `push` throw a RangeError */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  *push(piece: Uint8Array): Generator<Uint8Array> {
    let start = 0
    for (let end = piece.indexOf(LF); end !== -1; end = piece.indexOf(LF, start)) {
      yield this.#line(piece.subarray(start, end))
      start = end + 1
    }
    if (start < piece.byteLength) this.#keep(piece.subarray(start))
  }

  /** What came after the last line end, if anything. */
  *end(): Generator<Uint8Array> {
    if (this.#restBytes > 0) yield this.#line(new Uint8Array(0))
  }

  #keep(part: Uint8Array): void {
    this.#rest.push(part)
    this.#restBytes += part.byteLength
    if (this.#restBytes > this.#maxBytes) throw new RangeError(`a line is longer than ${this.#maxBytes} bytes`)
  }

  /** A copy: the piece that it was cut from must not be kept alive by one line of it. */
  #line(part: Uint8Array): Uint8Array {
    this.#keep(part)
    const line = new Uint8Array(this.#restBytes)
    let offset = 0
    for (const each of this.#rest) {
      line.set(each, offset)
      offset += each.byteLength
    }
    this.#rest = []
    this.#restBytes = 0
    return line.at(-1) === CR ? line.subarray(0, -1) : line
  }
}
