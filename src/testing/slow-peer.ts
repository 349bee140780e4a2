import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { checkValue, integer, object } from '../core/options.ts'
import { mayRead, type Pace, READ_EVERY_MS } from './pace.ts'
import { RawSocket, rawSocketsMissing } from './raw-socket.ts'

export interface SlowPeerOptions {
  readonly port: number
  /** An IPv4 address. Default 127.0.0.1. */
  readonly host?: string
  /** Sent at once, such as the head of a request. */
  readonly request?: string | Uint8Array
  readonly pace?: Pace
  /** SO_RCVBUF, set before it connects; the kernel doubles it and has a least. Default: as the system has it. */
  readonly receiveBufferBytes?: number
}

/** How it ended: the peer's last word was a clean end, or a reset. */
export type PeerEnd = 'end' | 'reset'

/**
 * A client on a real TCP socket that reads as a script says: stalled, so many bytes a second, with pauses, or vanished
 * without a word. On Linux with koffi it holds the socket itself, so that nothing is read ahead of the script.
 * Elsewhere it is a Node socket, which reads up to 64 KiB ahead, cannot vanish, and may take a reset for an end:
 * `exact` says which it is.
 */
export class SlowPeer implements Disposable {
  readonly exact: boolean
  /** Resolves when the hub has ended the connection and the script has read so far. */
  readonly ended: Promise<PeerEnd>
  /** Bytes read so far. */
  received = 0
  /** Called with what was read. */
  onData: (data: Buffer) => void = () => {}
  readonly #channel: Channel
  readonly #timer: NodeJS.Timeout
  #pace: Pace = { kind: 'eager' }
  #since = 0
  #already = 0
  #end!: (end: PeerEnd) => void

  private constructor(channel: Channel, pace: Pace) {
    this.#channel = channel
    this.exact = channel instanceof RawSocket
    this.ended = new Promise(resolve => {
      this.#end = resolve
    })
    this.follow(pace)
    this.#timer = setInterval(() => this.#step(), READ_EVERY_MS)
  }

  /** Connects. Rejects where nobody listens. */
  static async open(options: SlowPeerOptions): Promise<SlowPeer> {
    checkValue(options, object, 'options')
    checkValue(options.port, integer(0, 65_535), 'port')
    const { host = '127.0.0.1', port, request, pace = { kind: 'eager' }, receiveBufferBytes } = options
    const exact = rawSocketsMissing() === undefined
    const channel = exact ? RawSocket.connect(host, port, receiveBufferBytes) : await NodeChannel.connect(host, port)
    if (request !== undefined) channel.send(Buffer.from(request as string))
    return new SlowPeer(channel, pace)
  }

  /** From now on it reads like this. A peer that has vanished stays so. */
  follow(pace: Pace): void {
    checkValue(pace, object, 'pace')
    this.#pace = pace
    this.#since = performance.now()
    this.#already = 0
    if (pace.kind === 'half-open') this.#channel.vanish()
  }

  send(data: string | Uint8Array): void {
    this.#channel.send(Buffer.from(data as string))
  }

  /** Leaves: politely, or by a reset. */
  close(how: PeerEnd = 'end'): void {
    clearInterval(this.#timer)
    this.#channel.close(how)
    this.#end(how)
  }

  [Symbol.dispose](): void {
    this.close('reset')
  }

  #step(): void {
    let most = mayRead(this.#pace, performance.now() - this.#since, this.#already)
    while (most > 0) {
      const got = this.#channel.receive(Math.min(most, 64 * 1024))
      if (got === undefined) {
        // Who had nothing to read does not read the faster afterwards.
        if (this.#pace.kind === 'rate') this.follow(this.#pace)
        return
      }
      if (typeof got === 'string') {
        this.close(got)
        return
      }
      this.received += got.byteLength
      this.#already += got.byteLength
      most -= got.byteLength
      this.onData(got)
    }
  }
}

/** undefined: nothing has come yet. */
interface Channel {
  send(data: Uint8Array): void
  receive(most: number): Buffer | PeerEnd | undefined
  /** Neither hears nor answers any more. */
  vanish(): void
  close(how: PeerEnd): void
}

class NodeChannel implements Channel {
  readonly #socket: Socket
  #ended: PeerEnd | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('error', () => {
      this.#ended ??= 'reset'
    })
    socket.on('end', () => {
      this.#ended ??= 'end'
    })
  }

  static async connect(host: string, port: number): Promise<NodeChannel> {
    const socket = connect(port, host)
    await once(socket, 'connect')
    return new NodeChannel(socket)
  }

  send(data: Uint8Array): void {
    this.#socket.write(data)
  }

  receive(most: number): Buffer | PeerEnd | undefined {
    const ready = Math.min(most, this.#socket.readableLength)
    return (ready > 0 ? (this.#socket.read(ready) as Buffer | null) : this.#socket.read()) ?? this.#ended
  }

  vanish(): void {
    throw new Error(`a half-open peer needs the raw sockets of Linux: ${rawSocketsMissing()}`)
  }

  close(how: PeerEnd): void {
    if (how === 'reset') this.#socket.resetAndDestroy()
    else this.#socket.destroy()
  }
}
