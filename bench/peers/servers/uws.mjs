import './collect.mjs'
import { createRequire } from 'node:module'
import { topicOf } from '../../load/marker.mjs'

const { App, DISABLED, us_socket_local_port } = createRequire(import.meta.url)('@uwsjs/core')
const app = App()
app.ws('/*', {
  compression: DISABLED,
  idleTimeout: 0,
  sendPingsAutomatically: false,
  // The default drops what exceeds 64 KiB; nothing may be lost here.
  maxBackpressure: 256 * 1024 * 1024,
  maxPayloadLength: 1024 * 1024,
  upgrade(response, request, context) {
    response.upgrade(
      { url: request.getUrl() },
      request.getHeader('sec-websocket-key'),
      request.getHeader('sec-websocket-protocol'),
      request.getHeader('sec-websocket-extensions'),
      context,
    )
  },
  open(socket) {
    const { url } = socket.getUserData()
    if (url === '/publish') return
    const [first, last] = url.slice(1).split('-').map(Number)
    for (let topic = first; topic <= last; topic++) socket.subscribe(`t${topic}`)
  },
  message(_socket, data, isBinary) {
    app.publish(`t${topicOf(new Uint8Array(data), 0)}`, data, isBinary)
  },
})
app.listen('127.0.0.1', 0, listening => console.log(`listening on ${us_socket_local_port(listening)}`))
