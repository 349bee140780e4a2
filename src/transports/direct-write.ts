import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/** The object below a TCP socket, as far as we use it. Undocumented, and the same from Node 12 on. */
export interface Handle {
  /**
   * Takes the bytes whole: what the kernel does not take at once waits in the handle, in order with all other writes.
   * Answers 0 or an error. From Node 24.22 on it is given no request, and answers one where the write has to wait.
   */
  writeBuffer(request: WriteRequest | null, bytes: Uint8Array): number | WriteRequest
  /** Bytes that wait in the handle. */
  readonly writeQueueSize: number
}

/** Looked at only where a write has to wait. */
interface WriteRequest {
  /** UNUSED until a write takes it, which then owns it: to hand it to a second one ends the process. */
  getAsyncId(): number
  oncomplete?: (status: number) => void
  /** Kept from the garbage collector until the write is done. */
  buffer?: Uint8Array
  /** From Node 24.22 on: of a write that was done before anybody could listen to it; else null. */
  readonly writeStatus?: number | null
}

type Written = 'ok' | 'full' | 'gone'
type Write = (handle: Handle, bytes: Uint8Array, done: (status: number) => void) => Written

const UNUSED = -1

/** How this Node is written to: the first write of the process that goes through a stream shows it. */
let write: Write | undefined

/**
 * What to write to below the socket's stream. Of the time that a message costs for one client the stream is a fifth (a
 * request object, two callbacks, a turn of the queue), and to a write that the kernel takes at once it adds nothing
 * that we need (docs/benchmarks.md). Undefined where there is only the stream: TLS, pipes, sockets made by others,
 * another Node, and until the first write has shown how.
 */
export function handleOf(socket: Socket): Handle | undefined {
  // Only what goes through the stream counts as activity for a timeout that somebody has set.
  if (socket instanceof TLSSocket || socket.timeout) return undefined
  const { _handle: handle } = socket as Socket & { _handle?: Handle | null }
  if (handle?.constructor.name !== 'TCP' || typeof handle.writeQueueSize !== 'number') return undefined
  if (write !== undefined) return handle
  learn(handle)
  return undefined
}

/**
 * Only a write that the kernel takes at once, and whose request, if it has one, shows that before and after it, proves
 * that this Node is of a known kind. On another Node every message goes through the stream.
 */
function learn(handle: Handle): void {
  const { writeBuffer } = handle
  handle.writeBuffer = (request, bytes) => {
    Reflect.deleteProperty(handle, 'writeBuffer')
    const known = request === null || (request?.constructor.name === 'WriteWrap' && request.getAsyncId?.() === UNUSED)
    const result = writeBuffer.call(handle, request, bytes)
    if (!known || result !== 0) return result
    if (request === null) write = writeWithoutRequest
    else if (request.getAsyncId() === UNUSED) write = writerWith(request.constructor as new () => WriteRequest)
    return result
  }
}

/**
 * Not while the socket's stream holds bytes, which it would overtake. 'full': some of it waits, and `done` comes when
 * all is out, with 0, or with an error.
 */
export function writeDirect(handle: Handle, bytes: Uint8Array, done: (status: number) => void): Written {
  return write!(handle, bytes, done)
}

/** Node does not export its class of requests. */
function writerWith(Request: new () => WriteRequest): Write {
  /** One for all sockets, until a write has to wait and takes it along. */
  let spare: WriteRequest | undefined
  return (handle, bytes, done) => {
    const request = spare ?? new Request()
    spare = undefined
    if (handle.writeBuffer(request, bytes) !== 0) return 'gone'
    // Not `writeQueueSize`: a second attempt within the call may have emptied the queue, and the request is in use all
    // the same.
    if (request.getAsyncId() === UNUSED) {
      spare = request
      return 'ok'
    }
    request.oncomplete = done
    request.buffer = bytes
    return 'full'
  }
}

function writeWithoutRequest(handle: Handle, bytes: Uint8Array, done: (status: number) => void): Written {
  const result = handle.writeBuffer(null, bytes)
  const status = typeof result === 'number' ? result : result.writeStatus
  if (typeof status === 'number') return status === 0 ? 'ok' : 'gone'
  const request = result as WriteRequest
  request.oncomplete = done
  request.buffer = bytes
  return 'full'
}
