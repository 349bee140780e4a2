// Somebody goes live: who may, one at a time, and what is wrong with what they send.

import { createHash, timingSafeEqual } from 'node:crypto'
import { fits } from './formats.mjs'

/** A source that is silent for so long is gone, or as good as: the programme goes on. */
const SILENCE_MS = 10_000

/** A refusal with its HTTP status: every answer of the radio is a sentence. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

export class Source {
  #station
  #secret
  #signal
  #log
  #silenceMs

  constructor({ station, password, signal, log = console.log, silenceMs = SILENCE_MS }) {
    this.#station = station
    this.#secret = digest(`source:${password}`)
    this.#signal = signal
    this.#log = log
    this.#silenceMs = silenceMs
  }

  /** Throws 401. Digests have one length, and comparing them takes one time: no hint of how much of a guess was right. */
  authorize({ authorization = '' }) {
    const [, credentials = ''] = /^basic +([\w+/=]+)$/i.exec(authorization) ?? []
    if (timingSafeEqual(digest(Buffer.from(credentials, 'base64')), this.#secret)) return
    throw new Refusal(401, 'The user is "source", and the password is the one that the radio was started with.')
  }

  /** Throws what is wrong with a source before it has sent a byte: 401, 415, 409. */
  check(headers) {
    this.authorize(headers)
    const { format, live } = this.#station
    if (!fits(format, headers['content-type'])) {
      throw new Refusal(415, `This station sends ${format.contentType}, and you have ${headers['content-type']}.`)
    }
    if (live) throw new Refusal(409, 'Somebody else is live. Try again when they have finished.')
  }

  /** Plays the body until it ends. Returns a sentence; throws 408 for silence, 415 for what is no sound, 409. */
  async play(headers, body) {
    this.check(headers)
    // Node reads headers as Latin-1; sources send UTF-8.
    const title = Buffer.from(headers['ice-name'] ?? headers['icy-name'] ?? 'Live', 'latin1').toString()
    this.#log(`live: ${JSON.stringify(title)} begins`)
    try {
      const chunks = unlessSilent(body, this.#silenceMs, this.#signal)
      const seconds = await this.#station.playLive(chunks, { title, signal: this.#signal })
      return this.#done(`Thank you. ${seconds.toFixed(1)} seconds were heard.`)
    } catch (error) {
      this.#done(error.message)
      if (error instanceof Refusal || error.name === 'AbortError' || error.code) throw error
      // What a parser says.
      throw new Refusal(415, `This station sends ${this.#station.format.contentType}: ${error.message}.`)
    }
  }

  #done(sentence) {
    this.#log(`live: over. ${sentence}`)
    return sentence
  }
}

/**
 * Counts only while something is awaited: a source that is held back because it is ahead of time is not silent.
 * The end of the loop leaves the socket alone: it would take the answer along.
 */
async function* unlessSilent(body, silenceMs, signal) {
  const iterator = body.iterator({ destroyOnReturn: false })
  for (;;) {
    const next = iterator.next()
    // When something else comes first, nobody looks at how this one ends.
    next.catch(() => {})
    const limit = limited(silenceMs, signal)
    const { value, done } = await Promise.race([next, limit.over]).finally(limit.cancel)
    if (done) return
    yield value
  }
}

/** `over` rejects after that time, or when the signal says stop. */
function limited(silenceMs, signal) {
  let cancel
  const over = new Promise((_, reject) => {
    const stop = () => reject(signal.reason)
    const timer = setTimeout(() => reject(new Refusal(408, `Nothing came for ${silenceMs / 1000} s.`)), silenceMs)
    signal?.addEventListener('abort', stop)
    cancel = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', stop)
    }
  })
  return { over, cancel }
}

function digest(text) {
  return createHash('sha256').update(text).digest()
}
