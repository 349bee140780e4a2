// node --expose-gc held-memory.mjs: churn under each policy; prints what the process holds and what the hub says that it keeps.
import { createHub } from '../../dist/index.js'
import { openTopics } from '../../dist/open-topics.js'
import { parsePolicy } from '../../dist/policies/catalog.js'
import { ManualScheduler } from '../../dist/testing/index.js'
import { httpCodecs, wsCodec } from '../../dist/transports/codecs.js'
import { RequestConnection } from '../../dist/transports/request-connection.js'
import { WS_PING, wsFrame } from '../../dist/wire/ws-frame.js'

/** @typedef {{ drained(): void, confirmed(topic: string, seq: number): number }} Client */
/** @typedef {import('../../src/core/connection.ts').WriteResult} WriteResult */

const KIB = 1024
const TOPICS = 40
const ROUNDS = 16
/** Payloads of a round, in bytes; each has a buffer of its own, as what comes from a large request has. */
const SIZES = [100, 3 * KIB, 20 * KIB, 200 * KIB]

/** Every other topic keeps no history. */
const NONE = { history: { messages: 0, bytes: 0, ageMs: 0 } }
const BARE = Object.fromEntries(Array.from({ length: TOPICS / 2 }, (_, i) => [`t/${2 * i}`, NONE]))

const PLAIN = [
  ...['best-effort', 'latest', 'buffered', 'drop-slow', 'reliable'],
  ...['close', 'drop-oldest', 'drop-newest'].map(overflow => ({ name: 'buffered', overflow, bytes: 500 * KIB })),
]
const POLICIES = [
  ...PLAIN,
  { name: 'drop-slow', measure: 'wire' },
  { name: 'reliable', window: 8, ackMs: 100, tries: 1, giveUp: 'skip' },
  ...PLAIN.map(inner => ({ name: 'rate-limit', messages: 3, inner })),
  ...PLAIN.map(inner => ({ name: 'priority', inner })),
]

const CODECS = [wsCodec, httpCodecs.raw.bare, httpCodecs.sse.single.text.chunked]

/** A socket: it holds the frames of a flush until the kernel has taken them all. */
class Socket {
  protocol = 'socket'
  /** @type {Client | undefined} */
  client
  /** @type {Uint8Array[]} */
  frames = []
  /** @param {(typeof CODECS)[number]} codec @param {number} rest rounds that a write takes */
  constructor(codec, rest) {
    this.codec = codec
    this.rest = rest
    this.left = 0
    this.seen = 0
  }

  /** @param {Uint8Array} frame @param {boolean} more @returns {WriteResult} */
  write(frame, more) {
    this.frames.push(frame)
    if (more) return 'ok'
    if (this.rest === 0) this.frames = []
    else this.left = this.rest
    return this.rest === 0 ? 'ok' : 'full'
  }

  round() {
    if (this.left === 0 || --this.left > 0) return
    this.frames = []
    this.client?.drained()
  }

  close() {
    this.client = undefined
    this.frames = []
  }
}

/** One hub under one policy. */
class Churn {
  scheduler = new ManualScheduler()
  /** @type {Map<string, Socket>} */
  sockets = new Map()
  made = 0
  most = 0

  /** @param {unknown} policy @param {object} topics what all of them are like */
  constructor(policy, topics = {}) {
    const { scheduler } = this
    const limits = { maxQueuedBytesPerClient: 1e9, maxRetainedBytes: 1e9 }
    this.hub = createHub({ scheduler, limits, policy: parsePolicy(policy), topics: openTopics(topics, BARE) })
  }

  /** Every third one resumes. @param {number} rest */
  connect(rest) {
    const id = `c${this.made++}`
    const codec = /** @type {(typeof CODECS)[number]} */ (CODECS[this.made % CODECS.length])
    const socket = new Socket(codec, rest)
    socket.client = this.hub.registerClient(id, socket)
    this.sockets.set(id, socket)
    for (let i = 0; i < 6; i++) {
      const topic = `t/${(this.made * 7 + i) % TOPICS}`
      this.hub.subscribe(id, topic, this.made % 3 === 0 ? { after: 'oldest' } : {})
    }
  }

  /** @param {number} round */
  publish(round) {
    for (let topic = 0; topic < TOPICS; topic++) {
      for (const [i, size] of SIZES.entries()) {
        if ((topic + round + i) % 3 > 0) continue
        this.hub.routeData(`t/${topic}`, new Uint8Array(size), { key: `${i}` })
        // Some share a tick.
        if (i % 2 === 0) this.scheduler.settle()
      }
    }
    const some = [...this.sockets.keys()].slice(-10)
    void this.hub.broadcast(some, new Uint8Array(50 * KIB), { timeoutMs: 500 })
    this.scheduler.advance(30)
  }

  /** Writes end; half of what was sent is confirmed late, and some never. @param {number} round */
  read(round) {
    for (const [id, socket] of this.sockets) {
      socket.round()
      if (socket.client === undefined) this.sockets.delete(id)
      else if (round % 2 === 0) {
        for (const { topic, published, unconfirmed } of this.hub.getClient(id).subscriptions) {
          if (unconfirmed > 2) socket.client.confirmed(topic, published - (unconfirmed >> 1))
        }
      }
    }
    this.scheduler.advance(30)
  }

  /** @param {number} most @param {number} round */
  leave(most, round) {
    for (const id of [...this.sockets.keys()].slice(0, Math.max(0, this.sockets.size - most))) {
      this.hub.unregisterClient(id, round % 2 === 0 ? 'peer' : 'ended')
      this.sockets.delete(id)
    }
  }

  /** @param {number} round */
  round(round) {
    // Healthy, slow, and one that never reads.
    for (const rest of [0, 0, 2, 5, Number.POSITIVE_INFINITY]) this.connect(rest)
    this.publish(round)
    this.read(round)
    this.leave(60, round)
  }
}

let base = 0
async function held() {
  // What a weak reference was asked for stays until the turn has ended.
  await new Promise(setImmediate)
  for (let i = 0; i < 2; i++) globalThis.gc?.()
  return process.memoryUsage().arrayBuffers - base
}

/** @param {unknown} policy */
async function measure(policy) {
  base = 0
  base = await held()
  const churn = new Churn(policy)
  const point = async () => ({ held: await held(), reported: churn.hub.getConnectionStats().keptBytes })
  const points = []
  for (let round = 1; round <= ROUNDS; round++) {
    churn.round(round)
    if (round % 8 === 0) points.push(await point())
  }
  const { behind, delivered } = churn.hub.getConnectionStats()
  churn.leave(0, 0)
  churn.scheduler.advance(1000)
  const histories = await point()
  // Positions of topics are kept for an hour.
  churn.scheduler.advance(130_000 + 3_600_000)
  return { policy, points, behind, delivered, histories, end: await point() }
}

const SMALL_ROUNDS = 5
/** Each topic gets so many in a round. */
const SMALL = 60
const KEPT = { history: { messages: 400, bytes: 256 * 2 ** 20, ageMs: 86_400_000 }, publisher: true }

/** Small messages of many kinds, and clients that come and go. `mute`: the same without the messages. */
class SmallChurn extends Churn {
  /** @param {unknown} policy @param {boolean} mute */
  constructor(policy, mute) {
    super(policy, KEPT)
    this.mute = mute
  }

  /** @param {number} round @override */
  publish(round) {
    for (let i = 0; i < SMALL && !this.mute; i++) {
      for (let topic = 0; topic < TOPICS; topic++) {
        const nth = (round * SMALL + i) * TOPICS + topic
        const make = /** @type {typeof pooled} */ (MAKERS[nth % MAKERS.length])
        this.hub.routeData(`t/${topic}`, make(1 + (nth % 50)), FIELDS[nth % FIELDS.length]?.(nth))
      }
      if (i % 5 === 0) this.scheduler.settle()
    }
    this.scheduler.advance(60)
  }
}

/** What the heap and buffers have grown by. @param {unknown} policy @param {boolean} mute */
async function measureSmall(policy, mute = false) {
  const before = await allHeld()
  const churn = new SmallChurn(policy, mute)
  for (let round = 1; round <= SMALL_ROUNDS; round++) churn.round(round)
  const held = (await allHeld()) - before
  return { policy, held, reported: churn.hub.getConnectionStats().keptBytes }
}

/** The same clients and topics without messages take the baseline. */
async function measureAllSmall() {
  const small = []
  await measureSmall('buffered')
  const baseline = await measureSmall('buffered', true)
  for (const policy of POLICIES) {
    const { held, reported } = await measureSmall(policy)
    small.push({ policy, held: held - baseline.held, reported: reported - baseline.reported })
  }
  return small
}

/** Memory with the objects in the heap: what was freed of buffers is swept beside the program. */
async function allHeld() {
  for (let i = 0; i < 3; i++) {
    await new Promise(resolve => setTimeout(resolve, 5))
    globalThis.gc?.()
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

const FOREVER = { history: { messages: 1e6, bytes: 256 * 2 ** 20, ageMs: 86_400_000 } }
const pooled = (/** @type {number} */ bytes) => Buffer.allocUnsafe(bytes)
const own = (/** @type {number} */ bytes) => new Uint8Array(new ArrayBuffer(bytes))
const inHeap = (/** @type {number} */ bytes) => new Uint8Array(bytes)
/** The end of a buffer that is so many times as large. */
const slice = (/** @type {number} */ times) => (/** @type {number} */ bytes) =>
  Buffer.alloc(bytes * times).subarray(-bytes)
/** The beginning of one. */
const head = (/** @type {number} */ bytes) => Buffer.alloc(bytes * 4).subarray(0, bytes)
/** The only one of its pool that is kept. */
const survivor = (/** @type {number} */ bytes) => {
  const kept = pooled(bytes)
  for (let pool = 0; pool < Buffer.poolSize; pool += 1024) pooled(1024)
  return kept
}

const encoder = new TextEncoder()
const text = (/** @type {number} */ bytes) => encoder.encode('t'.repeat(bytes))
/** A string of its own, as each request and each line of a file brings them. @param {string} value */
const fresh = value => Buffer.from(value, 'utf16le').toString('utf16le')
/** The end of a string of 1000 characters, as a parser of URLs or lines makes it. @param {number} i */
const part = i => fresh(`${'k'.repeat(1000)}${i}`).slice(-30)
const ANN = { client: 'ann', session: { user: 'ann', info: { name: 'Ann' } } }
const LONG_INFO = { name: 'x'.repeat(900) }
const SHARED = { user: 'ann', info: 'x'.repeat(900) }
const PUBLISHER = { ...FOREVER, publisher: true }

/** @type {Join} */
const socket = (hub, id) => {
  hub.registerClient(id, new Socket(wsCodec, Number.POSITIVE_INFINITY))
  hub.subscribe(id, 't')
}
/** @type {Join} */
const stream = hub => void hub.stream('t')
/** A client that comes to publish one message, and leaves after it. @param {number} i @param {ReturnType<typeof createHub>} hub */
function visit(i, hub) {
  const client = fresh(`c${i}`)
  const session = { user: 'ann', info: fresh('x'.repeat(900) + i) }
  if (i > 0) hub.unregisterClient(`c${i - 1}`)
  hub.registerClient(client, new Socket(wsCodec, Number.POSITIVE_INFINITY), { session })
  return { publisher: { client, session } }
}
/** A client that is a URL and never answers. @type {Join} */
const url = (hub, id, scheduler) => {
  const attempt = () => new Promise(() => {})
  const meter = { begin() {}, end() {}, retried() {} }
  const rules = {
    retry: { retries: 1, baseMs: 1, capMs: 1 },
    breaker: { failures: 1, coolDownMs: 1 },
    random: Math.random,
    meter,
  }
  const options = { protocol: 'callback', address: id, attempt, scheduler, events: hub.events, ...rules }
  const connection = new RequestConnection(options)
  connection.bind(hub.registerClient(id, connection))
  hub.subscribe(id, 't')
}

/**
 * @typedef {(hub: ReturnType<typeof createHub>, id: string, scheduler: ManualScheduler) => void} Join
 * @typedef {import('../../dist/core/contract.js').RouteOptions} RouteOptions
 * @typedef {{ name: string, count: number, bytes: number, make: (bytes: number) => Uint8Array, options?: (i: number, hub: ReturnType<typeof createHub>) => RouteOptions, policy?: unknown, links?: number, topic?: {}, topicName?: () => string, join?: Join, perTick?: number, stalled?: boolean, control?: boolean, send?: boolean, timeoutMs?: number }} Scene
 */
const MAKERS = [pooled, own, inHeap, text, slice(8), head]
/** @type {((i: number) => RouteOptions)[]} */
const FIELDS = [
  () => ({}),
  i => ({ key: fresh(`key ${i % 100}`) }),
  i => ({ key: part(i % 200), correlationId: fresh(`request-${i}`) }),
  i => ({ contentType: fresh(i % 2 ? 'text/plain' : 'application/json'), publisher: ANN }),
]

/** @type {Scene[]} */
const SCENES = [
  { name: 'history, pooled', count: 10_000, bytes: 1, make: pooled },
  { name: 'history, buffers of their own', count: 10_000, bytes: 1, make: own },
  { name: 'history, in the heap', count: 10_000, bytes: 32, make: inHeap },
  { name: 'history, pooled, 100 bytes', count: 10_000, bytes: 100, make: pooled },
  { name: 'history, of text', count: 10_000, bytes: 90, make: text },
  { name: 'history, 100 KiB', count: 100, bytes: 100 * KIB, make: own },
  { name: 'history, with keys', count: 10_000, bytes: 1, make: pooled, options: i => ({ key: `key ${i}` }) },
  {
    name: 'history, keys that are parts of strings',
    count: 5000,
    bytes: 1,
    make: pooled,
    options: i => ({ key: part(i) }),
  },
  {
    ...{ name: 'history, keys that are not Latin-1', count: 10_000, bytes: 1, make: pooled },
    options: i => ({ key: fresh('\u03ba'.repeat(100) + i) }),
  },
  {
    ...{ name: 'history, a content type of its own string each', count: 10_000, bytes: 1, make: pooled },
    options: i => ({ contentType: fresh(i % 2 ? 'text/plain' : 'application/json') }),
  },
  {
    ...{ name: 'history, all content types differ', count: 5000, bytes: 1, make: pooled },
    options: i => ({ contentType: fresh(`text/${'x'.repeat(200)}${i}`) }),
  },
  {
    ...{ name: 'history, a topic name of its own string each', count: 10_000, bytes: 1, make: pooled },
    topicName: () => fresh('n'.repeat(200)),
  },
  {
    name: 'history, with publishers',
    count: 10_000,
    bytes: 1,
    make: pooled,
    topic: PUBLISHER,
    options: () => ({ publisher: ANN }),
  },
  {
    ...{ name: 'history, with publishers that are requests', count: 5000, bytes: 1, make: pooled, topic: PUBLISHER },
    options: i => ({
      publisher: { session: { user: fresh(`user ${i}`), info: { name: fresh('x'.repeat(100) + i) } } },
    }),
  },
  ...[{}, { client: 'not connected' }].map(client => ({
    ...{ name: `history, an info each, ${JSON.stringify(client)}`, count: 5000, bytes: 1, make: pooled },
    topic: PUBLISHER,
    options: (/** @type {number} */ i) => {
      const info = { name: fresh(`n${i}`), tags: [fresh(`a${i}`), 'b'] }
      return { publisher: { ...client, session: { user: fresh(`user ${i}`), info } } }
    },
  })),
  {
    ...{ name: 'history, publishers with long infos that are gone', count: 2000, bytes: 1, make: pooled },
    topic: PUBLISHER,
    options: visit,
  },
  {
    ...{ name: 'history, one session of a request without a client', count: 10_000, bytes: 1, make: pooled },
    topic: PUBLISHER,
    options: () => ({ publisher: { session: SHARED } }),
  },
  {
    ...{ name: 'history, sessions that share an info', count: 10_000, bytes: 1, make: pooled, topic: PUBLISHER },
    options: () => ({ publisher: { session: { user: 'ann', info: LONG_INFO } } }),
  },
  {
    ...{ name: 'history, with all fields', count: 10_000, bytes: 1, make: pooled, topic: PUBLISHER },
    options: i => ({ key: part(i), correlationId: part(i), publisher: ANN }),
  },
  { name: 'history, slices of 4 times as much', count: 200, bytes: 10 * KIB, make: slice(4) },
  { name: 'history, slices of twice as much', count: 200, bytes: 20 * KIB, make: slice(2) },
  { name: 'history, beginnings of 4 times as much', count: 200, bytes: 10 * KIB, make: head },
  { name: 'history, one message a pool', count: 500, bytes: 100, make: survivor },
  { name: 'pending', count: 10_000, bytes: 1, make: pooled, topic: { ...FOREVER, lingerMs: 1000 } },
  ...[stream, url].map(join => ({
    ...{ name: `one flush in the hands of each ${join.name}`, count: 9000, bytes: 1, make: pooled, topic: NONE },
    ...{ join, links: 20, perTick: 9000, stalled: false },
  })),
  ...[true, false].map(stalled => ({
    ...{
      name: `frames of the protocol, ${stalled ? 'that wait' : 'in the hands of sockets'}`,
      count: 10_000,
      bytes: 8,
    },
    ...{ make: pooled, links: 10, control: true, stalled, perTick: 10_000 },
  })),
  { name: 'sends that wait', count: 1000, bytes: KIB, make: slice(4), links: 1, send: true },
  {
    name: 'sends that nobody waits for, in the hands of sockets',
    count: 100,
    bytes: 50 * KIB,
    make: own,
    links: 100,
    send: true,
    stalled: false,
    timeoutMs: 1,
  },
  {
    ...{ name: 'newest values', count: 9000, bytes: 1, make: pooled, policy: 'latest', links: 2, topic: NONE },
    options: i => ({ key: `key ${i % 9000}` }),
  },
  {
    ...{ name: 'lists of links', count: 8000, bytes: 1, make: pooled, links: 20, topic: NONE },
    policy: { name: 'buffered', overflow: 'drop-newest', messages: 10_000 },
  },
  {
    ...{ name: 'unconfirmed', count: 8000, bytes: 1, make: pooled, links: 20, topic: NONE },
    policy: { name: 'reliable', window: 10_000 },
  },
]

/** Stalled clients under a policy, and then messages for them. @param {Scene} scene */
async function measureScene({
  name,
  count,
  bytes,
  make,
  options = () => ({}),
  policy = 'buffered',
  links = 0,
  topic = FOREVER,
  topicName = () => 't',
  join = socket,
  perTick = 100,
  stalled = true,
  control = false,
  send = false,
  timeoutMs = 1e9,
}) {
  const scheduler = new ManualScheduler()
  const limits = { maxQueuedBytesPerClient: 1e9, maxRetainedBytes: 1e9 }
  const hub = createHub({ scheduler, limits, policy: parsePolicy(policy), topics: openTopics(topic) })
  for (let link = 0; link < links; link++) join(hub, `c${link}`, scheduler)
  if (stalled) hub.routeData(topicName(), own(1))
  scheduler.settle()
  const before = await allHeld()
  const { keptBytes } = hub.getConnectionStats()
  for (let i = 0; i < count; i++) {
    if (control) hub.handleOf(`c${i % links}`)?.send(wsFrame(WS_PING, make(bytes)))
    else if (send) hub.send(`c${i % links}`, make(bytes), { timeoutMs }).catch(() => {})
    else hub.routeData(topicName(), make(bytes), options(i, hub))
    scheduler.elapse(0.01)
    if (i % perTick === perTick - 1) scheduler.settle()
  }
  scheduler.advance(2)
  const held = (await allHeld()) - before
  return { name, held, reported: hub.getConnectionStats().keptBytes - keptBytes }
}

const results = []
for (const policy of POLICIES) results.push(await measure(policy))
const small = await measureAllSmall()
const scenes = []
// The first one compiles.
for (const scene of [...SCENES.slice(0, 1), ...SCENES]) scenes.push(await measureScene(scene))
process.stdout.write(JSON.stringify({ results, small, scenes: scenes.slice(1) }))
