// A station: what is on the air, and the two towers that send it. It plays its programme, and a live source in place of it.

import { HTTPConnectionManager } from 'hubline/tower'
import { Cutter, icyCodec, METAINT, plainTitle } from './icy.mjs'
import { bundles, Pacer } from './pace.mjs'
import { Preface } from './preface.mjs'

/** What a new listener gets at once, so that a player has something to start with: 8 s at 64 kb/s. */
const BURST_BYTES = 64 * 1024
/** A listener whose link is slower than this cannot follow. One that is faster may take its time for the burst. */
const FLOOR_RATE = 16 * 1024

export class Station {
  kbps = 0
  #title
  #live
  /** How many were live so far. */
  #lives = 0
  #pacer
  #plain
  #icy
  #towers
  #cutter = new Cutter()
  #codec = icyCodec(() => this.title)
  #preface = new Preface(BURST_BYTES)
  #played = { bytes: 0, seconds: 0 }
  #listeners = 0
  #begun = promiseToKeep()

  constructor({ name, title, format, measure = 'queue', clock }) {
    this.name = plainTitle(name)
    this.format = format
    this.#title = plainTitle(title)
    this.#pacer = new Pacer(clock)
    const options = { contentType: format.contentType, burstBytes: BURST_BYTES, floorRate: FLOOR_RATE, measure }
    this.#plain = new HTTPConnectionManager(options)
    // A tower of its own for who wants titles, because its broadcasts are cut in other places: see icy.mjs.
    if (format.titles) this.#icy = new HTTPConnectionManager(options)
    this.#towers = this.#icy ? [this.#plain, this.#icy] : [this.#plain]
  }

  get title() {
    return this.#live?.title ?? this.#title
  }

  /** Of what is on now: who goes live does not rename the programme. */
  set title(title) {
    if (this.#live) this.#live.title = plainTitle(title)
    else this.#title = plainTitle(title)
  }

  /** Resolves when the first sound has been sent: then it is known that there is any, and at what rate. */
  get begun() {
    return this.#begun.promise
  }

  get live() {
    return this.#live !== undefined
  }

  /** Plays on until the input ends or the signal says stop. While somebody is live it waits, and so does what it reads from. */
  async play(chunks, signal) {
    let header
    let lives = this.#lives
    for await (const bundle of bundles(chunks, this.format.parser())) {
      do {
        await this.#live?.over
        await this.#pacer.wait(bundle.seconds, signal)
      } while (this.live)
      // By now decoders have the live source's headers.
      if (this.#lives > lives && header && !bundle.header) this.#send({ bytes: header, seconds: 0, header })
      header = bundle.header ?? header
      lives = this.#lives
      this.#send(bundle)
    }
  }

  /** The same with a live source, at once. It is read no faster than it is heard: `curl -T` takes as long as the song. */
  async playLive(chunks, { title, signal }) {
    const { promise, resolve } = promiseToKeep()
    this.#lives++
    this.#live = { title: plainTitle(title), over: promise }
    this.#played = { bytes: 0, seconds: 0 }
    try {
      for await (const bundle of bundles(chunks, this.format.parser())) {
        await this.#pacer.wait(bundle.seconds, signal)
        this.#send(bundle)
      }
      return this.#played.seconds
    } finally {
      this.#live = undefined
      this.#played = { bytes: 0, seconds: 0 }
      resolve()
    }
  }

  /** Begins a stream that does not end. A listener that cannot keep up is reset by its tower. */
  listen(request, response) {
    const id = `listener-${++this.#listeners}`
    if (this.#icy && request.headers['icy-metadata'] === '1') {
      // Chunks would be harmless to an HTTP/1.1 client, but many players of this protocol never heard of them.
      response.setHeader('icy-metaint', METAINT)
      this.#icy.addClient(response, `${id}-icy`, { codec: this.#codec, chunked: false })
      return
    }
    const { header, burst } = this.#preface.forListener()
    if (header) {
      response.writeHead(200, { connection: 'close' })
      response.write(header)
    }
    this.#plain.addClient(response, id, { burst })
  }

  status() {
    const listeners = this.#towers.flatMap(tower => [...tower.clients()]).map(figures)
    const slow = this.#towers.reduce((sum, tower) => sum + (tower.stats().removed.slow ?? 0), 0)
    const { name: station, title, live, kbps, format } = this
    return { station, title, live, contentType: format.contentType, kbps, count: listeners.length, slow, listeners }
  }

  async close() {
    await Promise.all(this.#towers.map(tower => tower.close()))
  }

  #send({ bytes, seconds, header }) {
    this.#preface.sent(bytes.length, header)
    this.#played.bytes += bytes.length
    this.#played.seconds += seconds
    if (this.#played.seconds > 0) this.kbps = Math.round((this.#played.bytes * 8) / this.#played.seconds / 1000)
    this.#pacer.sent(seconds)
    this.#begun.resolve()
    this.#plain.broadcast(bytes)
    if (this.#icy) for (const piece of this.#cutter.push(bytes)) this.#icy.broadcast(piece)
  }
}

/** What anybody may see of a listener: not its address. */
function figures({ id, protocol, connectedMs, queuedBytes, waitedMs, unacknowledged = null }) {
  return { id, protocol, connectedMs, queuedBytes, waitedMs, unacknowledged }
}

function promiseToKeep() {
  let resolve
  const promise = new Promise(done => {
    resolve = done
  })
  return { promise, resolve }
}
