// Run by Bun, not by Node.
import './collect.mjs'
import { topicOf } from '../../load/marker.mjs'

const server = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  fetch(request, self) {
    const { pathname } = new URL(request.url)
    if (self.upgrade(request, { data: { pathname } })) return
    return new Response('a WebSocket, please', { status: 426 })
  },
  websocket: {
    perMessageDeflate: false,
    sendPings: false,
    idleTimeout: 0,
    // Nothing may be lost here.
    backpressureLimit: 256 * 1024 * 1024,
    maxPayloadLength: 1024 * 1024,
    open(socket) {
      const { pathname } = socket.data
      if (pathname === '/publish') return
      const [first, last] = pathname.slice(1).split('-').map(Number)
      for (let topic = first; topic <= last; topic++) socket.subscribe(`t${topic}`)
    },
    message(_socket, data) {
      const topic = topicOf(typeof data === 'string' ? Buffer.from(data.slice(0, 16), 'latin1') : data, 0)
      server.publish(`t${topic}`, data)
    },
  },
})
console.log(`listening on ${server.port}`)
