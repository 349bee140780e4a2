import type { Socket } from 'node:net'
import type { Client, CloseReason, Connection, WriteResult } from '../core/connection.ts'
import type { Codec } from '../core/message.ts'
import { checkValue, having } from '../core/options.ts'
import { eventLoop } from '../event-loop.ts'
import { type Handle, handleOf, writeDirect } from './direct-write.ts'
import { resetSocket } from './reset.ts'
import { tcpProbe } from './tcp-probe.ts'

/**
 * TCP_NOTSENT_LOWAT of a client that shall get fresh messages. What is in flight is not counted, so a long path is as
 * fast as without it. A smaller one leaves the path idle while the event loop is busy, a larger one makes messages
 * older (docs/slow-clients.md has figures).
 */
export const FRESH_LOWAT_BYTES = 128 * 1024

/** How long a peer may take to read the rest after a polite close, in ms. Then the socket is destroyed. */
const LINGER_MS = 2000

export interface NodeSocketOptions {
  readonly protocol: string
  readonly codec: Codec
  /**
   * Says goodbye in the protocol and ends its side. Not called for a peer that is gone, lost or slow. `reconnectMs`:
   * see Connection.
   */
  farewell(reason: CloseReason, reconnectMs: number | undefined): void
}

const socketRule = having('a socket', 'write', 'on', 'setNoDelay')
/** registerClient checks the protocol and the codec. */
const optionsRule = having('an object', 'farewell')

/** The arguments of a write that waits for its channel to open. */
export interface EarlyFrame {
  readonly frame: Uint8Array
  readonly more: boolean
}

/**
 * A TCP socket as the core's connection. Writes whole frames to it below whatever protocol object sits on top (an HTTP
 * response, a WebSocket), which must not write at the same time but in whole frames of its own.
 *
 * `write` returning true says nothing in Node; that nothing is left in user space (`writableLength` 0) says that the
 * kernel took it.
 */
export class NodeSocket implements Connection {
  readonly protocol: string
  readonly codec: Codec
  readonly #socket: Socket
  readonly #farewell: NodeSocketOptions['farewell']
  #client: Client | undefined
  /** Once a write has gone through the stream and left nothing there. */
  #handle: Handle | undefined
  #corked = false
  #waiting = false
  /** Writes of ours whose callback has not come. */
  #uncalled = 0
  #closed = false
  /** While it holds little: the bound before, to go back to. */
  #lowatBefore: number | undefined
  /**
   * Also of the WebSocket on top, whose ws reports here what its peer did wrong on the wire. ws has answered with the
   * right code already.
   */
  protected readonly onError = ({ code }: NodeJS.ErrnoException): void =>
    this.#client?.close(code?.startsWith('WS_ERR_') ? 'protocol' : 'lost')
  readonly #onClose = (): void => {
    const client = this.#client
    // A closed socket is kept by its handle until a full collection: it must not keep everything else of the connection
    // until then.
    this.#release()
    client?.close('peer')
  }
  /** One function for all writes of this socket: a closure per write would be an allocation per delivery. */
  readonly #written = (error?: unknown): void => {
    this.#uncalled--
    if (error) this.#fail()
    if (error || !this.#waiting || this.#uncalled > 0) return
    this.#waiting = false
    this.#client?.drained()
  }

  /** Throws REQUEST_INVALID. */
  constructor(socket: Socket, options: NodeSocketOptions) {
    checkValue(socket, socketRule, 'socket')
    checkValue(options, optionsRule, 'options')
    this.protocol = options.protocol
    this.codec = options.codec
    this.#socket = socket
    this.#farewell = options.farewell
    socket.setNoDelay(true)
    socket.on('error', this.onError)
    socket.on('close', this.#onClose)
  }

  /** A system call at the first look, and undefined once the socket is closed. */
  get address(): string | undefined {
    return this.#socket.remoteAddress
  }

  /** The registration is what the socket reports to from now on. */
  bind(client: Client): void {
    this.#client = client
  }

  /** The registration; undefined once the channel is over. */
  protected get client(): Client | undefined {
    return this.#client
  }

  /** Lets go of the socket, untouched: nobody was registered after all, and the peer is still to get an answer. */
  detach(): void {
    this.#closed = true
    this.#release()
  }

  #release(): void {
    this.#client = undefined
    this.#socket.off('close', this.#onClose)
    this.#socket.off('error', this.onError)
  }

  get writable(): boolean {
    return !this.#waiting && this.#socket.writable
  }

  write(frame: Uint8Array, more: boolean): WriteResult {
    if (this.#closed) return 'gone'
    if (this.#handle === undefined || more || this.#corked) return this.#writeStream(frame, more)
    const result = writeDirect(this.#handle, frame, this.#written)
    if (result === 'full') this.#wait()
    return result
  }

  /** Writes the frames that came before the channel was open. The core was told `full` for them. */
  protected writeEarly(early: readonly EarlyFrame[]): void {
    const results = early.map(({ frame, more }) => this.write(frame, more))
    if (results.includes('gone')) this.#client?.close('lost')
    else if (results.at(-1) === 'ok') this.#client?.drained()
  }

  #writeStream(frame: Uint8Array, more: boolean): WriteResult {
    const socket = this.#socket
    if (!socket.writable) return 'gone'
    if (more) {
      if (!this.#corked) socket.cork()
      this.#corked = true
      socket.write(frame)
      return 'ok'
    }
    const handle = handleOf(socket)
    this.#uncalled++
    socket.write(frame, this.#written)
    if (this.#corked) socket.uncork()
    this.#corked = false
    this.#waiting = socket.writableLength > 0
    if (this.#waiting) return 'full'
    // From here on the stream is only used for whole frames, of ws or of ours, which may be overtaken.
    this.#handle = handle
    return 'ok'
  }

  #wait(): void {
    this.#uncalled++
    this.#waiting = true
  }

  /** Below its stream the socket does not find out by itself; a peer that is not read from would stay for ever. */
  #fail(): void {
    this.#client?.close('lost')
    this.#socket.destroy()
  }

  /**
   * What waits in this process, and what the kernel has sent or will send. Undefined where the kernel cannot be asked.
   */
  unacknowledged(): number | undefined {
    const sent = tcpProbe()?.unacknowledged(this.#socket)
    if (sent === undefined) return undefined
    // What the stream has handed down but not confirmed is in both.
    return sent + Math.max(this.#socket.writableLength, this.#handle?.writeQueueSize ?? 0)
  }

  roundTrip(): number | undefined {
    return tcpProbe()?.roundTrip(this.#socket)
  }

  /** See TcpProbe. */
  silence(): number | undefined {
    return tcpProbe()?.silence(this.#socket)
  }

  /**
   * Never raises a bound that is there already. Without the probe nothing happens: Node itself cannot set socket
   * options of this kind.
   */
  holdLittle(little: boolean): void {
    if (little === (this.#lowatBefore !== undefined)) return
    const probe = tcpProbe()
    const before = little ? probe?.notSentLowat(this.#socket) : this.#lowatBefore
    if (before === undefined) return
    probe?.tune(this.#socket, { notSentLowatBytes: little ? Math.min(before, FRESH_LOWAT_BYTES) : before })
    this.#lowatBefore = little ? before : undefined
  }

  /** The kernel asks a peer that is quiet for so long, and ends the socket some 10 s later if nobody answers. */
  keepAlive(quietMs: number): void {
    this.#socket.setKeepAlive(true, quietMs)
  }

  close(reason: CloseReason, reconnectMs?: number): void {
    if (this.#closed) return
    this.#closed = true
    const socket = this.#socket
    if (this.#corked) socket.uncork()
    if (socket.destroyed) return
    if (reason === 'slow') resetSocket(socket)
    else if (reason === 'peer' || reason === 'lost') socket.destroy()
    else this.#leavePolitely(reason, reconnectMs)
  }

  #leavePolitely(reason: CloseReason, reconnectMs: number | undefined): void {
    this.#farewell(reason, reconnectMs)
    const timer = eventLoop.after(LINGER_MS, () => resetSocket(this.#socket))
    this.#socket.once('close', () => timer[Symbol.dispose]())
  }
}
