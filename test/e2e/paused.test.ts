import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, it } from 'vitest'
import { WebSocket } from 'ws'

const MAIN = new URL('../../dist/cli/main.js', import.meta.url).pathname
const CLIENTS = 30
const PING_MS = 1000
const PONG_MS = 500
/** Longer than an interval, so that the time for an answer to some ping ends while the process is stopped. */
const STOP_MS = 1200

let server: ChildProcess | undefined
const sockets: WebSocket[] = []
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.terminate()
  server?.kill('SIGKILL')
})

async function serve(): Promise<string> {
  const env = { ...process.env, HUBLINE_PING_MS: `${PING_MS}`, HUBLINE_PONG_MS: `${PONG_MS}` }
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

it('a process that was stopped closes no client that answers its pings', { timeout: 60_000 }, async () => {
  const url = await serve()
  const ws = url.replace('http', 'ws')
  const closed: number[] = []
  for (let i = 0; i < CLIENTS; i++) (await open(`${ws}/topics/load`)).on('close', code => closed.push(code))
  const protocol = await open(`${ws}/connection/websocket`)
  protocol.on('close', code => closed.push(code))
  protocol.on('message', data => {
    if (String(data) === '{}') protocol.send('{}')
  })
  protocol.send('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"json"}}')
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
