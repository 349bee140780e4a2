import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** A TCP proxy that a test cuts: both sides of every connection are reset, and none comes through until it is mended. */
export class CuttingProxy {
  readonly #server = createServer(socket => this.#forward(socket))
  readonly #sockets = new Set<Socket>()
  readonly #target: URL
  #cut = false
  /** Of the connections that came through. */
  connections = 0

  private constructor(target: string) {
    this.#target = new URL(target)
  }

  static async open(target: string): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(target)
    await once(proxy.#server.listen(0, '127.0.0.1'), 'listening')
    return proxy
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  cut(): void {
    this.#cut = true
    for (const socket of this.#sockets) socket.resetAndDestroy()
    this.#sockets.clear()
  }

  mend(): void {
    this.#cut = false
  }

  async close(): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #forward(socket: Socket): void {
    socket.on('error', () => {})
    if (this.#cut) {
      socket.resetAndDestroy()
      return
    }
    this.connections++
    const upstream = connect(Number(this.#target.port), this.#target.hostname)
    upstream.on('error', () => socket.destroy())
    socket.on('close', () => upstream.destroy())
    upstream.on('close', () => socket.destroy())
    this.#sockets.add(socket)
    socket.pipe(upstream).pipe(socket)
  }
}
