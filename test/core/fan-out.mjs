// The fan-out at work, for fan-out-cost.test.ts. The test imports it and counts calls and copies. Started as a program it counts what is
// allocated, which is exact only in a process of its own: see FLAGS.
import { pathToFileURL } from 'node:url'
import { GCProfiler } from 'node:v8'

/**
 * @typedef {import('../../src/core/connection.ts').Connection} Connection
 * @typedef {import('../../src/core/connection.ts').WriteResult} WriteResult
 * @typedef {import('../../src/core/message.ts').Message} Message
 * @typedef {Pick<typeof import('../../src/index.ts'), 'createHub' | 'bestEffort' | 'buffered' | 'dropSlow'>} Library
 * @typedef {Library & Pick<typeof import('../../src/testing/index.ts'), 'ManualScheduler'>} Hubline
 */

/**
 * `clients` on each of `topics` (`shared`: the same ones on all), to each of which `sizes` are published `repeat` times in each of `ticks`.
 * @typedef {object} Scenario
 * @property {number} topics
 * @property {number} clients
 * @property {boolean} [shared]
 * @property {number} [stalled] so many of the clients answer `full` to the first write and never drain
 * @property {number} [codecs]
 * @property {readonly number[]} sizes payload bytes
 * @property {number} [repeat]
 * @property {number} ticks
 */

const SMALL = 100
const LARGE = 64 * 1024

/** What every frame has besides its payload. */
export const HEAD = 10

export const SCENARIOS = {
  /** Everything at once: what a delivery costs is what a message costs each client. */
  flood: { topics: 1, clients: 1000, sizes: [SMALL], repeat: 500, ticks: 1 },
  /** One by one: what a delivery costs is what a flush costs. */
  paced: { topics: 1, clients: 1000, sizes: [SMALL], ticks: 100 },
  large: { topics: 1, clients: 100, sizes: [LARGE], ticks: 100 },
  mixed: { topics: 1, clients: 100, sizes: [SMALL, SMALL, LARGE, SMALL, SMALL, SMALL], ticks: 50 },
  /** Few clients share a message: what a delivery costs is mostly a tenth of what a message costs. */
  wide: { topics: 1000, clients: 10, sizes: [SMALL], ticks: 1 },
  lone: { topics: 100, clients: 1, sizes: [SMALL], ticks: 1 },
  /** Many topics in one flush. */
  crossed: { topics: 100, clients: 100, shared: true, sizes: [SMALL], ticks: 10 },
  codecs: { topics: 1, clients: 1000, codecs: 2, sizes: [SMALL], repeat: 500, ticks: 1 },
  stalled: { topics: 1, clients: 1000, stalled: 100, sizes: [SMALL], ticks: 100 },
}

/** @typedef {keyof typeof SCENARIOS} ScenarioName */
/** @typedef {'best-effort' | 'buffered' | 'drop-slow'} PolicyName */

/** Frames as a real codec makes them, a copy of the payload behind a head, each in memory of its own. */
export class CountingCodec {
  name = 'counting'
  encoded = 0
  joined = 0
  copiedBytes = 0
  /** The frames that it made, where `remember` asks for them. @type {Set<Uint8Array> | undefined} */
  made

  /** @param {Message} message @returns {Uint8Array} */
  encode({ payload }) {
    this.encoded++
    const frame = this.#make(HEAD + payload.byteLength)
    frame.set(payload, HEAD)
    return frame
  }

  /** @param {readonly Uint8Array[]} frames @param {number} bytes @returns {Uint8Array} */
  concat(frames, bytes) {
    this.joined++
    const whole = this.#make(bytes)
    let end = 0
    for (const frame of frames) {
      whole.set(frame, end)
      end += frame.byteLength
    }
    return whole
  }

  #make(/** @type {number} */ bytes) {
    this.copiedBytes += bytes
    // Not from Node's pool: what is allocated shall be what is asked for.
    const frame = Buffer.allocUnsafeSlow(bytes)
    this.made?.add(frame)
    return frame
  }
}

/** What a group of connections was given. */
export class Tally {
  writes = 0
  /** Writes after which nothing follows in the tick: what would be system calls. */
  flushes = 0
  /** Connections that were left corked, or written to while they could take nothing: the hub broke the contract. */
  corked = 0
  refused = 0
  /** How often each frame was written, where `remember` asks for it. @type {Map<Uint8Array, number> | undefined} */
  frames
}

/** @implements {Connection} */
class CountingConnection {
  protocol = 'counting'
  codec
  #answer
  #tally
  #corked = false
  #full = false

  /** @param {CountingCodec} codec @param {WriteResult} answer @param {Tally} tally */
  constructor(codec, answer, tally) {
    this.codec = codec
    this.#answer = answer
    this.#tally = tally
  }

  /** Allocates nothing. @param {Uint8Array} frame @param {boolean} more @returns {WriteResult} */
  write(frame, more) {
    const tally = this.#tally
    tally.writes++
    if (!more) tally.flushes++
    if (this.#full && !this.#corked) tally.refused++
    if (more !== this.#corked) tally.corked += more ? 1 : -1
    this.#corked = more
    this.#full = this.#answer === 'full'
    if (tally.frames !== undefined) tally.frames.set(frame, (tally.frames.get(frame) ?? 0) + 1)
    return this.#answer
  }

  close() {}
}

/** One hub with the clients of a scenario. Every `run` publishes the same again. */
export class FanOut {
  healthy = new Tally()
  stalled = new Tally()
  /** @type {CountingCodec[]} */
  codecs = []
  hub
  /** Of one run, to healthy clients. */
  deliveries
  #scheduler
  #ticks
  /** @type {string[]} */
  #topics = []
  /** @type {Uint8Array[]} */
  #payloads = []

  /** @param {Hubline} hubline @param {Scenario} scenario @param {PolicyName} policy */
  constructor({ createHub, ManualScheduler, bestEffort, buffered, dropSlow }, scenario, policy) {
    const { topics, clients, shared = false, stalled = 0, codecs = 1, sizes, repeat = 1, ticks } = scenario
    // Stalled clients shall stay: none of them is due within a scenario.
    const policies = {
      'best-effort': bestEffort(),
      buffered: buffered(),
      'drop-slow': dropSlow({ timeoutMs: 3_600_000 }),
    }
    this.#scheduler = new ManualScheduler()
    // As a real clock says it. A fraction is not free: where V8 cannot keep it in a register it is an object.
    this.#scheduler.elapse(0.25)
    this.hub = createHub({ scheduler: this.#scheduler, policy: policies[policy] })
    this.#ticks = ticks
    for (let i = 0; i < codecs; i++) this.codecs.push(new CountingCodec())
    for (let i = 0; i < repeat; i++) this.#payloads.push(...sizes.map(size => new Uint8Array(size)))
    for (let t = 0; t < topics; t++) {
      this.#topics.push(`topic/${t}`)
      for (let c = 0; c < clients; c++) {
        const id = shared ? `client-${c}` : `client-${t}-${c}`
        if (t === 0 || !shared) this.#connect(id, c, c < stalled)
        this.hub.subscribe(id, this.#topics[t] ?? '')
      }
    }
    this.deliveries = topics * (clients - stalled) * sizes.length * repeat * ticks
  }

  #connect(/** @type {string} */ id, /** @type {number} */ number, /** @type {boolean} */ stalls) {
    const codec = /** @type {CountingCodec} */ (this.codecs[number % this.codecs.length])
    const connection = new CountingConnection(codec, stalls ? 'full' : 'ok', stalls ? this.stalled : this.healthy)
    this.hub.registerClient(id, connection)
  }

  /** Which frames are made and written, by identity. */
  remember() {
    this.healthy.frames = new Map()
    for (const codec of this.codecs) codec.made = new Set()
    return this
  }

  run() {
    for (let tick = 0; tick < this.#ticks; tick++) {
      for (const topic of this.#topics) for (const payload of this.#payloads) void this.hub.publishBytes(topic, payload)
      // The tick, and then the clock: those who are behind are swept as well.
      this.#scheduler.advance(1)
    }
    return this
  }
}

const SPACE_MIB = 128

/**
 * What makes the number of allocated bytes the same each time. Nothing is collected within a run, so that what the heap has grown by is
 * what was allocated; and no thread compiles or collects beside it, so that the same code is optimized at the same point. That is V8's
 * optimized code, as in production: what the optimizer proves to be unneeded is not allocated and not counted.
 */
export const FLAGS = [
  '--expose-gc',
  `--min-semi-space-size=${SPACE_MIB}`,
  `--max-semi-space-size=${SPACE_MIB}`,
  '--single-threaded',
  // Newer than Node 20, where it is off: with it the figures depend on the version.
  '--no-maglev',
  '--no-flush-bytecode',
  '--hash-seed=1',
  '--random-seed=1',
]

/** So many writes until everything is compiled and every list has grown to its size. */
const WARM_UP = 200_000
const MEASURED = 4

/** Bytes for each delivery to a healthy client. @typedef {{ heap: number, offHeap: number }} Allocated */

/**
 * The least of some runs: the compiler allocates now and then, but what a delivery allocates it allocates in every run.
 * @param {FanOut} fanOut
 * @returns {Allocated}
 */
function allocated(fanOut) {
  while (fanOut.healthy.writes < WARM_UP) fanOut.run()
  let heap = Number.POSITIVE_INFINITY
  let offHeap = Number.POSITIVE_INFINITY
  for (let i = 0; i < MEASURED; i++) {
    globalThis.gc?.()
    const profiler = new GCProfiler()
    profiler.start()
    const before = process.memoryUsage()
    fanOut.run()
    const after = process.memoryUsage()
    if (profiler.stop().statistics.length > 0) throw new Error(`more was allocated than ${SPACE_MIB} MiB have room for`)
    heap = Math.min(heap, after.heapUsed - before.heapUsed)
    offHeap = Math.min(offHeap, after.arrayBuffers - before.arrayBuffers)
  }
  return { heap: heap / fanOut.deliveries, offHeap: offHeap / fanOut.deliveries }
}

// node FLAGS fan-out.mjs SCENARIO POLICY: of what is built, as users run it.
if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const load = (/** @type {string} */ path) => import(new URL(`../../dist/${path}`, import.meta.url).href)
  const hubline = { ...(await load('index.js')), ...(await load('testing/index.js')) }
  const [scenario, policy] = /** @type {[ScenarioName, PolicyName]} */ (process.argv.slice(2))
  process.stdout.write(JSON.stringify(allocated(new FanOut(hubline, SCENARIOS[scenario], policy))))
}
