import { connect } from 'node:net'
import { isMarker, MAGIC, MARKER_BYTES, micros, seqOf, timeOf, topicOf } from './marker.mjs'

/** One for all sockets: what was read is counted before the next read. */
const shared = Buffer.allocUnsafe(64 * 1024)
const MAGIC_BYTES = Buffer.from(MAGIC, 'latin1')

/**
 * @typedef {{ send: string, until?: string }} Step   Both in latin1. `until` is waited for; without it the next step follows at once.
 */

/**
 * A raw socket that walks through an opening dialogue and then counts markers in whatever comes. No protocol library: it would cost
 * more than the server that is measured.
 */
export class Subscriber {
  #socket
  #tally
  #steps
  #step = 0
  #seen = ''
  #opened
  /** Bytes of the current payload that are still to come, and what its marker said. */
  #rest = 0
  #topic = 0
  #seq = 0
  #time = 0
  /** Bytes between the end of a payload and the next marker, as of last time: nearly always right. */
  #between = 0
  /** The end of the last read, where a marker may have begun. */
  #tail = Buffer.alloc(0)
  /** Next sequence number by topic; one topic is the usual case. */
  #next = new Map()
  #only = -1
  #onlyNext = 0
  closed = false

  /**
   * @param {number} port
   * @param {Step[]} steps
   * @param {import('./tally.mjs').Tally} tally
   * @param {boolean} late joins while messages flow: the first that it sees is the first that it is owed
   */
  constructor(port, steps, tally, late = false) {
    this.#tally = tally
    this.#steps = steps
    this.late = late
    this.opened = new Promise((resolve, reject) => {
      this.#opened = { resolve, reject }
    })
    const onread = { buffer: shared, callback: (count, buffer) => this.#read(count, buffer) }
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true, onread }, () => this.#next_step())
    this.#socket.on('error', error => this.#end(error))
    this.#socket.on('close', () => this.#end(new Error('the server closed the connection')))
  }

  #end(error) {
    if (!this.closed) this.#tally.closed++
    this.closed = true
    this.#opened?.reject(error)
    this.#opened = undefined
  }

  #next_step() {
    const step = this.#steps[this.#step]
    if (step?.send) this.#socket.write(step.send, 'latin1')
    if (step !== undefined && step.until === undefined) {
      this.#step++
      this.#next_step()
    } else if (step === undefined) {
      this.#opened?.resolve()
      this.#opened = undefined
      this.#seen = ''
    }
  }

  #read(count, buffer) {
    if (this.#opened !== undefined) this.#handshake(buffer.latin1Slice(0, count))
    else this.#count(count, buffer)
    return true
  }

  #handshake(text) {
    this.#seen += text
    for (let step = this.#steps[this.#step]; step?.until !== undefined; step = this.#steps[this.#step]) {
      const at = this.#seen.indexOf(step.until)
      if (at === -1) {
        if (this.#seen.length > 4096) this.#end(new Error(`waited for ${step.until}, got: ${this.#seen.slice(0, 300)}`))
        return
      }
      this.#seen = this.#seen.slice(at + step.until.length)
      this.#step++
      this.#next_step()
    }
  }

  #count(count, buffer) {
    const now = micros()
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
      at = this.#split(count, buffer, now)
      if (this.#rest > 0) return
    }
    const { payloadBytes } = this.#tally
    for (;;) {
      let marker = at + this.#between
      if (marker + MARKER_BYTES > count || !isMarker(buffer, marker)) {
        marker = buffer.indexOf(MAGIC_BYTES, at)
        if (marker === -1 || marker + MARKER_BYTES > count) {
          this.#keep(buffer, Math.max(at, count - MARKER_BYTES + 1), count)
          return
        }
        this.#between = marker - at
      }
      this.#remember(buffer, marker)
      at = marker + payloadBytes
      if (at > count) {
        this.#rest = at - count
        return
      }
      this.#deliver(now)
    }
  }

  #keep(buffer, from, to) {
    this.#tail = from < to ? Buffer.from(buffer.subarray(from, to)) : EMPTY
  }

  /** A marker may lie across two reads. Returns where to go on. */
  #split(count, buffer, now) {
    const tail = this.#tail
    this.#tail = EMPTY
    const both = Buffer.concat([tail, buffer.subarray(0, Math.min(count, MARKER_BYTES))])
    const marker = both.indexOf(MAGIC_BYTES)
    if (marker === -1 || marker >= tail.length) return 0
    if (marker + MARKER_BYTES > both.length) {
      this.#tail = both
      this.#rest = 0
      return count
    }
    this.#remember(both, marker)
    const end = marker + this.#tally.payloadBytes - tail.length
    if (end > count) this.#rest = end - count
    else this.#deliver(now)
    return Math.max(0, end)
  }

  #remember(bytes, at) {
    this.#topic = topicOf(bytes, at)
    this.#seq = seqOf(bytes, at)
    this.#time = timeOf(bytes, at)
  }

  #deliver(now) {
    const seq = this.#seq
    let expected
    if (this.#topic === this.#only) expected = this.#onlyNext
    else if (this.#only === -1) {
      this.#only = this.#topic
      expected = this.late ? seq : 0
    } else expected = this.#next.get(this.#topic) ?? (this.late ? seq : 0)
    if (this.#topic === this.#only) this.#onlyNext = Math.max(expected, seq + 1)
    else this.#next.set(this.#topic, Math.max(expected, seq + 1))
    this.#tally.deliver(now - this.#time, seq - expected, now)
  }

  /** Reads nothing more, as a client does whose network has gone. */
  stall() {
    this.#socket.pause()
  }

  /** @param {Buffer} bytes */
  send(bytes) {
    this.#socket.write(bytes)
  }

  close() {
    this.closed = true
    this.#socket.resetAndDestroy()
  }
}

const EMPTY = Buffer.alloc(0)
