// The peers that are a few lines of JavaScript around a library, in servers/.
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { clientMessage, upgrade } from '../load/ws-client.mjs'
import { range, startNode, startServer } from './process.mjs'

const require = createRequire(import.meta.url)
const frame = text => clientMessage(Buffer.from(text, 'latin1')).latin1Slice()
const open = path => ({ send: upgrade(path), until: '\r\n\r\n' })
const webSocket = {
  subscribe: { websocket: topics => [open(`/${range(topics)}`)] },
  publish: () => ({ encoder: 'websocket', connections: [[open('/publish')]] }),
}

/** @type {import('./peer.mjs').Peer} */
export const ws = {
  name: 'ws',
  title: 'ws, plain loop',
  many: true,
  ...webSocket,
  version: () => versionOf('ws'),
  missing: () => undefined,
  start: start => startNode('ws.mjs', start),
}

/** @type {import('./peer.mjs').Peer} */
export const nodeHttp = {
  name: 'node:http',
  title: 'node:http, plain loop',
  version: () => process.versions.node,
  missing: () => undefined,
  subscribe: {
    sse: topics => [{ send: `GET /sse/${range(topics)} HTTP/1.1\r\nhost: a\r\n\r\n`, until: '\r\n\r\n' }],
    http: topics => [{ send: `GET /raw/${range(topics)} HTTP/1.1\r\nhost: a\r\n\r\n`, until: '\r\n\r\n' }],
  },
  publish: () => ({ encoder: 'websocket', connections: [[open('/publish')]] }),
  start: start => startNode('http.mjs', start),
}

/** @type {import('./peer.mjs').Peer} */
export const socketIo = {
  name: 'socket.io',
  title: 'Socket.IO, rooms',
  many: true,
  version: () => versionOf('socket.io'),
  missing: () => notInstalled('socket.io'),
  subscribe: { websocket: topics => socketIoOpening(`&topics=${range(topics)}`) },
  publish: () => ({ encoder: 'socket.io', connections: [socketIoOpening('')] }),
  start: start => startNode('socket.io.mjs', start),
}

function socketIoOpening(query) {
  return [
    { send: upgrade(`/socket.io/?EIO=4&transport=websocket${query}`), until: '"pingInterval"' },
    { send: frame('40'), until: '40{"sid"' },
  ]
}

/** @type {import('./peer.mjs').Peer} */
export const uws = {
  name: 'uws',
  title: 'uWebSockets.js, publish',
  many: true,
  ...webSocket,
  version: () => versionOf('@uwsjs/core'),
  missing() {
    try {
      require('@uwsjs/core')
      return undefined
    } catch (error) {
      return `uWebSockets.js has no build for this Node (${error.message.split('\n')[0]})`
    }
  },
  start: start => startNode('uws.mjs', start),
}

/** @type {import('./peer.mjs').Peer} */
export const bun = {
  name: 'bun',
  title: 'Bun, publish',
  many: true,
  ...webSocket,
  version: () => versionOf(bunPackage()),
  missing: () => notInstalled(bunPackage()),
  async start({ cpu }) {
    const server = await startServer({
      command: new URL(`node_modules/${bunPackage()}/bin/bun`, import.meta.url).pathname,
      args: [new URL('servers/bun.mjs', import.meta.url).pathname],
      cpu,
      ready: /listening on (\d+)/,
    })
    return { ...server, collect: () => void process.kill(server.pid, 'SIGWINCH') }
  },
}

function bunPackage() {
  const arch = process.arch === 'arm64' ? 'aarch64' : process.arch
  return `@oven/bun-${process.platform}-${arch}`
}

function notInstalled(name) {
  if (existsSync(new URL(`node_modules/${name}/package.json`, import.meta.url))) return undefined
  return `the package ${name} is not there: npm ci --prefix bench/peers`
}

/** Also of a package that does not export its package.json. */
function versionOf(name) {
  for (const base of ['node_modules/', '../../node_modules/']) {
    const file = new URL(`${base}${name}/package.json`, import.meta.url)
    if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')).version
  }
  return 'unknown'
}
