// The load generator: a process and a core of its own, so that it costs the server nothing. It is told what to do over IPC, one
// thing at a time, and answers each with what it saw.
import { peers } from '../peers/all.mjs'
import { micros } from './marker.mjs'
import { Publisher } from './publisher.mjs'
import { Subscriber } from './subscriber.mjs'
import { Tally } from './tally.mjs'
import { cpuMicros, processTree } from './usage.mjs'

/** Connection attempts under way at a time. */
const AT_ONCE = 64
/** How long a round waits for the next delivery before it calls the rest missing, in ms. */
const PATIENCE_MS = 2000
/** How often the paced publisher looks at the clock, in ms. */
const PACE_MS = 1

const tally = new Tally()
/** @type {Subscriber[]} */
let subscribers = []
let publisher
let setup
/** Deliveries that one message causes, by topic; the stalled are not counted. */
let audience = []

const orders = {
  /** Connects all subscribers, then the publisher. */
  async connect(order) {
    setup = order
    tally.payloadBytes = order.payloadBytes
    audience = new Array(order.topics).fill(0)
    const peer = peers[order.peer]
    const before = process.cpuUsage()
    const began = performance.now()
    let next = 0
    const connectNext = async () => {
      while (next < order.clients) await join(peer, next++)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, connectNext))
    const seconds = (performance.now() - began) / 1000
    const loadCpu = share(before, seconds)
    if (order.publishes) {
      const { encoder, connections } = peer.publish(order.topics, order.wire)
      const sockets = connections.map(steps => new Subscriber(order.publishPort ?? order.port, steps, new Tally()))
      await Promise.all(sockets.map(socket => socket.opened))
      publisher = new Publisher(sockets, { encoder, payloadBytes: order.payloadBytes, topics: order.topics })
    }
    return { handshakesPerSecond: order.clients / seconds, loadCpu }
  },

  /** The first `count` read no more. */
  stall({ count }) {
    for (const subscriber of subscribers.slice(0, count)) {
      subscriber.stall()
      for (const topic of subscriber.topics) audience[topic]--
    }
    return {}
  },

  async round({ messages, rate, seconds, churn, pid }) {
    tally.begin()
    const pids = processTree(pid)
    const cpu = cpuMicros(pids)
    const own = process.cpuUsage()
    const began = micros()
    const stop = churn > 0 ? churning(churn) : () => {}
    const sent = publisher.sent
    if (rate === undefined) publisher.publish(messages, began)
    else await paced(rate, seconds)
    stop()
    const expected = expectedOf(sent, publisher.sent)
    // Who joins and leaves during the round gets some of the messages; who stays must get all, which their order shows.
    await settled(churn > 0 ? Number.POSITIVE_INFINITY : expected)
    const elapsed = Math.max(1, tally.last - began) / 1e6
    const serverCpu = cpuMicros(pids) - cpu
    const report = tally.report()
    return {
      ...report,
      expected: churn > 0 ? report.deliveries : expected,
      seconds: elapsed,
      perSecond: report.deliveries / elapsed,
      cpuMicros: serverCpu / report.deliveries,
      cpuShare: serverCpu / 1e6 / elapsed,
      loadCpu: share(own, (micros() - began) / 1e6),
    }
  },

  close() {
    for (const subscriber of subscribers) subscriber.close()
    subscribers = []
    return {}
  },
}

async function join(peer, index, late = false) {
  const { topicsEach, topics, wire, port } = setup
  const own = Array.from({ length: topicsEach }, (_, i) => (index * topicsEach + i) % topics)
  const subscriber = new Subscriber(port, peer.subscribe[wire](own), tally, late)
  subscriber.topics = own
  await subscriber.opened
  if (!late) {
    for (const topic of own) audience[topic]++
    subscribers.push(subscriber)
  }
  return subscriber
}

/** Joins and leaves, each so many times a second. */
function churning(perSecond) {
  const guests = []
  let failed = 0
  const timer = setInterval(() => {
    join(peers[setup.peer], 0, true).then(
      guest => guests.push(guest),
      () => failed++,
    )
    if (guests.length > 20) guests.shift().close()
  }, 1000 / perSecond)
  return () => {
    clearInterval(timer)
    for (const guest of guests) guest.close()
    if (failed > 0) throw new Error(`${failed} of those who came and went could not join`)
  }
}

/** On the wall clock: what a late timer missed is made up for at once. */
function paced(rate, seconds) {
  const began = micros()
  const total = rate * seconds
  let sent = 0
  return new Promise(resolve => {
    const timer = setInterval(() => {
      const now = micros()
      const due = Math.min(total, Math.floor(((now - began) / 1e6) * rate) + 1)
      if (due > sent) publisher.publish(due - sent, now)
      sent = due
      if (sent < total) return
      clearInterval(timer)
      resolve()
    }, PACE_MS)
  })
}

/** Topics take turns, so the messages of a round are spread evenly from where the last one ended. */
function expectedOf(from, to) {
  let sum = 0
  for (let i = from; i < to; i++) sum += audience[i % audience.length]
  return sum
}

async function settled(expected) {
  let seen = -1
  let since = performance.now()
  while (tally.deliveries < expected) {
    if (tally.deliveries !== seen) {
      seen = tally.deliveries
      since = performance.now()
    } else if (performance.now() - since > (expected === Number.POSITIVE_INFINITY ? 300 : PATIENCE_MS)) {
      return
    }
    await new Promise(resolve => setTimeout(resolve, 2))
  }
}

function share(before, seconds) {
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e6 / seconds
}

// Whoever gave the orders has gone.
process.on('disconnect', () => process.exit())
process.on('message', async ({ order, ...details }) => {
  try {
    process.send({ ok: await orders[order](details) })
  } catch (error) {
    process.send({ error: error.stack })
  }
})
