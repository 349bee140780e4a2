import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type ClientRequest, type IncomingMessage, type RequestOptions, request, type ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { askJson } from '../server/http.ts'
import { httpReceiver, type Receiver } from '../transports/receiver.ts'

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname
const CLIENTS = 30
const PING_MS = 1000
const PONG_MS = 500
/** Longer than an interval, so that the time for an answer to some ping ends while the process is stopped. */
const STOP_MS = 1200

let server: ChildProcess | undefined
let receiver: Receiver | undefined
const sockets: WebSocket[] = []
const requests: ClientRequest[] = []
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.terminate()
  for (const open of requests.splice(0)) open.destroy()
  server?.kill('SIGKILL')
  await receiver?.[Symbol.asyncDispose]()
  receiver = undefined
})

async function serve(more: Record<string, string> = {}): Promise<string> {
  const env = { ...process.env, HUBLINE_PING_MS: `${PING_MS}`, HUBLINE_PONG_MS: `${PONG_MS}`, ...more }
  const child = spawn(process.execPath, [MAIN, 'serve', '--port', '0', '--log-level', 'error'], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  server = child
  let text = ''
  for await (const piece of child.stdout) {
    text += String(piece)
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(text)?.[0]
    if (url !== undefined) return url
  }
  throw new Error(`ended before it listened: ${text}`)
}

async function open(url: string): Promise<WebSocket> {
  const socket = new WebSocket(url)
  sockets.push(socket)
  await once(socket, 'open')
  return socket
}

/** A client of the protocol that answers the server's pings. */
async function openProtocol(ws: string, channel: string): Promise<WebSocket> {
  const socket = await open(`${ws}/connection/websocket`)
  socket.on('message', data => {
    if (String(data) === '{}') socket.send('{}')
  })
  socket.send(`{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"${channel}"}}`)
  return socket
}

function begin(url: string, options: RequestOptions): ClientRequest {
  const begun = request(url, options)
  begun.on('error', () => {})
  requests.push(begun)
  return begun
}

/** Undefined: the connection was closed without an answer. */
function answerOf(asked: ClientRequest): Promise<IncomingMessage | undefined> {
  return new Promise(resolve => asked.once('response', resolve).once('close', () => resolve(undefined)))
}

/** What clients have received so far, and which of them were closed, by name. */
class Heard {
  readonly texts: Record<string, string> = {}
  readonly closed: string[] = []

  socket(name: string, socket: WebSocket): void {
    this.texts[name] = ''
    socket.on('message', data => (this.texts[name] += String(data)))
    socket.on('close', code => this.closed.push(`${name} ${code}`))
  }

  async stream(name: string, url: string, accept: string): Promise<void> {
    this.texts[name] = ''
    const response = (await answerOf(begin(url, { headers: { accept } }).end()))!
    response.on('data', data => (this.texts[name] += String(data)))
    response.on('error', () => {})
    response.on('close', () => this.closed.push(name))
  }

  /** Waits until all of them have received it. */
  async everywhere(piece: string): Promise<void> {
    const missing = () => Object.keys(this.texts).filter(name => !this.texts[name]!.includes(piece))
    await expect.poll(missing, { timeout: 10_000 }).toEqual([])
  }
}

it('a process that was stopped closes no client that answers its pings', { timeout: 60_000 }, async () => {
  const url = await serve()
  const ws = url.replace('http', 'ws')
  const closed: number[] = []
  for (let i = 0; i < CLIENTS; i++) (await open(`${ws}/topics/load`)).on('close', code => closed.push(code))
  const protocol = await openProtocol(ws, 'json')
  protocol.on('close', code => closed.push(code))
  const publisher = await open(`${ws}/topics/load?role=publisher`)
  const load = setInterval(() => publisher.readyState === WebSocket.OPEN && publisher.send(Buffer.alloc(3000)), 7)
  for (let stops = 0; stops < 3; stops++) {
    // Somewhere between two pings, so that stops fall before and behind one.
    await sleep(600 + 300 * stops)
    server!.kill('SIGSTOP')
    await sleep(STOP_MS)
    server!.kill('SIGCONT')
  }
  await sleep(PING_MS + PONG_MS)
  clearInterval(load)
  expect(closed).toEqual([])
  const { clientsByProtocol, closes } = (await (await fetch(`${url}/api/stats`)).json()) as {
    clientsByProtocol: Record<string, number>
    closes: Record<string, number>
  }
  expect(closes).toEqual({})
  expect(clientsByProtocol).toMatchObject({ websocket: CLIENTS + 1, centrifuge: 1 })
})

it('a stop counts against no client, no body, no live source and no webhook', { timeout: 60_000 }, async () => {
  // Long, so that a busy machine does not use up the fifth look before the stop.
  const SOURCE_IDLE_MS = 6000
  const BODY_MS = 2000
  const ATTEMPT_MS = 1000
  const url = await serve({
    HUBLINE_CALLBACKS_ALLOW: '127.0.0.1',
    HUBLINE_CALLBACKS_TIMEOUT_MS: `${ATTEMPT_MS}`,
    HUBLINE_TIMEOUTS_BODY_MS: `${BODY_MS}`,
    HUBLINE_TIMEOUTS_SOURCE_IDLE_MS: `${SOURCE_IDLE_MS}`,
  })
  const ws = url.replace('http', 'ws')
  const publish = (topic: string, word: string) => askJson(`${url}/topics/${topic}`, word)
  const heard = new Heard()
  heard.socket('WebSocket', await open(`${ws}/topics/words`))
  heard.socket('client protocol', await openProtocol(ws, 'words'))
  await heard.stream('SSE', `${url}/topics/words`, 'text/event-stream')
  await heard.stream('plain HTTP', `${url}/topics/words`, '*/*')
  await heard.stream('multipart', `${url}/topics/words`, 'image/png')
  // Sockets of the client protocol are told when they are subscribed.
  await expect.poll(() => heard.texts['client protocol']).toContain('"id":2')
  await publish('words', 'before')
  await heard.everywhere('"before"')

  const lines = new Heard()
  lines.socket('reader', await open(`${ws}/topics/lines`))
  const source = begin(`${url}/topics/lines?split=lines`, { method: 'PUT' })
  source.write('one\n')
  const sourceEnd = answerOf(source)
  await lines.everywhere('one')

  // The source is silent for four of its five looks. The stop is due a little after the fourth.
  await sleep(SOURCE_IDLE_MS - BODY_MS / 2)
  const body = begin(`${url}/topics/words`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'content-length': 7 },
  })
  body.write('"aft')
  const bodyEnd = answerOf(body)
  await sleep(BODY_MS / 2 + SOURCE_IDLE_MS / 20)

  const held: ServerResponse[] = []
  receiver = await httpReceiver(response => void held.push(response))
  await askJson(`${url}/api/clients`, { id: 'hook', url: receiver.url.href, topics: ['hooks'] })
  await publish('hooks', 'one')
  await expect.poll(() => held.length, { interval: 5 }).toBe(1)

  server!.kill('SIGSTOP')
  source.write('two\n')
  held[0]!.writeHead(204).end()
  // Until after the fifth look would have been.
  await sleep(SOURCE_IDLE_MS * 0.4)
  server!.kill('SIGCONT')

  body.end('er"')
  expect((await bodyEnd)?.statusCode).toBe(202)
  await heard.everywhere('"after"')
  await lines.everywhere('two')
  source.end('three\n')
  const answer = await sourceEnd
  expect(JSON.parse(await text(answer!))).toMatchObject({ messages: 3, bytes: 11 })
  await lines.everywhere('three')
  // Behind it there is no second attempt of the first.
  await publish('hooks', 'two')
  await expect.poll(() => receiver!.requests.map(({ body }) => String(body))).toEqual(['"one"', '"two"'])
  await sleep(PING_MS + PONG_MS)
  expect([...heard.closed, ...lines.closed]).toEqual([])
  const { closes } = (await (await fetch(`${url}/api/stats`)).json()) as { closes: Record<string, number> }
  expect(closes).toEqual({})
})

it('a stop makes no flood of what a client sends within its rate', { timeout: 60_000 }, async () => {
  const RATE = 500
  const STOPPED_MS = 4000
  const url = await serve({ HUBLINE_LIMITS_MESSAGES_PER_SECOND_PER_CLIENT: `${RATE}` })
  const publisher = await open(`${url.replace('http', 'ws')}/topics/load?role=publisher`)
  const closed: number[] = []
  publisher.on('close', code => closed.push(code))
  const startedAt = performance.now()
  let sent = 0
  const load = setInterval(() => {
    for (const due = (performance.now() - startedAt) * 0.8 * (RATE / 1000); sent < due; sent++) publisher.send('x')
  }, 5)
  await sleep(500)
  server!.kill('SIGSTOP')
  await sleep(STOPPED_MS)
  server!.kill('SIGCONT')
  await sleep(500)
  clearInterval(load)
  const published = async () => (await (await fetch(`${url}/api/topics/load`)).json()) as { published: number }
  await expect.poll(published).toMatchObject({ published: sent })
  expect(closed).toEqual([])
})
