import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/** What we use of the object below a TCP socket. Undocumented, and the same since Node 12. */
interface Handle {
  /** Takes the bytes whole: what the kernel does not take at once waits in the handle, in order with all other writes. 0, or an error. */
  writeBuffer(request: WriteRequest, bytes: Uint8Array): number
  /** Bytes that wait in the handle. */
  readonly writeQueueSize: number
}

/** Used only where a write has to wait; until then one object serves all writes. */
interface WriteRequest {
  oncomplete?: (status: number) => void
  /** Kept from the garbage collector until the write is done. */
  buffer?: Uint8Array
}

/** Node does not export it: the first write of the process that goes through a stream shows it. */
let Request: (new () => WriteRequest) | undefined

/**
 * Writes to a TCP socket below its stream. Of what a message costs for one client the stream is a fifth to a quarter (a request object,
 * two callbacks, a tick: docs/benchmarks.md), and for a write that the kernel takes at once it does nothing that we need.
 * A stream's write may follow a direct one, for they share one queue below; a direct one must not overtake what a stream still holds.
 */
export class DirectWriter {
  readonly #handle: Handle
  #request: WriteRequest | undefined

  private constructor(handle: Handle) {
    this.#handle = handle
  }

  /** Undefined where there is nothing to write to but the stream: TLS, pipes, sockets made by others, another Node. */
  static of(socket: Socket): DirectWriter | undefined {
    if (socket instanceof TLSSocket) return undefined
    const { _handle: handle } = socket as Socket & { _handle?: Handle | null }
    if (handle?.constructor.name !== 'TCP' || typeof handle.writeQueueSize !== 'number') return undefined
    return new DirectWriter(handle)
  }

  /** False: it is not known yet how; write through the stream, which shows it. */
  get ready(): boolean {
    if (Request === undefined) learn(this.#handle)
    return Request !== undefined
  }

  /** Bytes that wait below the stream. */
  get queued(): number {
    return this.#handle.writeQueueSize
  }

  /** 'full': some of it waits; `done` comes when all is out, with 0, or with an error. Not again before that. */
  write(bytes: Uint8Array, done: (status: number) => void): 'ok' | 'full' | 'gone' {
    this.#request ??= new Request!()
    this.#request.oncomplete = done
    if (this.#handle.writeBuffer(this.#request, bytes) !== 0) return 'gone'
    if (this.#handle.writeQueueSize === 0) return 'ok'
    // The kernel reads the bytes later, and nobody else may hold them by then: the request is the handle's now, and keeps them.
    this.#request.buffer = bytes
    this.#request = undefined
    return 'full'
  }
}

function learn(handle: Handle): void {
  const { writeBuffer } = handle
  handle.writeBuffer = (request, bytes) => {
    Reflect.deleteProperty(handle, 'writeBuffer')
    if (request?.constructor.name === 'WriteWrap') Request = request.constructor as new () => WriteRequest
    return writeBuffer.call(handle, request, bytes)
  }
}
