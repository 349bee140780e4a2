import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { upgradeRequest } from '../server/raw-request.ts'

export const TEXT = 1
export const BINARY = 2
export const CLOSE = 8
export const PING = 9
export const PONG = 10

export interface FrameOptions {
  readonly opcode: number
  readonly payload?: Uint8Array | string
  /** Default true: the last fragment. */
  readonly fin?: boolean
  /** The three reserved bits, 0 to 7. */
  readonly reserved?: number
  /** Default true, as the protocol has it of clients. */
  readonly masked?: boolean
  /** What the head says, whatever the payload is; from 65,536 on in its 64-bit form. */
  readonly saidLength?: bigint
}

/** A client's frame (RFC 6455, section 5.2), as wrong as the test wants it. */
export function frame({ opcode, payload = '', fin = true, reserved = 0, masked = true, saidLength }: FrameOptions) {
  const body = Buffer.from(payload as string)
  const length = saidLength ?? BigInt(body.byteLength)
  const mask = masked ? Buffer.from([1, 2, 3, 4]) : Buffer.alloc(0)
  const first = (fin ? 0x80 : 0) | (reserved << 4) | opcode
  const head = Buffer.concat([Buffer.from([first]), lengthBytes(length, masked), mask])
  return Buffer.concat([head, masked ? body.map((byte, at) => byte ^ mask[at % 4]!) : body])
}

function lengthBytes(length: bigint, masked: boolean): Buffer {
  const bit = masked ? 0x80 : 0
  if (length < 126n) return Buffer.from([bit | Number(length)])
  const bytes = Buffer.alloc(length < 65_536n ? 3 : 9)
  if (length < 65_536n) bytes.writeUInt16BE(Number(length), 1)
  else bytes.writeBigUInt64BE(length, 1)
  bytes[0] = bit | (length < 65_536n ? 126 : 127)
  return bytes
}

/** The payload of a close frame. */
export function closing(code: number, reason: string | Uint8Array = ''): Buffer {
  return Buffer.concat([Buffer.from([code >> 8, code & 0xff]), Buffer.from(reason as string)])
}

export interface End {
  /** Of the server's close frame; undefined: there was none. */
  readonly code: number | undefined
  readonly reason: string
  /** The payloads of the data frames before it, as latin1. */
  readonly heard: readonly string[]
}

/** A TCP connection that has opened a WebSocket and from then on says whatever bytes the test wants, and never closes by itself. */
export class FramePeer {
  readonly socket: Socket
  #bytes: Buffer

  private constructor(socket: Socket, rest: Buffer) {
    this.socket = socket
    this.#bytes = rest
    socket.on('data', data => {
      this.#bytes = Buffer.concat([this.#bytes, data])
    })
  }

  static async open(url: string, path: string, headers: Record<string, string> = {}): Promise<FramePeer> {
    const { hostname, port } = new URL(url)
    const socket = connect({ port: Number(port), host: hostname, allowHalfOpen: true })
    socket.on('error', () => {})
    socket.write(upgradeRequest(path, headers))
    let head = Buffer.alloc(0)
    while (!head.includes('\r\n\r\n')) {
      const [data] = (await once(socket, 'data')) as [Buffer]
      head = Buffer.concat([head, data])
    }
    if (!head.toString('latin1').startsWith('HTTP/1.1 101')) throw new Error(`not opened: ${head.toString('latin1')}`)
    return new FramePeer(socket, head.subarray(head.indexOf('\r\n\r\n') + 4))
  }

  say(...frames: readonly FrameOptions[]): void {
    if (this.socket.writable) this.socket.write(Buffer.concat(frames.map(frame)))
  }

  /** What has come so far. */
  get frames(): { readonly opcode: number; readonly payload: Buffer }[] {
    const frames: { opcode: number; payload: Buffer }[] = []
    const bytes = this.#bytes
    for (let at = 0; at + 2 <= bytes.length; ) {
      const short = bytes[at + 1]! & 0x7f
      const head = short < 126 ? 2 : short === 126 ? 4 : 10
      if (at + head > bytes.length) break
      const length =
        short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2))
      if (at + head + length > bytes.length) break
      frames.push({ opcode: bytes[at]! & 0x0f, payload: bytes.subarray(at + head, at + head + length) })
      at += head + length
    }
    return frames
  }

  /** Once the server has let go of the connection; our side is not closed before. */
  async ended(): Promise<End> {
    if (!this.socket.readableEnded && !this.socket.destroyed) {
      await new Promise<void>(resolve => this.socket.once('end', resolve).once('close', () => resolve()))
    }
    this.socket.destroy()
    const { frames } = this
    const close = frames.find(({ opcode }) => opcode === CLOSE)
    return {
      code: close && close.payload.byteLength >= 2 ? close.payload.readUInt16BE(0) : undefined,
      reason: close?.payload.subarray(2).toString() ?? '',
      heard: frames
        .filter(({ opcode }) => opcode === TEXT || opcode === BINARY)
        .map(({ payload }) => payload.toString('latin1')),
    }
  }
}
