import type { Socket } from 'node:net'
import { eventLoop } from '../event-loop.ts'

/** How long a connection goes on taking what its peer still sends, in ms, and how many bytes of it. */
const LINGER_MS = 2000
const LINGER_BYTES = 64 * 1024 * 1024

/**
 * Closes a connection in two steps (RFC 9112, section 9.6): it sends what is written and the end, then reads and drops
 * what the peer still sends until the peer closes as well. A close at once would make the kernel send a reset, and a
 * reset takes the answer away from a peer that has not read it.
 */
export function linger(socket: Socket): void {
  const timer = eventLoop.after(LINGER_MS, () => socket.destroy())
  socket.once('close', () => timer[Symbol.dispose]())
  socket.end()
  // Node's parser may have stopped the reading, and starts it again at this event alone.
  socket.pause()
  socket.once('resume', () => drop(socket))
  socket.resume()
}

/** What comes now is no request, so the parser hears nothing more. An error is the end that is waited for. */
function drop(socket: Socket): void {
  let left = LINGER_BYTES
  for (const event of ['data', 'end', 'error']) socket.removeAllListeners(event)
  socket.on('error', () => {})
  socket.on('data', ({ length }: Buffer) => {
    left -= length
    if (left < 0) socket.destroy()
  })
}

/** Node closes the connection of a last answer with `destroySoon`. */
export function lingerAfterAnswer(socket: Socket): void {
  socket.destroySoon = () => linger(socket)
}
