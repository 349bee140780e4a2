import { createRequire } from 'node:module'

/** Of Linux on the processors below. */
const AF_INET = 2
const SOCK_STREAM = 1
const SOL_SOCKET = 1
const SO_RCVBUF = 8
const SO_LINGER = 13
const SO_ATTACH_FILTER = 26
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000
const EAGAIN = 11
const PROCESSORS: readonly string[] = ['x64', 'arm64', 'riscv64', 'loong64']

type Library = ReturnType<typeof bind>
let library: Library | { readonly missing: string } | undefined

/** Why there are no raw sockets here; undefined where there are. */
export function rawSocketsMissing(): string | undefined {
  library ??= load()
  return 'missing' in library ? library.missing : undefined
}

function load(): Library | { readonly missing: string } {
  if (process.platform !== 'linux' || !PROCESSORS.includes(process.arch)) {
    return { missing: `they are made for Linux, and this is ${process.platform} on ${process.arch}` }
  }
  try {
    return bind(createRequire(import.meta.url)(`@koromix/koffi-linux-${process.arch}`))
  } catch {
    return { missing: `the optional package @koromix/koffi-linux-${process.arch} is not installed` }
  }
}

function bind(koffi: typeof import('koffi')) {
  const c = koffi.load(null)
  return {
    socket: c.func('int socket(int domain, int type, int protocol)'),
    connect: c.func('int connect(int fd, const void *address, unsigned int length)'),
    setsockopt: c.func('int setsockopt(int fd, int level, int name, const void *value, unsigned int length)'),
    send: c.func('long send(int fd, const void *data, size_t length, int flags)'),
    recv: c.func('long recv(int fd, void *data, size_t length, int flags)'),
    close: c.func('int close(int fd)'),
    errno: () => koffi.errno(),
    addressOf: (memory: Uint8Array): bigint => koffi.address(memory),
  }
}

function loaded(): Library {
  library ??= load()
  if ('missing' in library) throw new Error(`no raw sockets here: ${library.missing}`)
  return library
}

/**
 * A TCP socket without Node around it: what it reads, and when, is its owner's choice alone, and its receive buffer is
 * set before it connects, which bounds the window that it offers. For tests: it connects and sends in blocking calls.
 */
export class RawSocket {
  readonly #c = loaded()
  readonly #fd: number
  #open = true

  private constructor(receiveBufferBytes: number | undefined) {
    this.#fd = this.#c.socket(AF_INET, SOCK_STREAM, 0)
    if (this.#fd < 0) throw new Error(`socket: errno ${this.#c.errno()}`)
    if (receiveBufferBytes !== undefined) this.#set(SO_RCVBUF, new Int32Array([receiveBufferBytes]))
  }

  static connect(host: string, port: number, receiveBufferBytes?: number): RawSocket {
    const address = new Uint8Array(16)
    new DataView(address.buffer).setUint16(0, AF_INET, true)
    new DataView(address.buffer).setUint16(2, port)
    address.set(host.split('.').map(Number), 4)
    const raw = new RawSocket(receiveBufferBytes)
    if (raw.#c.connect(raw.#fd, address, address.byteLength) === 0) return raw
    const error = new Error(`connect to ${host}:${port}: errno ${raw.#c.errno()}`)
    raw.close('end')
    throw error
  }

  /** All of it; blocks while the hub does not read. */
  send(data: Uint8Array): void {
    for (let sent = 0; sent < data.byteLength; ) {
      const count = Number(this.#c.send(this.#fd, data.subarray(sent), data.byteLength - sent, MSG_NOSIGNAL))
      if (count <= 0) return
      sent += count
    }
  }

  receive(most: number): Buffer | 'end' | 'reset' | undefined {
    if (!this.#open) return 'end'
    const data = Buffer.allocUnsafe(most)
    const count = Number(this.#c.recv(this.#fd, data, most, MSG_DONTWAIT))
    if (count > 0) return data.subarray(0, count)
    if (count === 0) return 'end'
    return this.#c.errno() === EAGAIN ? undefined : 'reset'
  }

  /**
   * A socket filter that drops every packet before TCP sees it: the peer's host is as good as unplugged, and needs no
   * root for it.
   */
  vanish(): void {
    // One instruction of classic BPF: return 0 bytes. Then struct sock_fprog: how many, and where.
    const drop = new Uint8Array([0x06, 0, 0, 0, 0, 0, 0, 0])
    const program = new DataView(new ArrayBuffer(16))
    program.setUint16(0, 1, true)
    program.setBigUint64(8, this.#c.addressOf(drop), true)
    this.#set(SO_ATTACH_FILTER, new Uint8Array(program.buffer))
  }

  close(how: 'end' | 'reset'): void {
    if (!this.#open) return
    this.#open = false
    if (how === 'reset') this.#set(SO_LINGER, new Int32Array([1, 0]))
    this.#c.close(this.#fd)
  }

  #set(name: number, value: Int32Array | Uint8Array): void {
    if (this.#c.setsockopt(this.#fd, SOL_SOCKET, name, value, value.byteLength) !== 0) {
      throw new Error(`setsockopt ${name}: errno ${this.#c.errno()}`)
    }
  }
}
