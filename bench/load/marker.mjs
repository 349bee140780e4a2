// What every payload begins with, so that a delivery can be counted, put in order and timed wherever it arrives, whatever protocol
// carries it: `~!~`, topic, sequence number, time. Digits of five bits as the characters '0' to 'O', which no JSON or SSE escapes.
export const MAGIC = '~!~'
const TOPIC = 4
const SEQ = 5
const TIME = 8
export const MARKER_BYTES = MAGIC.length + TOPIC + SEQ + TIME
const ZERO = 48
const FILLER = 'x'.charCodeAt(0)

/** Microseconds since the process began; a payload carries them, so writer and reader must be one process. */
export const micros = () => Math.floor(performance.now() * 1000)

/**
 * A payload of `bytes`, to be stamped with `stamp` again and again.
 * @param {number} bytes
 */
export function payloadOf(bytes) {
  const payload = Buffer.alloc(bytes, FILLER)
  payload.write(MAGIC, 0, 'latin1')
  return payload
}

/**
 * @param {Buffer} payload
 * @param {number} topic
 * @param {number} seq
 * @param {number} time
 */
export function stamp(payload, topic, seq, time) {
  let at = MAGIC.length
  at = digits(payload, at, TOPIC, topic)
  at = digits(payload, at, SEQ, seq)
  digits(payload, at, TIME, time)
}

/**
 * @param {Buffer} payload
 * @param {number} at
 * @param {number} count
 * @param {number} value
 */
function digits(payload, at, count, value) {
  for (let i = count - 1; i >= 0; i--) {
    payload[at + i] = ZERO + (value % 32)
    value = Math.floor(value / 32)
  }
  return at + count
}

/**
 * @param {Uint8Array} bytes
 * @param {number} at
 * @param {number} count
 */
function value(bytes, at, count) {
  let sum = 0
  for (let i = 0; i < count; i++) sum = sum * 32 + (bytes[at + i] ?? 0) - ZERO
  return sum
}

/** @typedef {(bytes: Uint8Array, at: number) => number} Field */
/** @type {(bytes: Uint8Array, at: number) => boolean} */
export const isMarker = (bytes, at) => bytes[at] === 126 && bytes[at + 1] === 33 && bytes[at + 2] === 126
/** @type {Field} */
export const topicOf = (bytes, at) => value(bytes, at + MAGIC.length, TOPIC)
/** @type {Field} */
export const seqOf = (bytes, at) => value(bytes, at + MAGIC.length + TOPIC, SEQ)
/** @type {Field} */
export const timeOf = (bytes, at) => value(bytes, at + MAGIC.length + TOPIC + SEQ, TIME)
