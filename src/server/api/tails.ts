import type { ServerResponse } from 'node:http'
import { HubError } from '../../core/errors.ts'
import type { Message } from '../../core/message.ts'
import type { Sighting } from '../../core/watcher.ts'
import type { Hub } from '../../hub.ts'
import type { Heartbeat } from '../../transports/heartbeat.ts'
import { stringifyRaw } from '../../wire/raw-json.ts'
import { keepAlive } from './event-stream.ts'
import { payloadOf } from './payload.ts'

/** Viewers of all clients together: each costs its client's path a little. */
const MAX_VIEWERS = 100
/**
 * Sightings that one turn of the event loop hands to a viewer, and bytes that may wait in its response: more are
 * skipped, and counted.
 */
const MAX_SIGHTINGS = 1000
const MAX_WAITING_BYTES = 256 * 1024
/** Of a payload that is shown, in bytes. */
const MAX_SHOWN_BYTES = 1024
const MAX_SHOWN_MESSAGES = 20

interface Watched {
  readonly watch: Disposable
  readonly viewers: Set<Viewer>
}

/**
 * Who looks at which client. Owns one watch for each client that somebody looks at; a viewer that reads slowly misses
 * some, and nothing waits.
 */
export class Tails {
  readonly #hub: Hub
  readonly #heartbeat: Pick<Heartbeat, 'add'>
  readonly #watched = new Map<string, Watched>()
  #count = 0

  constructor(hub: Hub, heartbeat: Pick<Heartbeat, 'add'>) {
    this.#hub = hub
    this.#heartbeat = heartbeat
  }

  /**
   * Writes events until the client or the viewer goes. Throws CONNECTION_NOT_FOUND, LIMIT_EXCEEDED: then nothing was
   * written.
   */
  open(
    id: string,
    response: ServerResponse,
    options: { readonly payload: boolean; readonly state: () => object },
  ): void {
    if (this.#count >= MAX_VIEWERS) {
      throw new HubError('LIMIT_EXCEEDED', `limit: there may be at most ${MAX_VIEWERS} tails at a time`)
    }
    const watched = this.#watched.get(id) ?? this.#watch(id)
    const viewer = new Viewer(response, this.#hub.scheduler, options.payload)
    const state = options.state()
    watched.viewers.add(viewer)
    this.#count++
    response.on('close', () => {
      this.#count--
      viewer[Symbol.dispose]()
      watched.viewers.delete(viewer)
      if (watched.viewers.size === 0) this.#forget(id, watched)
    })
    keepAlive(response, this.#heartbeat)
    viewer.write('state', state)
  }

  get viewers(): number {
    return this.#count
  }

  #watch(id: string): Watched {
    const viewers = new Set<Viewer>()
    // In the middle of the message path: what is told is put down, and written later.
    const watch = this.#hub.watch(id, sighting => {
      for (const viewer of viewers) viewer.see(sighting)
      // Whoever has the id next is another client.
      if (sighting.kind === 'closed') this.#watched.delete(id)
    })
    const watched = { watch, viewers }
    this.#watched.set(id, watched)
    return watched
  }

  #forget(id: string, watched: Watched): void {
    if (this.#watched.get(id) !== watched) return
    this.#watched.delete(id)
    watched.watch[Symbol.dispose]()
  }
}

/** One reader of events. */
class Viewer implements Disposable {
  readonly #response: ServerResponse
  readonly #scheduler: Hub['scheduler']
  readonly #payload: boolean
  readonly #startedAt: number
  #seen: { readonly at: number; readonly sighting: Sighting }[] = []
  #skipped = 0
  #armed = false

  constructor(response: ServerResponse, scheduler: Hub['scheduler'], payload: boolean) {
    this.#response = response
    this.#scheduler = scheduler
    this.#payload = payload
    this.#startedAt = scheduler.now()
  }

  see(sighting: Sighting): void {
    // Its end is always told.
    if (this.#seen.length >= MAX_SIGHTINGS && sighting.kind !== 'closed') this.#skipped++
    else this.#seen.push({ at: this.#scheduler.now() - this.#startedAt, sighting })
    if (this.#armed) return
    this.#armed = true
    this.#scheduler.defer(() => this.#flush())
  }

  write(event: string, data: object): void {
    this.#response.write(`event: ${event}\ndata: ${stringifyRaw(data)}\n\n`)
  }

  #flush(): void {
    this.#armed = false
    const seen = this.#seen
    this.#seen = []
    for (const { at, sighting } of seen) {
      if (sighting.kind === 'closed') {
        this.write('end', { at, reason: sighting.reason })
        this.#response.end()
      } else if (this.#response.writableLength > MAX_WAITING_BYTES) {
        this.#skipped++
      } else {
        this.#tellSkipped()
        this.write('seen', { at, ...shown(sighting, this.#payload) })
      }
    }
    if (this.#response.writableLength <= MAX_WAITING_BYTES) this.#tellSkipped()
  }

  #tellSkipped(): void {
    if (this.#skipped === 0) return
    this.write('skipped', { count: this.#skipped })
    this.#skipped = 0
  }

  [Symbol.dispose](): void {
    this.#seen = []
  }
}

/** Payloads only where they were asked for, and not all of them. */
function shown(sighting: Sighting, payload: boolean): object {
  if (sighting.kind !== 'messages') return sighting
  const { messages, ...rest } = sighting
  return payload ? { ...rest, messages: messages.slice(0, MAX_SHOWN_MESSAGES).map(message) } : rest
}

function message({ seq, contentType, key, publisher, payload }: Message): object {
  const cut = payload.byteLength > MAX_SHOWN_BYTES
  return {
    ...{ seq, contentType, key, publisher, bytes: payload.byteLength },
    ...(cut
      ? { cut, base64: Buffer.from(payload.subarray(0, MAX_SHOWN_BYTES)).toString('base64') }
      : payloadOf(contentType, payload)),
  }
}
