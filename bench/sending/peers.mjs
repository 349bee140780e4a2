// Everybody whom the hub sends to, in a process and on a core of their own: subscribers on WebSockets, and receivers behind one port.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { WebSocket } from 'ws'

let received = 0
/** Answered when the test is over, or never. @type {import('node:http').ServerResponse[]} */
const hanging = []

const server = createServer((request, response) => {
  request.resume().on('end', () => {
    if (request.url === '/hangs') hanging.push(response)
    else response.end()
  })
}).listen(0, '127.0.0.1')
await once(server, 'listening')
process.send?.(server.address())

const orders = {
  /** @param {{ urls: string[] }} order */
  async connect({ urls }) {
    for (const url of urls) {
      const socket = new WebSocket(url, { perMessageDeflate: false })
      socket.on('message', () => received++)
      await once(socket, 'open')
    }
  },
  count() {
    const count = received
    received = 0
    return count
  },
  release() {
    for (const response of hanging.splice(0)) response.end()
  },
}

/** @param {{ name: keyof typeof orders } & Record<string, any>} order */
async function obey({ name, ...order }) {
  process.send?.({ done: await orders[name](/** @type {any} */ (order)) })
}
process.on('message', order => void obey(/** @type {any} */ (order)))
// The bench has ended, however it did.
process.on('disconnect', () => process.exit())
