import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/**
 * A polite close to a peer that does not read leaves megabytes in the kernel until it times out; a reset frees them
 * now. A TLS socket cannot be reset, but the socket below it can. What is no TCP socket (a pipe) is destroyed.
 */
export function resetSocket(socket: Socket): void {
  const { _parent: parent } = socket as Socket & { _parent?: Socket }
  if (!isShuttingDown(socket)) {
    try {
      ;(socket instanceof TLSSocket && parent ? parent : socket).resetAndDestroy()
    } catch {}
  }
  socket.destroy()
}

/**
 * Has the end been handed down, to wait there behind what the peer does not read? libuv resets no such socket, and Node
 * then lets go of it open, without a word to anybody: it would hold its descriptor as long as the process lives.
 */
function isShuttingDown({ writableEnded, writableFinished, writableLength }: Socket): boolean {
  return writableEnded && !writableFinished && writableLength === 0
}
