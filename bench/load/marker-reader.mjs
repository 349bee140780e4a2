import { isMarker, MAGIC, MARKER_BYTES, seqOf, timeOf, topicOf } from './marker.mjs'

const MAGIC_BYTES = Buffer.from(MAGIC, 'latin1')
const EMPTY = Buffer.alloc(0)

/**
 * Counts the payloads in what one connection reads, wherever a read ends. A payload counts when its last byte is there. What lies between
 * payloads is not looked at: it is the protocol's.
 */
export class MarkerReader {
  #tally
  #late
  /** Bytes of the current payload that are still to come, and what its marker said. */
  #rest = 0
  #topic = 0
  #seq = 0
  #time = 0
  /** Bytes between the end of a payload and the next marker, as of last time: nearly always right. */
  #between = 0
  /** The end of the last read, where a marker may have begun. */
  #tail = EMPTY
  /** Next sequence number by topic; one topic is the usual case and needs no table. */
  #next = /** @type {Map<number, number>} */ (new Map())
  #only = -1
  #onlyNext = 0

  /**
   * @param {import('./tally.mjs').Tally} tally
   * @param {boolean} late it joins while messages flow: the first that it sees is the first that it is owed
   */
  constructor(tally, late) {
    this.#tally = tally
    this.#late = late
  }

  /**
   * @param {Buffer} buffer of which only the first `count` bytes are new; not kept
   * @param {number} count
   * @param {number} now
   */
  read(buffer, count, now) {
    this.#tally.bytes += count
    let at = 0
    if (this.#rest > 0) {
      if (this.#rest > count) {
        this.#rest -= count
        return
      }
      at = this.#rest
      this.#rest = 0
      this.#deliver(now)
    } else if (this.#tail.length > 0) {
      at = this.#joined(buffer, count, now)
      if (this.#rest > 0) return
    }
    while (at < count) at = this.#step(buffer, at, count, now)
  }

  /**
   * From one payload's end to the next; returns where that is, or `count` where it has not come yet.
   * @param {Buffer} buffer
   * @param {number} at
   * @param {number} count
   * @param {number} now
   */
  #step(buffer, at, count, now) {
    let marker = at + this.#between
    if (marker + MARKER_BYTES > count || !isMarker(buffer, marker)) {
      marker = buffer.indexOf(MAGIC_BYTES, at)
      if (marker === -1 || marker + MARKER_BYTES > count) {
        this.#keep(buffer, Math.max(at, count - MARKER_BYTES + 1), count)
        return count
      }
      this.#between = marker - at
    }
    return this.#begin(buffer, marker, count, now, marker)
  }

  /**
   * @param {Buffer} bytes
   * @param {number} from
   * @param {number} to
   */
  #keep(bytes, from, to) {
    this.#tail = from < to ? Buffer.from(bytes.subarray(from, to)) : EMPTY
  }

  /**
   * A marker may lie across two reads, or more if they are tiny. Returns where in the new one to go on.
   * @param {Buffer} buffer
   * @param {number} count
   * @param {number} now
   */
  #joined(buffer, count, now) {
    const tail = this.#tail
    this.#tail = EMPTY
    const both = Buffer.concat([tail, buffer.subarray(0, Math.min(count, MARKER_BYTES))])
    const marker = both.indexOf(MAGIC_BYTES)
    if (marker !== -1 && marker + MARKER_BYTES <= both.length) {
      return marker < tail.length ? this.#begin(both, marker, count, now, marker - tail.length) : 0
    }
    if (count >= MARKER_BYTES) return 0
    this.#keep(both, Math.max(0, both.length - MARKER_BYTES + 1), both.length)
    return count
  }

  /**
   * A payload whose marker is at `marker` of `bytes`, and which begins at `start` of the new read.
   * @param {Buffer} bytes
   * @param {number} marker
   * @param {number} count
   * @param {number} now
   * @param {number} start
   */
  #begin(bytes, marker, count, now, start) {
    this.#topic = topicOf(bytes, marker)
    this.#seq = seqOf(bytes, marker)
    this.#time = timeOf(bytes, marker)
    const end = start + this.#tally.payloadBytes
    if (end > count) {
      this.#rest = end - count
      return count
    }
    this.#deliver(now)
    return end
  }

  /** @param {number} now */
  #deliver(now) {
    const seq = this.#seq
    const expected = this.#expected() ?? (this.#late ? seq : 0)
    if (this.#only === -1) this.#only = this.#topic
    if (this.#topic === this.#only) this.#onlyNext = Math.max(expected, seq + 1)
    else this.#next.set(this.#topic, Math.max(expected, seq + 1))
    this.#tally.deliver(now - this.#time, seq - expected, now)
  }

  /** The next number of the topic; undefined where none has come. */
  #expected() {
    return this.#topic === this.#only ? this.#onlyNext : this.#next.get(this.#topic)
  }
}
