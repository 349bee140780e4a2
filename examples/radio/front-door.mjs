// The old way to go live: `SOURCE /live`, or a PUT that says no length (ffmpeg), and then bytes until the connection closes. Node's HTTP
// parser takes no body without a length or chunks, so the first bytes of each connection are read here, and all else is handed on.

import { once } from 'node:events'
import { createServer } from 'node:net'

const MAX_HEAD = 16 * 1024
/** How long a connection may take to say what it wants. */
const HEAD_MS = 10_000
const METHODS = ['SOURCE ', 'PUT ']

/**
 * A TCP server in front of an HTTP server that does not listen itself.
 * @param raw told of each raw source: ({ path, headers, expects }, socket), with the socket paused behind the head
 */
export function frontDoor(httpServer, raw) {
  // As an HTTP server has it: who has said all may still want the answer.
  return createServer({ allowHalfOpen: true, noDelay: true }, socket => {
    socket.on('error', () => {})
    receive(socket, httpServer, raw).catch(() => socket.destroy())
  })
}

async function receive(socket, httpServer, raw) {
  socket.setTimeout(HEAD_MS, () => socket.destroy())
  const { bytes, head } = await firstBytes(socket)
  socket.setTimeout(0)
  socket.removeAllListeners('timeout')
  const request = head === undefined ? undefined : parse(head)
  if (request?.raw) {
    socket.unshift(bytes.subarray(Buffer.byteLength(head, 'latin1')))
    return raw(request, socket)
  }
  // Back to where they came from: for the HTTP server this connection has just been made.
  socket.unshift(bytes)
  httpServer.emit('connection', socket)
}

/** As much as it takes to tell: the whole head of what may be a raw source, and of others what came first. */
async function firstBytes(socket) {
  let bytes = Buffer.alloc(0)
  for (;;) {
    const chunk = socket.read()
    if (chunk) bytes = Buffer.concat([bytes, chunk])
    const text = bytes.toString('latin1', 0, MAX_HEAD)
    const mayBe = METHODS.some(method => text.startsWith(method.slice(0, text.length)))
    const end = text.indexOf('\r\n\r\n')
    if (mayBe && end >= 0) return { bytes, head: text.slice(0, end + 4) }
    if (!mayBe || bytes.length >= MAX_HEAD) return { bytes }
    if (socket.readableEnded || socket.destroyed) throw new Error('it left without a word')
    const done = new AbortController()
    await Promise.race(['readable', 'close', 'end'].map(event => once(socket, event, done)))
    done.abort()
  }
}

/** The little of a head that a source needs. */
function parse(head) {
  const [first = '', ...lines] = head.trimEnd().split('\r\n')
  const [method, path = ''] = first.split(' ')
  const headers = Object.create(null)
  for (const line of lines) {
    const colon = line.indexOf(':')
    if (colon > 0) headers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim()
  }
  const sized = 'content-length' in headers || 'transfer-encoding' in headers
  return { path, headers, expects: 'expect' in headers, raw: method === 'SOURCE' || !sized }
}
