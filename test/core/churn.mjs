// node --expose-gc churn.mjs: connects, subscribes and closes, and prints what is left of it. Of what is built, as users run it.
import { createHub } from '../../dist/index.js'
import { ManualScheduler } from '../../dist/testing/index.js'

const CYCLES = 50_000
/** Open at any time. */
const OPEN = 100

/** @typedef {import('../../src/core/connection.ts').WriteResult} WriteResult */

class Sink {
  protocol = 'sink'
  codec = {
    name: 'sink',
    encode: (/** @type {{ payload: Uint8Array }} */ { payload }) => payload,
    concat: (/** @type {readonly Uint8Array[]} */ frames, /** @type {number} */ bytes) => Buffer.concat(frames, bytes),
  }

  /** @returns {WriteResult} */
  write() {
    return 'ok'
  }

  close() {}
}

const scheduler = new ManualScheduler()
// Positions of topics that ended are remembered, as many as there may be topics.
const hub = createHub({ scheduler, limits: { maxTopics: 5000 } })

/** A user on a topic of its own, on one that all share, and by a pattern that nobody else has; every other one leaves by itself. */
function cycle(/** @type {number} */ number) {
  const id = `c${number}`
  const user = `u${number >> 1}`
  const client = hub.registerClient(id, new Sink(), { session: { user, info: { number } } })
  hub.subscribe(id, 'all')
  hub.subscribe(id, `own/${number}`)
  hub.subscribePattern(id, `own/*/${number}/**`)
  hub.publishBytes(`own/x/${number}/y`, Buffer.from('hello'))
  const old = number - OPEN
  if (old < 0) return
  if (old % 4 === 0) hub.disconnectUser(`u${old >> 1}`)
  else hub.unregisterClient(`c${old}`)
  if (number % OPEN === 0) scheduler.advance(5000)
  return client
}

function heap() {
  for (let i = 0; i < 4; i++) globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

/** @type {number[]} */
const heaps = []
for (let number = 0; number < CYCLES; number++) {
  cycle(number)
  // The first tenth compiles, and fills what the hub keeps for a minute.
  if (number % (CYCLES / 10) === 0 && number > 0) heaps.push(heap())
}
for (let number = CYCLES - OPEN; number < CYCLES; number++) hub.unregisterClient(`c${number}`)
// Positions of topics are kept for an hour.
scheduler.advance(130_000 + 3_600_000)
heaps.push(heap())
const { clients, users, topics, subscriptions, patterns, keptBytes, pending, clientsTotal } = hub.getConnectionStats()
const left = { clients, users, topics, subscriptions, patterns, keptBytes, pending, timers: scheduler.timers }
process.stdout.write(JSON.stringify({ clientsTotal, left, heaps }))
