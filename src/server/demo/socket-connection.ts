import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { CloseReason, WriteResult } from '../../core/connection.ts'
import { NodeSocket } from '../../transports/node-socket.ts'
import { type Arrival, type DemoConnection, simulatedCodec, UnderWay } from './simulated-connection.ts'

/** What Node reads of the socket at once: as little as it may read ahead of the reader. */
const READ_BYTES = 4096

/**
 * A real TCP connection over loopback, with a reader in this process that reads as slowly as it is told. What lies
 * between the two is the kernel's, as it is for any client.
 */
export class SocketConnection extends NodeSocket implements DemoConnection {
  readonly #peer: Peer
  readonly #onClose: (reason: CloseReason) => void
  readonly #underWay = new UnderWay()
  #over = false

  constructor({ socket, peer }: SocketPair, onClose: (reason: CloseReason) => void) {
    super(socket, { protocol: 'tcp', codec: simulatedCodec, farewell: () => socket.end() })
    this.#peer = peer
    this.#onClose = onClose
  }

  override write(written: Uint8Array, more: boolean): WriteResult {
    this.#underWay.add(written)
    return super.write(written, more)
  }

  override close(reason: CloseReason, reconnectMs?: number): void {
    super.close(reason, reconnectMs)
    if (this.#over) return
    this.#over = true
    this.#peer.socket.destroy()
    this.#onClose(reason)
  }

  /** Without the TCP probe: all that is not read. */
  override unacknowledged(): number {
    return super.unacknowledged() ?? this.#underWay.bytes
  }

  get reading(): number | undefined {
    return this.#underWay.reading
  }

  read(bytes: number): Arrival[] {
    return this.#underWay.read(this.#peer.read(bytes))
  }

  /** The socket says it itself. */
  takeDrained(): boolean {
    return false
  }
}

export interface SocketPair {
  readonly socket: Socket
  readonly peer: Peer
}

/** Both ends of a new connection over loopback. The port is open for this one connection. */
export async function socketPair(): Promise<SocketPair> {
  const server = createServer({ noDelay: true })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const peer = new Peer((server.address() as AddressInfo).port)
  const [[socket]] = (await Promise.all([once(server, 'connection'), once(peer.socket, 'connect')])) as [
    [Socket],
    unknown,
  ]
  server.close()
  return { socket, peer }
}

/** Reads no further than it was allowed to, but for one buffer. */
class Peer {
  readonly socket: Socket
  #allowed = 0
  #taken = 0

  constructor(port: number) {
    const callback = (bytes: number): boolean => {
      this.#taken += bytes
      this.#allowed -= bytes
      return this.#allowed > 0
    }
    this.socket = connect({ port, host: '127.0.0.1', onread: { buffer: new Uint8Array(READ_BYTES), callback } })
    this.socket.on('error', () => {})
  }

  /** Who had nothing to read does not read the faster afterwards. Answers how many bytes came since the last call. */
  read(bytes: number): number {
    this.#allowed = Math.min(this.#allowed + bytes, bytes)
    if (this.#allowed > 0) this.socket.resume()
    const taken = this.#taken
    this.#taken = 0
    return taken
  }
}
