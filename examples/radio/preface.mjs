// How a stream of Ogg begins for a late listener. Its decoder needs the header pages, which went by long ago, and then pages that
// belong to them; the burst may hold pages that belong to other ones, from before somebody went live.

export class Preface {
  #burstBytes
  #header
  /** Bytes sent since the header, with it, and in all. */
  #since = 0
  #total = 0
  #mixed = false

  constructor(burstBytes) {
    this.#burstBytes = burstBytes
  }

  /** Told of all that is broadcast. */
  sent(bytes, header) {
    if (header) {
      // A file that begins again brings the same headers again: whatever is in the burst fits.
      this.#mixed = this.#header !== undefined && !header.equals(this.#header)
      this.#header = header
      this.#since = 0
    }
    this.#since += bytes
    this.#total += bytes
  }

  /** What to send first, if anything, and whether the burst may follow. Of a format without headers: nothing, and it may. */
  forListener() {
    // Just begun: the burst has everything in it, headers first.
    if (!this.#header || this.#total <= this.#burstBytes) return { header: undefined, burst: true }
    return { header: this.#header, burst: !this.#mixed || this.#since > this.#burstBytes }
  }
}
