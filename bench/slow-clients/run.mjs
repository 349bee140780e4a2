// What docs/slow-clients.md says in figures, measured here and now. `npm run bench:slow`; `--thin` adds the thin streams, which take
// minutes because that is what they show.
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { cpus, release } from 'node:os'
import { parseArgs } from 'node:util'
import { buffered, createHub, dropSlow, eventLoop, openTopics } from 'hubline'
import { SlowPeer } from 'hubline/testing'
import { httpStream, missingTcpProbe, tcpProbe, webSocketTopic } from 'hubline/transports'
import { WebSocketServer } from 'ws'
import { fresh } from './fresh.mjs'

const { values } = parseArgs({
  options: { thin: { type: 'boolean' }, fresh: { type: 'boolean' }, help: { type: 'boolean' } },
})
if (values.help) {
  console.log('npm run bench:slow -- [--thin | --fresh]   --thin: also streams of 16 KB/s, up to five minutes')
  console.log('   --fresh: only the age of what a slow viewer sees, and the throughput of one that is not slow')
  process.exit()
}
if (missingTcpProbe()) console.log(`No TCP probe here (${missingTcpProbe()}): the rows that need it are left out.`)

const KIB = 1024
const MIB = 1024 * KIB
const HEALTHY = 50
const pause = ms => new Promise(resolve => setTimeout(resolve, ms))
const none = { messages: 0, bytes: 0, ageMs: 0 }

/** A hub on a port, plain HTTP for the slow and WebSocket for the others. */
async function start(policy, buffers = {}, scheduler = eventLoop) {
  const hub = createHub({ policy, scheduler, topics: openTopics({ history: none, maxMessageBytes: 4 * MIB }) })
  const ended = new Map()
  hub.events.on('unregister', ({ id, reason }) => ended.set(id, { at: performance.now(), reason }))
  let serial = 0
  const server = createServer((request, response) => {
    httpStream.open(response, { hub, clientId: request.url.slice(1), topics: [{ name: 't' }] })
  })
  server.on('connection', socket => tcpProbe()?.tune(socket, buffers))
  const webSockets = new WebSocketServer({ server, perMessageDeflate: false })
  webSockets.on('connection', (webSocket, request) => {
    const opening = { hub, clientId: `healthy-${serial++}`, topics: [{ name: 't' }] }
    webSocketTopic.open({ webSocket, socket: request.socket }, opening)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address()
  const stop = async () => {
    await hub.close()
    server.closeAllConnections()
    server.close()
  }
  return { hub, ended, port, stop }
}

async function listeners(port, count) {
  const child = fork(new URL('listeners.mjs', import.meta.url), [`ws://127.0.0.1:${port}/`, count])
  await once(child, 'message')
  return {
    async report() {
      child.send('report')
      return (await once(child, 'message'))[0]
    },
    stop: () => child.kill(),
  }
}

/** Publishes until told to stop, on the wall clock. */
function stream(hub, bytes, everyMs) {
  const began = performance.now()
  let sent = 0
  const timer = setInterval(
    () => {
      for (const due = (performance.now() - began) / everyMs; sent < due; sent++) {
        const data = Buffer.alloc(bytes)
        data.writeUInt32BE(sent, 0)
        data.writeDoubleBE(Date.now(), 4)
        hub.routeData('t', data)
      }
    },
    Math.min(5, everyMs),
  )
  return { stop: () => clearInterval(timer), sent: () => sent }
}

/** One stalled client among others: how long it stayed after it stopped reading, and what it cost them. */
async function stall({ policy, buffers, bytes, everyMs, receiveBufferBytes, others = HEALTHY, mostMs = 20_000 }) {
  const { hub, ended, port, stop } = await start(policy, buffers)
  const healthy = others > 0 ? await listeners(port, others) : undefined
  const peer = await SlowPeer.open({
    port,
    request: 'GET /stalled HTTP/1.1\r\nhost: a\r\n\r\n',
    pace: { kind: 'stalled' },
    ...(receiveBufferBytes && { receiveBufferBytes }),
  })
  while (![...hub.getActiveClients()].some(({ id }) => id === 'stalled')) await pause(5)
  const feed = stream(hub, bytes, everyMs)
  const began = performance.now()
  let refused
  while (!ended.has('stalled') && performance.now() - began < mostMs) {
    const client = hub.getClient('stalled')
    // The first byte that the peer's host did not confirm at once; loopback confirms in well under a millisecond.
    if (refused === undefined && ((client.unacknowledged ?? 0) > 0 || !client.writable)) refused = performance.now()
    if (client.unacknowledged === 0) refused = undefined
    await pause(2)
  }
  const end = ended.get('stalled')
  const published = feed.sent() * bytes
  await pause(others > 0 ? 500 : 0)
  feed.stop()
  await pause(300)
  const report = await healthy?.report()
  healthy?.stop()
  peer.close('reset')
  await stop()
  return { end, published, afterStall: end && end.at - began, afterRefusal: end && refused && end.at - refused, report }
}

function table(title, head, rows) {
  console.log(`\n${title}\n`)
  const width = head.map((name, i) => Math.max(name.length, ...rows.map(row => row[i].length)))
  for (const row of [head, width.map(each => '-'.repeat(each)), ...rows]) {
    console.log(`| ${row.map((cell, i) => cell.padEnd(width[i])).join(' | ')} |`)
  }
}

const ms = value => (value === undefined ? 'not found' : `${Math.round(value)} ms`)
const MODES = [
  ['queue, kernel as it is', dropSlow(), {}],
  ['queue, notSentLowat 128 KiB', dropSlow(), { notSentLowatBytes: 128 * KIB }],
  ['queue, notSentLowat 16 KiB (the tower’s default)', dropSlow(), { notSentLowatBytes: 16 * KIB }],
  ['queue, sendBuffer 64 KiB', dropSlow(), { sendBufferBytes: 64 * KIB }],
  ['wire', dropSlow({ measure: 'wire' }), {}],
].filter(([name]) => tcpProbe() !== undefined || name === 'queue, kernel as it is')

const HEAD = [
  'measured by',
  'receive buffer',
  'out after the stall',
  'out after the first refused byte',
  'published by then',
]
const windows = [
  ['default', undefined],
  ['4 KiB', 4096],
]

async function stalledReaders() {
  const rows = []
  const worst = []
  let lost = 0
  for (const [name, policy, buffers] of MODES) {
    for (const [window, receiveBufferBytes] of windows) {
      const { afterStall, afterRefusal, published, report } = await stall({
        ...{ policy, buffers, receiveBufferBytes, bytes: 16 * KIB, everyMs: 20 },
      })
      worst.push(report.p99)
      lost += report.lost
      rows.push([name, window, ms(afterStall), ms(afterRefusal), `${(published / KIB).toFixed(0)} KiB`])
      process.stderr.write('.')
    }
  }
  table(`A stalled reader of 16 KiB each 20 ms (800 KB/s), beside ${HEALTHY} healthy ones`, HEAD, rows)
  console.log(`\nThe healthy ones: ${lost} messages lost, p99 of each run ${worst.join(', ')} ms.`)
}

async function thinStreams() {
  const runs = MODES.flatMap(mode => windows.map(window => [...mode, ...window]))
  const rows = await Promise.all(
    runs.map(async ([name, policy, buffers, window, receiveBufferBytes]) => {
      const { afterStall, afterRefusal, published } = await stall({
        ...{ policy, buffers, receiveBufferBytes, bytes: 800, everyMs: 50, others: 0, mostMs: 420_000 },
      })
      process.stderr.write('.')
      return [name, window, ms(afterStall), ms(afterRefusal), `${(published / KIB).toFixed(0)} KiB`]
    }),
  )
  table('A stalled reader of a thin stream (16 KB/s)', HEAD, rows)
}

async function memory() {
  const rows = []
  const policies = [
    ['buffered, 1 MiB, drop-oldest (they stay)', buffered({ overflow: 'drop-oldest' })],
    ['drop-slow, queue', dropSlow()],
    ['drop-slow, wire', dropSlow({ measure: 'wire' })],
  ]
  for (const [name, policy] of policies) {
    const { hub, ended, port, stop } = await start(policy, { notSentLowatBytes: 128 * KIB })
    const peers = []
    for (let i = 0; i < 200; i++) {
      const request = `GET /stalled-${i} HTTP/1.1\r\nhost: a\r\n\r\n`
      peers.push(await SlowPeer.open({ port, request, pace: { kind: 'stalled' } }))
    }
    await pause(200)
    globalThis.gc?.()
    const base = process.memoryUsage().rss
    let peak = base
    for (let i = 0; i < 1024; i++) {
      hub.routeData('t', Buffer.alloc(64 * KIB, i))
      await pause(2)
      peak = Math.max(peak, process.memoryUsage().rss)
    }
    await pause(700)
    const { queuedBytes, keptBytes, clients } = hub.getConnectionStats()
    const mib = bytes => `${(bytes / MIB).toFixed(1)} MiB`
    rows.push([name, mib(peak - base), `${ended.size}`, `${clients}`, mib(queuedBytes), mib(keptBytes)])
    for (const peer of peers) peer.close('reset')
    await stop()
    process.stderr.write('.')
  }
  table(
    '200 stalled clients while 64 MiB are published (resident memory over the base)',
    ['policy', 'peak', 'evicted', 'clients left', 'queued', 'kept'],
    rows,
  )
}

async function cost() {
  const rows = []
  for (const [name, policy] of [
    ['no limit in time (buffered)', buffered()],
    ['drop-slow, queue', dropSlow()],
    ['drop-slow, wire', dropSlow({ measure: 'wire' })],
  ]) {
    let spent = 0
    // The hub's timers are the sweep, which asks the kernel, and once a second the housekeeping: their time is the whole cost of looking.
    const every = (ms, run) =>
      eventLoop.every(ms, () => {
        const from = process.cpuUsage()
        run()
        const { user, system } = process.cpuUsage(from)
        spent += (user + system) / 1000
      })
    const { hub, port, stop } = await start(policy, {}, { ...eventLoop, every })
    let asked = 0
    const probe = tcpProbe()
    const ask = probe?.unacknowledged
    if (probe) {
      probe.unacknowledged = socket => {
        asked++
        return ask(socket)
      }
    }
    const healthy = await listeners(port, 1000)
    const feed = stream(hub, 128, 25)
    await pause(1500)
    spent = 0
    asked = 0
    const before = process.cpuUsage()
    const began = performance.now()
    await pause(8000)
    const { user, system } = process.cpuUsage(before)
    const elapsed = performance.now() - began
    feed.stop()
    const share = `${((spent / elapsed) * 100).toFixed(2)} %`
    rows.push([
      name,
      share,
      `${((asked * 1000) / elapsed).toFixed(0)}`,
      `${((user + system) / 10 / elapsed).toFixed(0)} %`,
    ])
    if (probe) probe.unacknowledged = ask
    healthy.stop()
    await stop()
    process.stderr.write('.')
  }
  table(
    '1,000 healthy clients, 40 messages a second: share of one core',
    ['policy', 'sweep and probe', 'asked a second', 'all of the hub'],
    rows,
  )
}

console.log(
  `${new Date().toISOString().slice(0, 10)}, ${cpus()[0].model} (${cpus().length} cores), Linux ${release()}, Node ${process.version}`,
)
if (values.fresh) {
  await fresh(table)
} else {
  await stalledReaders()
  await memory()
  await cost()
  if (values.thin) await thinStreams()
}
process.exit()
