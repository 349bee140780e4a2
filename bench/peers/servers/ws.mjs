// The loop that everybody writes first: a Set of sockets a topic, send to each.
import './collect.mjs'
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'
import { topicOf } from '../../load/marker.mjs'

const server = createServer()
const sockets = new WebSocketServer({ server, perMessageDeflate: false })
const topics = new Map()
sockets.on('connection', (socket, { url }) => {
  socket.on('error', () => {})
  if (url === '/publish') {
    socket.on('message', (data, isBinary) => {
      for (const subscriber of topics.get(topicOf(data, 0)) ?? []) subscriber.send(data, { binary: isBinary })
    })
    return
  }
  const [first, last] = url.slice(1).split('-').map(Number)
  for (let topic = first; topic <= last; topic++) {
    if (!topics.has(topic)) topics.set(topic, new Set())
    topics.get(topic).add(socket)
  }
  socket.on('close', () => {
    for (let topic = first; topic <= last; topic++) topics.get(topic).delete(socket)
  })
})
server.listen(0, '127.0.0.1', () => console.log(`listening on ${server.address().port}`))
