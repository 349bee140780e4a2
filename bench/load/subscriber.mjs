import { connect } from 'node:net'
import { micros } from './marker.mjs'
import { MarkerReader } from './marker-reader.mjs'

/** One for all sockets: what was read is counted before the next read. */
const shared = Buffer.allocUnsafe(64 * 1024)

/** Any answer but a stream or an open WebSocket. */
const REFUSED = /^HTTP\/1\.[01] (?!101 |200 )\d{3}/

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
  #reader
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
    this.#reader = new MarkerReader(tally, late)
    this.opened = new Promise((resolve, reject) => {
      this.#opened = { resolve, reject }
    })
    const onread = { buffer: shared, callback: (count, buffer) => this.#read(count, buffer) }
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true, onread }, () => this.#advance())
    this.#socket.on('error', error => this.#end(error))
    this.#socket.on('close', () => this.#end(new Error('the server closed the connection')))
  }

  #end(error) {
    if (!this.closed) this.#tally.closed++
    this.closed = true
    this.#opened?.reject(error)
    this.#opened = undefined
  }

  #advance() {
    const step = this.#steps[this.#step]
    if (step?.send) this.#socket.write(step.send, 'latin1')
    if (step !== undefined && step.until === undefined) {
      this.#step++
      this.#advance()
    } else if (step === undefined) {
      this.#opened?.resolve()
      this.#opened = undefined
      this.#seen = ''
    }
  }

  #read(count, buffer) {
    if (this.#opened !== undefined) this.#handshake(buffer.latin1Slice(0, count))
    else this.#reader.read(buffer, count, micros())
    return true
  }

  #handshake(text) {
    this.#seen += text
    if (this.#step === 0 && REFUSED.test(this.#seen)) {
      this.#end(new Error(`refused: ${this.#seen.slice(0, 300)}`))
      return
    }
    for (let step = this.#steps[this.#step]; step?.until !== undefined; step = this.#steps[this.#step]) {
      const at = this.#seen.indexOf(step.until)
      if (at === -1) {
        if (this.#seen.length > 4096) this.#end(new Error(`waited for ${step.until}, got: ${this.#seen.slice(0, 300)}`))
        return
      }
      this.#seen = this.#seen.slice(at + step.until.length)
      this.#step++
      this.#advance()
    }
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
