// Opens one client of each protocol, reads whatever comes, and says on stdout that it is there.
import { get } from 'node:http'
import { Centrifuge } from 'centrifuge'
import { WebSocket } from 'ws'

const [url = ''] = process.argv.slice(2)
const socketUrl = url.replace('http', 'ws')

/**
 * Resolves once the head of the answer has come.
 * @param {string} path
 * @param {string} accept
 * @returns {Promise<void>}
 */
const stream = (path, accept) =>
  new Promise(resolve => {
    get(url + path, { headers: { accept } }, response => {
      response.resume()
      resolve()
    })
  })

const webSocket = new WebSocket(`${socketUrl}/topics/quiet?client=websocket`)
const centrifuge = new Centrifuge(`${socketUrl}/connection/websocket?client=centrifuge`, { websocket: WebSocket })
centrifuge.newSubscription('quiet').subscribe()
centrifuge.connect()
await Promise.all([
  new Promise(resolve => webSocket.once('open', resolve)),
  centrifuge.ready(),
  stream('/topics/quiet?client=sse', 'text/event-stream'),
  stream('/topics/quiet?client=stream-quiet', '*/*'),
  stream('/topics/busy?client=stream-busy', '*/*'),
])
console.log('there')
