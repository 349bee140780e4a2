// The healthy ones, in a process of their own: connects, counts, and says what it saw when asked.
import { once } from 'node:events'
import { WebSocket } from 'ws'

const [url, count] = process.argv.slice(2)
/** @type {number[]} */
const latencies = []
let received = 0
let lost = 0

for (let i = 0; i < Number(count); i++) {
  const socket = new WebSocket(String(url))
  let next = -1
  socket.on('message', data => {
    const message = /** @type {Buffer} */ (data)
    const serial = message.readUInt32BE(0)
    if (next !== -1 && serial !== next) lost++
    next = serial + 1
    received++
    latencies.push(Date.now() - message.readDoubleBE(4))
  })
  await once(socket, 'open')
}
process.send?.('ready')
process.on('message', () => {
  latencies.sort((a, b) => a - b)
  process.send?.({ received, lost, p50: at(0.5), p99: at(0.99), worst: latencies.at(-1) ?? 0 })
  latencies.length = 0
})

/** @param {number} share */
function at(share) {
  return latencies[Math.floor(latencies.length * share)] ?? 0
}
