import { get, type IncomingMessage } from 'node:http'
import { WebSocket } from 'ws'
import type { TransportPeer } from '../../src/testing/transport-contract.ts'

/** Collects what a peer of any protocol reads, and lets a test wait for it. */
class Inbox {
  /** Grows by doubling: a test waits for each of hundreds of messages and looks at all that came. */
  #data = Buffer.alloc(64 * 1024)
  #bytes = 0
  #waiting: { bytes: number; resolve: (data: Buffer) => void; reject: (error: Error) => void }[] = []
  lost = 0
  clean = false
  readonly ended: Promise<{ clean: boolean }>
  #end!: (end: { clean: boolean }) => void

  constructor() {
    this.ended = new Promise(resolve => {
      this.#end = resolve
    })
  }

  add(part: Buffer): void {
    if (this.#bytes + part.byteLength > this.#data.byteLength) {
      const larger = Buffer.alloc(2 * (this.#bytes + part.byteLength))
      larger.set(this.received())
      this.#data = larger
    }
    this.#data.set(part, this.#bytes)
    this.#bytes += part.byteLength
    for (const waiter of this.#waiting.filter(({ bytes }) => bytes <= this.#bytes)) waiter.resolve(this.received())
    this.#waiting = this.#waiting.filter(({ bytes }) => bytes > this.#bytes)
  }

  received = (): Buffer => this.#data.subarray(0, this.#bytes)

  receive = (bytes: number): Promise<Buffer> =>
    this.#bytes >= bytes
      ? Promise.resolve(this.received())
      : new Promise((resolve, reject) => this.#waiting.push({ bytes, resolve, reject }))

  over(): void {
    this.#end({ clean: this.clean })
    for (const { bytes, reject } of this.#waiting) reject(new Error(`it ended with ${this.#bytes} of ${bytes} bytes`))
    this.#waiting = []
  }
}

function openStream(url: string, headers: Record<string, string>): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(url, { headers, agent: false }, response => {
      if (response.statusCode === 200) resolve(response)
      else reject(new Error(`${url} answered ${response.statusCode}`))
    }).on('error', reject)
  })
}

/** `parse` gets what has come and not been understood yet, and returns what it left over. */
async function httpPeer(
  url: string,
  headers: Record<string, string>,
  parse: (rest: Buffer, inbox: Inbox) => Buffer,
  canTell: boolean,
): Promise<TransportPeer> {
  const response = await openStream(url, headers)
  const inbox = new Inbox()
  let rest: Buffer = Buffer.alloc(0)
  response.on('data', (piece: Buffer) => {
    rest = parse(Buffer.concat([rest, piece]), inbox)
  })
  response.on('end', () => {
    inbox.clean = response.complete
  })
  response.on('error', () => {})
  response.on('close', () => inbox.over())
  return {
    received: inbox.received,
    receive: inbox.receive,
    lost: () => (canTell ? inbox.lost : null),
    pause: () => response.pause(),
    resume: () => void response.resume(),
    close: () => response.destroy(),
    ended: inbox.ended,
  }
}

export function rawPeer(url: string): Promise<TransportPeer> {
  return httpPeer(url, {}, parseBytes, false)
}

function parseBytes(rest: Buffer, inbox: Inbox): Buffer {
  inbox.add(rest)
  return Buffer.alloc(0)
}

export function ssePeer(url: string): Promise<TransportPeer> {
  return httpPeer(url, { accept: 'text/event-stream' }, parseEvents, true)
}

function parseEvents(rest: Buffer, inbox: Inbox): Buffer {
  for (let end = rest.indexOf('\n\n'); end !== -1; end = rest.indexOf('\n\n')) {
    const lines = rest.subarray(0, end).toString().split('\n')
    const field = (name: string) =>
      lines.flatMap(line => (line.startsWith(`${name}: `) ? [line.slice(name.length + 2)] : []))
    const data = field('data').join('\n')
    const [event] = field('event')
    if (event === 'gap') inbox.lost += (JSON.parse(data) as { count: number }).count
    else if (event === 'base64') inbox.add(Buffer.from(data, 'base64'))
    else if (event === undefined && data !== '') inbox.add(Buffer.from(data))
    rest = rest.subarray(end + 2)
  }
  return rest
}

export function multipartPeer(url: string): Promise<TransportPeer> {
  return httpPeer(url, { accept: 'image/*' }, parseParts, false)
}

function parseParts(rest: Buffer, inbox: Inbox): Buffer {
  if (rest.indexOf('--hubline-frame\r\n') === 0) rest = rest.subarray('--hubline-frame\r\n'.length)
  for (;;) {
    const head = rest.indexOf('\r\n\r\n')
    if (head === -1) return rest
    const length = Number(/Content-Length: (\d+)/.exec(rest.subarray(0, head).toString())![1])
    const end = head + 4 + length
    if (rest.byteLength < end + '\r\n--hubline-frame\r\n'.length) return rest
    inbox.add(rest.subarray(head + 4, end))
    rest = rest.subarray(end + '\r\n--hubline-frame\r\n'.length)
  }
}

export async function webSocketPeer(url: string): Promise<TransportPeer> {
  const inbox = new Inbox()
  const socket = new WebSocket(url.replace(/^http/, 'ws'))
  socket.on('message', (data: Buffer) => inbox.add(data))
  return openPeer(socket, inbox, null)
}

/** Speaks just enough of the client protocol; the real client has tests of its own. */
export async function clientProtocolPeer(url: string, topic: string): Promise<TransportPeer> {
  const inbox = new Inbox()
  const socket = new WebSocket(url.replace(/^http/, 'ws'))
  let subscribed = () => {}
  const ready = new Promise<void>(resolve => {
    subscribed = resolve
  })
  socket.on('open', () => socket.send(`{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"${topic}"}}`))
  socket.on('message', (data: Buffer) => {
    for (const line of data.toString().split('\n')) {
      const reply = JSON.parse(line)
      if (reply.id === 2) subscribed()
      const { pub, gap } = reply.push ?? {}
      if (pub) inbox.add(Buffer.from(JSON.stringify(pub.data)))
      if (gap) inbox.lost += gap.count
    }
  })
  const peer = await openPeer(socket, inbox, () => inbox.lost)
  await ready
  return peer
}

function openPeer(socket: WebSocket, inbox: Inbox, lost: (() => number) | null): Promise<TransportPeer> {
  socket.on('close', code => {
    inbox.clean = code !== 1006
    inbox.over()
  })
  return new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.on('open', () =>
      resolve({
        received: inbox.received,
        receive: inbox.receive,
        lost: () => lost?.() ?? null,
        pause: () => socket.pause(),
        resume: () => socket.resume(),
        close: () => socket.close(),
        ended: inbox.ended,
      }),
    )
  })
}
