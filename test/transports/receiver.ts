import { once } from 'node:events'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'

export interface Received {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

/** Somebody who is called back, on a free port of loopback. */
export class Receiver implements AsyncDisposable {
  readonly #server: Server
  readonly #open = new Set<Socket>()
  readonly requests: Received[] = []
  /** How many sockets it has accepted in all. */
  connections = 0
  /** How many sockets were open at once, at most. */
  mostOpen = 0

  constructor(server: Server) {
    this.#server = server
    server.on('connection', socket => {
      this.connections++
      this.#open.add(socket)
      this.mostOpen = Math.max(this.mostOpen, this.#open.size)
      // Clients of the tests leave in the middle.
      socket.on('error', () => {})
      socket.on('close', () => this.#open.delete(socket))
    })
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${this.port}/hook`)
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  async listen(): Promise<this> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening')
    return this
  }

  async connected(): Promise<Socket> {
    const [open] = this.#open
    return open ?? ((await once(this.#server, 'connection')) as [Socket])[0]
  }

  async allClosed(): Promise<void> {
    await Promise.all([...this.#open].map(closed))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    for (const socket of this.#open) socket.destroy()
    await this.allClosed()
  }
}

/** Not `once`, which an error of the socket would reject. */
export function closed(socket: Socket): Promise<void> {
  return new Promise(resolve => socket.once('close', () => resolve()))
}

/** Speaks HTTP, and answers as told. */
export function httpReceiver(answer: (response: ServerResponse, received: Received) => void): Promise<Receiver> {
  const take = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await buffer(request)
    const headers = request.headers as Record<string, string>
    const received = { method: request.method!, path: request.url!, headers, body }
    receiver.requests.push(received)
    answer(response, received)
  }
  const server = createHttpServer((request, response) => void take(request, response).catch(() => {}))
  const receiver = new Receiver(server)
  return receiver.listen()
}

/** Answers every request, which must fit into one segment, with whatever bytes it likes. */
export function rawReceiver(answer: (socket: Socket) => void): Promise<Receiver> {
  const server = createServer(socket => socket.on('data', () => answer(socket)))
  return new Receiver(server).listen()
}
