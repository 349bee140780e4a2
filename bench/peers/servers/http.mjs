// The loop that everybody writes first, for SSE and for a plain response: write to each.
import './collect.mjs'
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { topicOf } from '../../load/marker.mjs'

const responses = new Set()
const server = createServer(({ url }, response) => {
  const sse = url.startsWith('/sse/')
  response.writeHead(200, {
    'content-type': sse ? 'text/event-stream' : 'application/octet-stream',
    'cache-control': 'no-store',
  })
  response.flushHeaders()
  const subscriber = { response, sse, topic: Number(url.split('/')[2].split('-')[0]) }
  responses.add(subscriber)
  response.on('close', () => responses.delete(subscriber))
})
const sockets = new WebSocketServer({ server, perMessageDeflate: false })
sockets.on('connection', socket => {
  socket.on('message', data => {
    const topic = topicOf(data, 0)
    const event = `data: ${data}\n\n`
    for (const { response, sse, topic: own } of responses) if (own === topic) response.write(sse ? event : data)
  })
})
server.listen(0, '127.0.0.1', () => console.log(`listening on ${server.address().port}`))
