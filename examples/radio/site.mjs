// What the radio answers over HTTP: the stream, the page and its figures, titles, and live sources.

import { readFileSync } from 'node:fs'
import { createServer, STATUS_CODES } from 'node:http'
import { frontDoor } from './front-door.mjs'
import { Refusal } from './source.mjs'

const PAGE = readFileSync(new URL('page.html', import.meta.url))
/** The page has all it needs in it. */
const POLICY =
  "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; media-src 'self'; connect-src 'self'"
const PATHS = 'There is / (a page), /stream (listen), /status.json, and for sources /live and /admin/metadata.'
const ORIGIN = 'http://radio'
/** A connection on which nothing moves. Sources are watched more closely, and who listens by the tower. */
const IDLE_MS = 60_000
/** How long who is refused in the middle of sending may take to read why. */
const LINGER_MS = 2000

/** The radio's server, which does not listen yet. */
export function createSite({ station, source }) {
  const routes = {
    '/': page,
    '/stream': (request, response) => listen(station, request, response),
    '/status.json': (_request, response) => json(response, station.status()),
    '/admin/metadata': (request, response, url) => metadata(station, source, request, response, url),
    '/live': (request, response) => live(source, request, response),
  }
  const answer = async (request, response) => {
    try {
      if (!URL.canParse(request.url, ORIGIN)) throw new Refusal(400, `${request.url} is no path. ${PATHS}`)
      const url = new URL(request.url, ORIGIN)
      const route = Object.hasOwn(routes, url.pathname) ? routes[url.pathname] : undefined
      if (!route) throw new Refusal(404, `Nothing is at ${url.pathname}. ${PATHS}`)
      const allowed = url.pathname === '/live' ? ['PUT'] : ['GET', 'HEAD']
      if (!allowed.includes(request.method)) throw new Refusal(405, `${url.pathname} takes ${allowed.join(' and ')}.`)
      await route(request, response, url)
    } catch (error) {
      refuse(request, response, error)
    }
  }
  // No limit for a whole request: a source sends one for hours.
  const server = createServer({ requestTimeout: 0 }, answer)
  // Otherwise Node says "continue" before anybody has looked at the password.
  server.on('checkContinue', answer)
  server.timeout = IDLE_MS
  const door = frontDoor(server, (request, socket) => rawLive(source, request, socket))
  const sockets = new Set()
  door.on('connection', socket => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return {
    door,
    /** Who has been told of the end may take it. The rest is closed here: the HTTP server keeps no list, for it never listened. */
    close() {
      door.close()
      for (const socket of sockets) if (!socket.writableEnded) socket.destroy()
    },
  }
}

function page(_request, response) {
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'content-security-policy': POLICY })
  response.end(PAGE)
}

function listen(station, request, response) {
  response.setHeader('content-type', station.format.contentType)
  response.setHeader('cache-control', 'no-store')
  response.setHeader('access-control-allow-origin', '*')
  // A header is Latin-1 for Node; players read it as UTF-8.
  response.setHeader('icy-name', Buffer.from(station.name).toString('latin1'))
  response.setHeader('icy-br', station.kbps)
  if (request.method === 'HEAD') return response.end()
  // When a pipe has nothing for a minute, those who wait for it are not to blame.
  request.socket.setTimeout(0)
  station.listen(request, response)
}

function metadata(station, source, request, response, url) {
  source.authorize(request.headers)
  const song = url.searchParams.get('song')
  if (url.searchParams.get('mode') !== 'updinfo' || song === null) {
    throw new Refusal(400, 'Say what is playing: /admin/metadata?mode=updinfo&song=...')
  }
  station.title = song
  response.setHeader('content-type', 'text/xml')
  response.end(
    '<?xml version="1.0"?>\n<iceresponse><message>Metadata update successful</message><return>1</return></iceresponse>\n',
  )
}

async function live(source, request, response) {
  source.check(request.headers)
  request.socket.setTimeout(0)
  if (request.headers.expect) response.writeContinue()
  response.end(`${await source.play(request.headers, request)}\n`)
}

/** Icecast's old way: the answer comes first, and everything after the head is sound. */
async function rawLive(source, { path, headers, expects }, socket) {
  try {
    if (path.split('?')[0] !== '/live') throw new Refusal(404, `Nothing is at ${path}. ${PATHS}`)
    source.check(headers)
    socket.write(expects ? 'HTTP/1.1 100 Continue\r\n\r\n' : 'HTTP/1.0 200 OK\r\n\r\n')
    const sentence = await source.play(headers, socket)
    socket.end(expects ? head(200, sentence) : undefined)
  } catch (error) {
    const { status, message } = asRefusal(error)
    socket.end(head(status, message))
    linger(socket)
  }
}

function head(status, sentence) {
  const challenge = status === 401 ? 'WWW-Authenticate: Basic realm="radio"\r\n' : ''
  return `HTTP/1.0 ${status} ${STATUS_CODES[status]}\r\n${challenge}Content-Type: text/plain\r\nConnection: close\r\n\r\n${sentence}\n`
}

function refuse(request, response, error) {
  if (response.headersSent || response.destroyed) return response.destroy()
  const { status, message } = asRefusal(error)
  if (status === 401) response.setHeader('www-authenticate', 'Basic realm="radio"')
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' })
  response.end(`${message}\n`)
  // What is still being sent is thrown away for a while: a connection that is closed over it would take the answer along.
  if (!request.complete) linger(request.socket)
}

function linger(socket) {
  socket.resume()
  const timer = setTimeout(() => socket.destroy(), LINGER_MS)
  socket.once('close', () => clearTimeout(timer))
}

function asRefusal(error) {
  if (error instanceof Refusal) return error
  if (error.name === 'AbortError' || error.code === 'SHUTTING_DOWN') {
    return new Refusal(503, 'The radio is being switched off.')
  }
  return new Refusal(500, error.message)
}

function json(response, value) {
  response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  response.end(JSON.stringify(value))
}
