// What sending to single clients costs, and that who does not use it does not pay for it. `npm run bench:send`
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { cpus, release } from 'node:os'
import { bestEffort, createHub, reliable } from 'hubline'
import { CallbackClients, webSocketTopic } from 'hubline/transports'
import { WebSocketServer } from 'ws'

const SECONDS = 8
const SENDS_PER_SECOND = 500
const SUBSCRIBERS = 500
const MESSAGES_PER_SECOND = 100
const PAYLOAD_BYTES = 128
const CALLBACKS = 100
const ROUNDS = 200
const TICK_MS = 2
const TICKS = 4000
/** One message of the other topic in so many ticks. */
const TICKS_PER_LEDGER = 10
const COST_ROUNDS = 23

const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

/** The process of all peers, which does one thing after the other and answers each. */
async function startPeers() {
  const child = fork(new URL('sending/peers.mjs', import.meta.url))
  const [{ port }] = await once(child, 'message')
  return {
    url: `http://127.0.0.1:${port}`,
    async tell(name, order = {}) {
      child.send({ name, ...order })
      return (await once(child, 'message'))[0].done
    },
    stop: () => child.kill(),
  }
}

/** Runs `step` so many times a second, on the wall clock, and says how often it did. */
async function paced(perSecond, seconds, step) {
  const began = performance.now()
  for (let done = 0; ; ) {
    const elapsed = (performance.now() - began) / 1000
    for (const due = Math.min(elapsed, seconds) * perSecond; done < due; done++) step(done)
    if (elapsed >= seconds) return done
    await pause(TICK_MS)
  }
}

function quantiles(times) {
  times.sort((a, b) => a - b)
  const at = share => times[Math.min(times.length - 1, Math.floor(times.length * share))]
  return [at(0.5), at(0.95), at(0.99), times.at(-1)].map(ms => `${ms.toFixed(2)} ms`)
}

async function sends(peers, confirm) {
  const hub = createHub()
  const server = createServer()
  const webSockets = new WebSocketServer({ server, perMessageDeflate: false })
  webSockets.on('connection', (webSocket, { socket, url }) => {
    const opening = { hub, clientId: url.slice(1), topics: [{ name: 'busy', options: { policy: bestEffort() } }] }
    webSocketTopic.open({ webSocket, socket }, opening)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address()
  const ids = Array.from({ length: SUBSCRIBERS }, (_, i) => `c${i}`)
  await peers.tell('connect', { urls: ids.map(id => `ws://127.0.0.1:${port}/${id}`) })

  const times = []
  const waiting = []
  const payload = Buffer.alloc(PAYLOAD_BYTES)
  const flood = paced(MESSAGES_PER_SECOND, SECONDS, () => hub.routeData('busy', Buffer.alloc(PAYLOAD_BYTES)))
  await paced(SENDS_PER_SECOND, SECONDS, () => {
    const begun = performance.now()
    waiting.push(hub.send('c0', payload, { confirm }).then(() => times.push(performance.now() - begun)))
  })
  await Promise.all(waiting)
  await flood
  await pause(200)
  const deliveries = (await peers.tell('count')) - times.length
  await hub.close()
  server.closeAllConnections()
  server.close()
  const beside = `${Math.round(times.length / SECONDS)} sends/s beside ${Math.round(deliveries / SECONDS / 1000)}k deliveries/s`
  return [`send${confirm ? ', confirmed' : ''}: ${beside}`, ...quantiles(times)]
}

async function broadcasts(peers, hangs) {
  const hub = createHub()
  const clients = new CallbackClients(hub, { allow: ['127.0.0.1'] })
  const ids = Array.from({ length: CALLBACKS }, (_, i) => `c${i}`)
  for (const id of ids) clients.register({ id, url: `${peers.url}/${id}` })
  if (hangs) clients.register({ id: 'hangs', url: `${peers.url}/hangs` })
  const hung = hangs ? hub.broadcast(['hangs'], 'hello') : undefined
  const times = []
  for (let round = 0; round < ROUNDS; round++) {
    const begun = performance.now()
    const { failed } = await hub.broadcast(ids, { round })
    if (failed > 0) throw new Error(`${failed} of ${CALLBACKS} failed`)
    // The first opens the sockets.
    if (round > 0) times.push(performance.now() - begun)
  }
  if (hangs) await peers.tell('release')
  await hung
  await hub.close()
  await clients.close()
  return [`broadcast to ${CALLBACKS} URLs${hangs ? ' while another hangs' : ''}`, ...quantiles(times)]
}

/** Takes everything and says so: what is left is the cost of the hub. */
class Sink {
  protocol = 'sink'
  codec = { name: 'sink', encode: ({ payload }) => payload, concat: (frames, bytes) => Buffer.concat(frames, bytes) }
  write = () => 'ok'
  close() {}
}

/**
 * What a delivery to one of `SUBSCRIBERS` best-effort clients costs, in ns of CPU, while one of them is on another topic as well, under the
 * given policy. Of CPU, not of time: other work on the machine does not count.
 */
async function costOfDelivery(policy) {
  const hub = createHub({ policy: bestEffort() })
  const { codec } = new Sink()
  for (let i = 0; i < SUBSCRIBERS; i++) {
    hub.registerClient(`c${i}`, Object.assign(new Sink(), { codec }))
    hub.subscribe(`c${i}`, 'busy')
  }
  hub.subscribe('c0', 'ledger', { policy })
  const payload = Buffer.alloc(PAYLOAD_BYTES)
  let confirmed = 0
  const before = process.cpuUsage()
  for (let tick = 0; tick < TICKS; tick++) {
    hub.routeData('busy', payload)
    if (tick % TICKS_PER_LEDGER === 0) {
      const { position } = hub.routeData('ledger', payload)
      await new Promise(setImmediate)
      confirmed += hub.acknowledge('c0', 'ledger', position)
    } else await new Promise(setImmediate)
  }
  const { user, system } = process.cpuUsage(before)
  await hub.close()
  if (confirmed !== (policy.confirm ? TICKS / TICKS_PER_LEDGER : 0)) throw new Error(`${confirmed} were confirmed`)
  return ((user + system) * 1000) / (TICKS * SUBSCRIBERS)
}

async function payingForReliable() {
  const runs = [
    { name: 'best-effort', policy: bestEffort(), costs: [] },
    { name: 'reliable', policy: reliable(), costs: [] },
  ]
  for (let round = 0; round < COST_ROUNDS; round++) {
    for (const run of round % 2 === 0 ? runs : runs.toReversed()) run.costs.push(await costOfDelivery(run.policy))
  }
  return runs.map(({ name, costs }) => {
    // The first rounds are the compiler's.
    const counted = costs.slice(3).sort((a, b) => a - b)
    const median = counted[counted.length >> 1]
    return [
      name,
      `${median.toFixed(1)} ns`,
      `${(1000 / median).toFixed(1)} million`,
      `${counted[0].toFixed(1)} to ${counted.at(-1).toFixed(1)} ns`,
    ]
  })
}

function table(title, head, rows) {
  console.log(`\n${title}\n`)
  const width = head.map((name, i) => Math.max(name.length, ...rows.map(row => row[i].length)))
  for (const row of [head, width.map(each => '-'.repeat(each)), ...rows]) {
    console.log(`| ${row.map((cell, i) => cell.padEnd(width[i])).join(' | ')} |`)
  }
}

console.log(`Node ${process.version}, Linux ${release()}, ${cpus().length} × ${cpus()[0]?.model.trim()}`)
const peers = await startPeers()
const rows = []
for (const run of [
  () => sends(peers, false),
  () => sends(peers, true),
  () => broadcasts(peers, false),
  () => broadcasts(peers, true),
]) {
  rows.push(await run())
}
peers.stop()
table('How long a send takes, on loopback', ['', 'p50', 'p95', 'p99', 'longest'], rows)
table(
  `A delivery to one of ${SUBSCRIBERS} best-effort subscribers in memory, one message a tick; one of them is on another topic as well`,
  ['that topic is', 'CPU each, median', 'a second of CPU', 'all runs'],
  await payingForReliable(),
)
