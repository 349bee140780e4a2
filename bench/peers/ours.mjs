import { createRequire } from 'node:module'
import { clientMessage, upgrade } from '../load/ws-client.mjs'
import { startServer } from './process.mjs'

const root = new URL('../../', import.meta.url)
const { version } = createRequire(import.meta.url)(new URL('package.json', root).pathname)
const frame = text => clientMessage(Buffer.from(text, 'latin1')).latin1Slice()
const CONNECT = { send: frame('{"id":1,"connect":{}}'), until: '"connect":' }
const names = topics => topics.map(topic => `t${topic}`)
const open = (path, extra) => ({ send: upgrade(path, extra), until: '\r\n\r\n' })

/** The server as it is shipped: `hubline serve`. @type {import('./peer.mjs').Peer} */
export const hubline = {
  name: 'hubline',
  title: 'Hubline',
  many: true,
  version: () => `${version}, Node ${process.versions.node}`,
  missing: () => undefined,
  subscribe: {
    websocket: ([topic]) => [open(`/topics/t${topic}`)],
    client: topics => [
      open('/connection/websocket'),
      CONNECT,
      // Commands of one frame are answered in order: the last answer stands for all.
      {
        send: frame(
          names(topics)
            .map((channel, i) => `{"id":${i + 2},"subscribe":{"channel":"${channel}"}}`)
            .join('\n'),
        ),
        until: `{"id":${topics.length + 1},"subscribe"`,
      },
    ],
    sse: topics =>
      topics.length === 1
        ? [
            {
              send: `GET /topics/t${topics[0]} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n`,
              until: '\r\n\r\n',
            },
          ]
        : [
            {
              send: `GET /events?${names(topics)
                .map(name => `topic=${name}`)
                .join('&')} HTTP/1.1\r\nhost: localhost\r\n\r\n`,
              until: '\r\n\r\n',
            },
          ],
    http: ([topic]) => [{ send: `GET /topics/t${topic} HTTP/1.1\r\nhost: localhost\r\n\r\n`, until: '\r\n\r\n' }],
  },
  // A publisher's socket has one topic.
  publish: (topics, wire) => ({
    encoder: wire === 'client' ? 'json' : 'websocket',
    connections: Array.from({ length: topics }, (_, topic) => [open(`/topics/t${topic}?role=publisher`)]),
  }),
  async start({ cpu, policy, lingerMs }) {
    const config = {
      HUBLINE_LOG_LEVEL: 'warn',
      // The load generator answers no pings; the peers are asked for none either.
      HUBLINE_PING_MS: '3600000',
      // One publisher is all the load; the limit of what a client may send is made for many.
      HUBLINE_LIMITS_MESSAGES_PER_SECOND_PER_CLIENT: '0',
      HUBLINE_LIMITS_BYTES_PER_SECOND_PER_CLIENT: '0',
      HUBLINE_LIMITS_HANDSHAKES_PER_SECOND: '0',
      HUBLINE_LIMITS_MAX_CONNECTIONS: '1000000',
      ...(policy && { HUBLINE_POLICY: policy }),
      ...(lingerMs && { HUBLINE_LINGER_MS: String(lingerMs) }),
    }
    const server = await startServer({
      command: process.execPath,
      args: [
        '--expose-gc',
        '--import',
        new URL('servers/collect.mjs', import.meta.url).href,
        new URL(process.env.DIST ?? 'dist/cli/main.js', root).pathname,
        'serve',
        '--port',
        '0',
      ],
      cpu,
      env: config,
      ready: /http:\/\/127\.0\.0\.1:(\d+)/,
    })
    return { ...server, collect: () => void process.kill(server.pid, 'SIGWINCH') }
  },
}
