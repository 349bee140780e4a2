import { clientMessage, upgrade } from '../load/ws-client.mjs'
import { missingOf, printed, startWith } from './debian.mjs'
import { freePort } from './process.mjs'

const NATS = '/usr/sbin/nats-server'
const frame = text => clientMessage(Buffer.from(text, 'latin1')).latin1Slice()
const opening = subscriptions => `CONNECT {"verbose":false,"pedantic":false}\r\n${subscriptions}PING\r\n`

/** @type {import('./peer.mjs').Peer} */
export const nats = {
  name: 'nats',
  title: 'NATS',
  many: true,
  version: () => printed(NATS, '--version'),
  missing: () => missingOf(NATS),
  subscribe: {
    websocket: topics => [
      { send: upgrade('/'), until: '\r\n\r\n' },
      { send: frame(opening(topics.map(topic => `SUB t${topic} ${topic + 1}\r\n`).join(''))), until: 'PONG\r\n' },
    ],
  },
  publish: () => ({ encoder: 'nats', connections: [[{ send: opening(''), until: 'PONG\r\n' }]] }),
  async start({ cpu }) {
    const port = await freePort()
    const publishPort = await freePort()
    const server = await startWith({
      command: NATS,
      args: file => ['-c', file],
      // The load generator answers no pings.
      config: () => `
host: 127.0.0.1
port: ${publishPort}
ping_interval: "24h"
websocket { host: 127.0.0.1, port: ${port}, no_tls: true }
`,
      cpu,
      ready: /Server is ready/,
    })
    return { ...server, port, publishPort }
  },
}
