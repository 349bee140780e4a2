import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocket, WebSocketServer } from 'ws'
import type { HubEvents } from '../../src/core/events.ts'
import { createHub, type HubOptions } from '../../src/hub.ts'
import { type ClientProtocolOptions, clientProtocol, clientSubprotocol } from '../../src/transports/client-protocol.ts'
import { type Beat, Heartbeat } from '../../src/transports/heartbeat.ts'
import { newClientId, type Opening } from '../../src/transports/transport.ts'

/** Beats, and ends the time for answers, when the test says so. */
export class ManualHeartbeat extends Heartbeat {
  readonly #clients = new Set<Beat>()

  constructor(idleMs?: number) {
    super(1000, { idleMs })
  }

  override add(client: Beat): () => void {
    this.#clients.add(client)
    return () => this.#clients.delete(client)
  }

  get clients(): number {
    return this.#clients.size
  }

  beat(): void {
    for (const client of this.#clients) client.ping()
  }

  deadline(): void {
    for (const client of this.#clients) client.check?.()
  }
}

export interface ClientServerOptions
  extends Partial<Omit<ClientProtocolOptions, 'hub'>>,
    Partial<Omit<Opening, 'hub'>> {
  readonly hubOptions?: HubOptions
}

/** A hub behind the client protocol on a free port, and nothing else: no Fastify, no routes. */
export async function startClientServer(options: ClientServerOptions = {}) {
  const { hubOptions, topics = [], heartbeat, session, parsePolicy = noPolicy, ...rest } = options
  const hub = createHub(hubOptions)
  const faults: HubEvents['fault'][0][] = []
  hub.events.on('fault', fault => faults.push(fault))
  const protocol = clientProtocol({ hub, parsePolicy, ...rest })
  const sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: 1024 * 1024,
    handleProtocols: offered => clientSubprotocol(offered) ?? [...offered][0]!,
  })
  const http = createServer()
  http.on('upgrade', (request, socket, head) => {
    sockets.handleUpgrade(request, socket, head, webSocket => {
      const clientId = new URL(request.url!, 'http://hub').searchParams.get('client') ?? newClientId()
      protocol.open(
        { webSocket, socket: request.socket },
        { hub, clientId, topics, heartbeat: heartbeat ?? false, session },
      )
    })
  })
  await once(http.listen(0, '127.0.0.1'), 'listening')
  const { port } = http.address() as AddressInfo
  return {
    hub,
    faults,
    url: `ws://127.0.0.1:${port}/connection/websocket`,
    async close() {
      await hub.close()
      for (const webSocket of sockets.clients) webSocket.terminate()
      http.closeAllConnections()
      http.close()
      await once(http, 'close')
    },
  }
}

export type ClientServer = Awaited<ReturnType<typeof startClientServer>>

function noPolicy(): never {
  throw new Error('no policies in this test')
}

// biome-ignore lint/suspicious/noExplicitAny: what a server sends is JSON of any shape, which the tests compare
type Line = any

/** A WebSocket that speaks in lines of JSON and remembers what it was told. */
export class Peer implements AsyncDisposable {
  readonly webSocket: WebSocket
  readonly closed: Promise<{ code: number; reason: string }>
  /** Text frames as they came. */
  readonly frames: string[] = []
  readonly #lines: Line[] = []
  readonly #readers: ((line: Line) => void)[] = []

  constructor(webSocket: WebSocket) {
    this.webSocket = webSocket
    this.closed = new Promise(resolve => {
      webSocket.once('close', (code, reason) => resolve({ code, reason: reason.toString() }))
    })
    webSocket.on('error', () => {})
    webSocket.on('message', data => {
      this.frames.push(data.toString())
      for (const line of data.toString().split('\n')) this.#take(JSON.parse(line))
    })
  }

  static async open(url: string, subprotocols: string[] = []): Promise<Peer> {
    const peer = new Peer(new WebSocket(url, subprotocols))
    await once(peer.webSocket, 'open')
    return peer
  }

  /** Opened and connected. */
  static async connect(url: string): Promise<Peer> {
    const peer = await Peer.open(url)
    await peer.call({ id: 1, connect: {} })
    return peer
  }

  /** Several commands make one frame. */
  say(...commands: object[]): void {
    this.webSocket.send(commands.map(command => JSON.stringify(command)).join('\n'))
  }

  call(...commands: object[]): Promise<Line> {
    this.say(...commands)
    return this.next()
  }

  next(): Promise<Line> {
    if (this.#lines.length > 0) return Promise.resolve(this.#lines.shift())
    return new Promise(resolve => this.#readers.push(resolve))
  }

  async take(count: number): Promise<Line[]> {
    const lines: Line[] = []
    while (lines.length < count) lines.push(await this.next())
    return lines
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.webSocket.terminate()
    await this.closed
  }

  #take(line: Line): void {
    const reader = this.#readers.shift()
    if (reader) reader(line)
    else this.#lines.push(line)
  }
}
