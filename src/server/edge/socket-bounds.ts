import type { WebSocket } from 'ws'

/**
 * Pongs that may wait in this process to be sent; of further pings only the newest is answered (RFC 6455, section
 * 5.5.3).
 */
const MAX_PONGS = 16
/** So many small pieces of an unfinished message are made one. */
const MAX_PIECES = 256
/** A piece of so many bytes costs little beside its bytes, and is left as it is. */
const LARGE_BYTES = 4096

/** Of one socket that was pinged. */
interface Pongs {
  waiting: number
  /** The payload of the newest ping that could not be answered yet. */
  newest: Buffer | undefined
}

const pongs = new WeakMap<WebSocket, Pongs>()

/** What ws 8 keeps of a message that has not come as a whole. */
interface Receiver {
  _buffers: Buffer[]
  _fragments: Buffer[]
  _write(chunk: Buffer, encoding: string, done: (error?: Error) => void): void
}

/**
 * Bounds what one peer can make ws keep, beside the bytes of one message. ws closes a peer that sends a message in many
 * segments or fragments, or many pings at once, though all of that is valid: here small pieces are joined, and pongs
 * are merged.
 */
export function boundSocket(webSocket: WebSocket): void {
  webSocket.on('ping', answerPing)
  const { _receiver: receiver } = webSocket as WebSocket & { readonly _receiver?: Receiver }
  if (receiver?._buffers !== undefined) receiver._write = writeJoined
}

function answerPing(this: WebSocket, data: Buffer): void {
  let state = pongs.get(this)
  if (state === undefined) {
    state = { waiting: 0, newest: undefined }
    pongs.set(this, state)
  }
  if (state.waiting < MAX_PONGS) sendPong(this, state, data)
  else state.newest = data
}

function sendPong(webSocket: WebSocket, state: Pongs, data: Buffer): void {
  if (webSocket.readyState !== webSocket.OPEN) return
  state.waiting++
  webSocket.pong(data, false, () => {
    state.waiting--
    const { newest } = state
    state.newest = undefined
    if (newest !== undefined) sendPong(webSocket, state, newest)
  })
}

/** In place of the receiver's own: what the segments before left is joined first. */
function writeJoined(this: Receiver, chunk: Buffer, encoding: string, done: (error?: Error) => void): void {
  if (this._buffers.length >= MAX_PIECES) joinSmall(this._buffers)
  if (this._fragments.length >= MAX_PIECES) joinSmall(this._fragments)
  const { _write: write } = Object.getPrototypeOf(this) as Receiver
  write.call(this, chunk, encoding, done)
}

/**
 * Makes one piece of the small ones at the end, if they are many. A piece is copied until it is large, so each byte a
 * few times at most.
 */
export function joinSmall(pieces: Buffer[]): void {
  let from = pieces.length
  while (from > 0 && pieces[from - 1]!.byteLength < LARGE_BYTES) from--
  if (pieces.length - from < MAX_PIECES) return
  pieces.push(Buffer.concat(pieces.splice(from)))
}
