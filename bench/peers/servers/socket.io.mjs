import './collect.mjs'
import { createServer } from 'node:http'
import { Server } from 'socket.io'
import { topicOf } from '../../load/marker.mjs'

const server = createServer()
const io = new Server(server, { transports: ['websocket'], pingInterval: 3_600_000, serveClient: false })
io.on('connection', socket => {
  const { topics } = socket.handshake.query
  if (topics === undefined) {
    socket.on('publish', data => io.to(`t${topicOf(Buffer.from(data.slice(0, 16), 'latin1'), 0)}`).emit('m', data))
    return
  }
  const [first, last] = topics.split('-').map(Number)
  for (let topic = first; topic <= last; topic++) socket.join(`t${topic}`)
})
server.listen(0, '127.0.0.1', () => console.log(`listening on ${server.address().port}`))
