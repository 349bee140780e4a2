// When sound may be sent: as fast as it is heard. And how it is bundled: whole frames or pages, about five broadcasts a second.

import { setTimeout as sleep } from 'node:timers/promises'

/** How much sound may be on its way before its time, in ms: what covers for a timer that is late. */
export const AHEAD_MS = 500
/** Who fell behind by more (a pipe that had nothing, a laptop that slept) begins anew instead of sending it all at once. */
const LATE_MS = 1000
const BUNDLE_SECONDS = 0.2
const BUNDLE_BYTES = 64 * 1024

/** A clock that nobody sets: the wall clock jumps. */
export const systemClock = {
  now: () => performance.now(),
  sleep: (ms, signal) => sleep(ms, undefined, { signal }),
}

/**
 * One for a station, whatever it plays. It adds up what was sent and compares with the clock: a timer that fires late delays one
 * broadcast and none of those behind it, so that the error never grows.
 */
export class Pacer {
  #clock
  /** When all that was sent will have been heard, in ms on the clock. */
  #heard

  constructor(clock = systemClock) {
    this.#clock = clock
    this.#heard = clock.now()
  }

  /** Resolves when so many seconds more may be sent. Rejects when the signal says stop. */
  async wait(seconds, signal) {
    signal?.throwIfAborted()
    const now = this.#clock.now()
    if (this.#heard < now - LATE_MS) this.#heard = now
    const early = this.#heard + seconds * 1000 - AHEAD_MS - now
    if (early > 0) await this.#clock.sleep(early, signal)
  }

  sent(seconds) {
    this.#heard += seconds * 1000
  }
}

/**
 * Bundles what a parser finds: { bytes, seconds, header }. Header pages begin a bundle, and are in `header` as well.
 * Throws what the parser throws, and when the input held nothing at all.
 */
export async function* bundles(chunks, parser) {
  let open = emptyBundle()
  let found = false
  const add = unit => {
    open.parts.push(unit.bytes)
    open.bytes += unit.bytes.length
    open.seconds += unit.seconds
    if (unit.header) open.header = unit.bytes
  }
  const close = () => {
    const { parts, seconds, header } = open
    open = emptyBundle()
    found = true
    return { bytes: Buffer.concat(parts), seconds, header }
  }
  for await (const chunk of chunks) {
    for (const unit of parser.push(chunk)) {
      if (unit.header && open.bytes > 0) yield close()
      add(unit)
      if (open.seconds >= BUNDLE_SECONDS || open.bytes >= BUNDLE_BYTES) yield close()
    }
  }
  for (const unit of parser.end()) add(unit)
  if (open.bytes > 0) yield close()
  if (!found) throw new Error('it ended without one frame of sound that this station can play')
}

function emptyBundle() {
  return { parts: [], bytes: 0, seconds: 0, header: undefined }
}
