// A chat over WebSocket without any framework: a room is a topic, and the hub does the rest.
//
//   npm run build && node examples/chat.mjs             (PORT=0 takes any free port)
import { createServer } from 'node:http'
import { createHub, HubError } from 'hubline'
import { newClientId, webSocketTopic } from 'hubline/transports'
import { WebSocketServer } from 'ws'

const page = `<!doctype html><meta charset="utf-8"><title>Chat</title>
<ul id="said"></ul><form><input id="text" placeholder="say something" autofocus></form>
<script>
  const name = prompt('Your name?') || 'someone'
  const socket = new WebSocket(location.origin.replace('http', 'ws') + '/lobby?name=' + encodeURIComponent(name))
  socket.onmessage = ({ data }) => said.append(Object.assign(document.createElement('li'), { textContent: data }))
  document.forms[0].onsubmit = () => (socket.send(text.value), (text.value = ''), false)
</script>`

const hub = createHub()
const server = createServer((_request, response) => response.setHeader('content-type', 'text/html').end(page))
// Compression must stay off: the hub writes one frame for all. A peer that is refused and does not hang up is cut after 2 s.
const sockets = new WebSocketServer({ noServer: true, maxPayload: 4096, perMessageDeflate: false, closeTimeout: 2000 })

server.on('upgrade', (request, socket, head) => {
  sockets.handleUpgrade(request, socket, head, webSocket => {
    try {
      const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
      join(webSocket, request.socket, pathname, searchParams.get('name') ?? 'someone')
    } catch (error) {
      refuse(webSocket, error)
    }
  })
})

function join(webSocket, socket, room, name) {
  webSocketTopic.open({ webSocket, socket }, { hub, clientId: newClientId(), topics: [{ name: room }] })
  webSocket.on('message', async text => {
    try {
      await hub.publish(room, `${name}: ${text}`, { contentType: 'text/plain' })
    } catch (error) {
      // Also what is said while the hub is shutting down.
      refuse(webSocket, error)
    }
  })
}

function refuse(webSocket, error) {
  webSocket.close(1008, error instanceof HubError ? Buffer.from(error.message).subarray(0, 120).toString() : 'no')
}

server.listen(Number(process.env.PORT ?? 8011), '127.0.0.1', () => {
  console.log(`Chat on http://127.0.0.1:${server.address().port}/ (open it twice)`)
})

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, async () => {
    server.close()
    await hub.close()
    server.closeIdleConnections()
  })
}
