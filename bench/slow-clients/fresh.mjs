// How old pictures are for a viewer that reads too slowly, and what the bound on the kernel's buffers costs one that does not.
// `npm run bench:slow -- --fresh`. "Before" is the same policy without `fresh`, which leaves the kernel's buffers as they are.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { bestEffort, createHub, dropSlow, latest, openTopics } from 'hubline'
import { SlowPeer } from 'hubline/testing'
import { httpStream } from 'hubline/transports'
import { LongPath } from './long-path.mjs'
import { PICTURE_BYTES, PictureReader, picture } from './pictures.mjs'

const PICTURE_MS = 40
const SLOW_BYTES = 300_000
const SLOW_MS = 14_000
const WARM_MS = 3000
const MEASURED_MS = 6000
const ROUNDS = 3
const none = { messages: 0, bytes: 0, ageMs: 0 }
const pause = ms => new Promise(resolve => setTimeout(resolve, ms))
const before = policy => ({ ...policy, fresh: false })

async function start(policy, host = '127.0.0.1') {
  const hub = createHub({ policy, topics: openTopics({ history: none }) })
  const server = createServer((_request, response) => {
    httpStream.open(response, { hub, clientId: 'viewer', topics: [{ name: 'camera' }] })
  })
  await once(server.listen(0, host), 'listening')
  const there = async () => {
    while ([...hub.getActiveClients()].length === 0) await pause(5)
  }
  const stop = async () => {
    await hub.close()
    server.closeAllConnections()
    server.close()
  }
  return { hub, port: server.address().port, there, stop }
}

/** A picture every `pictureMs`. @returns ends it */
function camera(hub, pictureMs = PICTURE_MS) {
  const began = performance.now()
  let taken = 0
  const timer = setInterval(() => {
    for (; taken < (performance.now() - began) / pictureMs; taken++) hub.routeData('camera', picture())
  }, 5)
  return () => clearInterval(timer)
}

/** A picture in each turn of the event loop; `busyMs`: of which each takes so long and brings four pictures. */
function flatOut(hub, busyMs) {
  let stopped = false
  const turn = () => {
    if (stopped) return
    const end = performance.now() + busyMs
    for (let i = 0; i < (busyMs > 0 ? 4 : 1); i++) hub.routeData('camera', picture())
    while (performance.now() < end);
    setImmediate(turn)
  }
  turn()
  return () => {
    stopped = true
  }
}

async function slowViewer(policy) {
  const { hub, port, there, stop } = await start(policy)
  let closedMs
  const began = performance.now()
  hub.events.on('unregister', () => {
    closedMs = performance.now() - began
  })
  const reader = new PictureReader()
  const request = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'
  const peer = await SlowPeer.open({ port, request, pace: { kind: 'rate', bytesPerSecond: SLOW_BYTES } })
  peer.onData = data => reader.read(data)
  await there()
  const end = camera(hub)
  while (performance.now() - began < SLOW_MS && closedMs === undefined) await pause(20)
  const closed = closedMs
  end()
  peer.close('reset')
  await stop()
  const oldest = `${(Math.max(0, ...reader.ages) / 1000).toFixed(1)} s`
  return { oldest, closed: closed === undefined ? 'no' : `after ${(closed / 1000).toFixed(1)} s` }
}

async function throughput(policy, source, path) {
  const host = path?.address ?? '127.0.0.1'
  const { hub, port, there, stop } = await start(policy, host)
  const [command, ...args] = [...(path?.command ?? []), process.execPath]
  const script = new URL('viewer.mjs', import.meta.url).pathname
  const viewer = spawn(command, [...args, script, host, String(port)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  await once(viewer, 'message')
  await there()
  const end = source(hub)
  await pause(WARM_MS)
  viewer.send('report')
  await once(viewer, 'message')
  const began = performance.now()
  await pause(MEASURED_MS)
  viewer.send('report')
  const [{ bytes }] = await once(viewer, 'message')
  const rate = bytes / (performance.now() - began) / 1000
  end()
  viewer.kill()
  await stop()
  return rate
}

/** In turns, so that a slow minute of the machine hits both. */
async function compare(policy, source, path) {
  const rates = [[], []]
  for (let i = 0; i < ROUNDS; i++) {
    rates[0].push(await throughput(before(policy), source, path))
    rates[1].push(await throughput(policy, source, path))
  }
  return rates.map(each => `${each.sort((a, b) => a - b)[ROUNDS >> 1].toFixed(2)} MB/s`)
}

/** @param {(title: string, head: string[], rows: string[][]) => void} table */
export async function fresh(table) {
  const rows = []
  for (const policy of [latest(), bestEffort(), dropSlow()]) {
    const was = await slowViewer(before(policy))
    const is = await slowViewer(policy)
    rows.push([policy.name, was.oldest, is.oldest, was.closed, is.closed])
    process.stderr.write('.')
  }
  const speed = `${SLOW_BYTES / 1000} KB/s of ${PICTURE_BYTES / PICTURE_MS / 1000} MB/s`
  const head = ['policy', 'oldest picture, before', 'oldest picture', 'closed, before', 'closed']
  table(`A viewer that reads ${speed} for ${SLOW_MS / 1000} s`, head, rows)
  const healthy = []
  let path
  try {
    path = await LongPath.open(100)
  } catch (error) {
    console.log(`No path of 100 ms here (${error.message}): the rows that need it are left out.`)
  }
  const sources = [
    ['1.5 MB/s', hub => camera(hub)],
    ['15 MB/s', hub => camera(hub, PICTURE_MS / 10)],
    ['flat out', hub => flatOut(hub, 0)],
    ['flat out, turns of 20 ms', hub => flatOut(hub, 20)],
  ]
  for (const [way, over] of [['loopback', undefined], ...(path ? [['100 ms', path]] : [])]) {
    for (const [name, source] of sources) {
      healthy.push([way, name, ...(await compare(latest(), source, over))])
      process.stderr.write('.')
    }
  }
  path?.close()
  table(
    'A viewer that reads all it gets, under latest (median of 3)',
    ['round trip', 'source', 'before', 'now'],
    healthy,
  )
}
