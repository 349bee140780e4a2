import { once } from 'node:events'
import { connect } from 'node:net'
import { missingOf, printed, startWith } from './debian.mjs'
import { freePort } from './process.mjs'

const ICECAST = '/usr/bin/icecast2'
const PASSWORD = 'bench'
const TYPE = 'video/webm'
const listen = 'GET /t0 HTTP/1.1\r\nhost: a\r\n\r\n'

/**
 * A source's dialogue. Icecast takes all that is no Ogg in blocks of 1,400 bytes, which would hold up to ten messages back until the
 * next come; only WebM it passes on as it comes, all but the last four bytes. The least that it takes for WebM: a header, up to the
 * identifier of a cluster, and what `says`, whole once four bytes follow.
 */
function source(mount, says) {
  const login = Buffer.from(`source:${PASSWORD}`).toString('base64')
  return [
    {
      send: `PUT ${mount} HTTP/1.1\r\nhost: a\r\nauthorization: Basic ${login}\r\ncontent-type: ${TYPE}\r\n\r\n`,
      until: '200 OK\r\n\r\n',
    },
    { send: `\x1a\x45\xdf\xa3\x1f\x43\xb6\x75${says}....` },
  ]
}

/** One topic, for its mount is one stream. @type {import('./peer.mjs').Peer} */
export const icecast = {
  name: 'icecast',
  title: 'Icecast',
  version: () => printed(ICECAST, '-v'),
  missing: () => missingOf(ICECAST),
  subscribe: { http: () => [{ send: listen, until: '\r\n\r\n' }] },
  // Listeners come over from the idle mount within half a second of the source's coming; the last to get there says when all have.
  publish: () => ({ encoder: 'bytes', connections: [source('/t0', 'here'), [{ send: listen, until: 'here' }]] }),
  async start({ cpu, topics }) {
    if (topics > 1) throw new Error('Icecast has one topic here')
    const port = await freePort()
    const server = await startWith({
      command: ICECAST,
      args: file => ['-c', file],
      config: directory => configOf(directory, port),
      cpu,
      port,
    })
    const idle = await idleSource(port)
    return {
      ...server,
      async stop() {
        idle.destroy()
        await server.stop()
      },
    }
  },
}

/** Icecast refuses who listens to a mount that has no source yet, unless another stands in: this one, which says next to nothing. */
async function idleSource(port) {
  const [login, opening] = source('/idle', '')
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  socket.write(login.send)
  const [answer] = await once(socket, 'data')
  if (!answer.latin1Slice().includes(login.until)) throw new Error(`Icecast answered ${answer}`)
  socket.write(opening.send, 'latin1')
  socket.resume()
  // It looks for new listeners whenever data comes, or else four times a second.
  const timer = setInterval(() => socket.write('.'), 20).unref()
  socket.on('close', () => clearInterval(timer))
  return socket
}

// As root it wants to become someone else. A day without data is no reason to drop a source.
const configOf = (directory, port) => `
<icecast>
  <limits>
    <clients>100000</clients>
    <sources>4</sources>
    <queue-size>268435456</queue-size>
    <client-timeout>86400</client-timeout>
    <header-timeout>60</header-timeout>
    <source-timeout>86400</source-timeout>
    <burst-on-connect>0</burst-on-connect>
    <burst-size>0</burst-size>
  </limits>
  <authentication>
    <source-password>${PASSWORD}</source-password>
    <admin-user>admin</admin-user>
    <admin-password>${PASSWORD}</admin-password>
  </authentication>
  <hostname>localhost</hostname>
  <listen-socket><port>${port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
  <mount type="normal">
    <mount-name>/t0</mount-name>
    <fallback-mount>/idle</fallback-mount>
    <fallback-override>1</fallback-override>
  </mount>
  <paths>
    <basedir>${directory}</basedir>
    <logdir>${directory}</logdir>
    <webroot>${directory}</webroot>
    <adminroot>${directory}</adminroot>
  </paths>
  <logging><accesslog>-</accesslog><errorlog>-</errorlog><loglevel>1</loglevel></logging>
  ${process.getuid?.() === 0 ? '<security><changeowner><user>nobody</user><group>nogroup</group></changeowner></security>' : ''}
</icecast>
`
