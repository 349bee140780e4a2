import type { Events } from '../core/events.ts'
import { MAX_CLIENT_ID_LENGTH } from '../core/ids.ts'

/**
 * Distinct ones that are kept once for all who send them; further ones are not kept at all, so that nobody can fill the
 * memory.
 */
const MAX_DISTINCT = 1000
/** Longer ones are not kept, in characters. */
const MAX_LENGTH = 256
/**
 * Clients that were announced and are not registered yet: sockets that have not said connect. The oldest are forgotten.
 */
const MAX_EXPECTED = 10_000

/**
 * What clients say they are, for whoever asks about a connection. Costs a client one entry of a map: the texts are
 * shared.
 */
export class UserAgents {
  readonly #texts = new Map<string, string>()
  readonly #expected = new Map<string, string>()
  readonly #known = new Map<string, string>()

  constructor(events: Events) {
    events.on('register', ({ id, restore }) => {
      const text = this.#expected.get(id)
      this.#expected.delete(id)
      if (text !== undefined && restore === undefined) this.#known.set(id, text)
    })
    events.on('unregister', ({ id }) => void this.#known.delete(id))
  }

  /** A client is about to be registered under this id, at once or when it says connect. */
  expect(id: string, header: string | undefined): void {
    // Under it nobody will be registered, and it would be kept: a body of a request can be one long id.
    if (id.length > MAX_CLIENT_ID_LENGTH) return
    if (this.#expected.size > 0) this.#expected.delete(id)
    const text = header === undefined || header.length > MAX_LENGTH ? undefined : this.#shared(header)
    if (text === undefined) return
    this.#expected.set(id, text)
    if (this.#expected.size <= MAX_EXPECTED) return
    for (const oldest of this.#expected.keys()) {
      this.#expected.delete(oldest)
      break
    }
  }

  of(id: string): string | undefined {
    return this.#known.get(id)
  }

  #shared(text: string): string | undefined {
    const known = this.#texts.get(text)
    if (known !== undefined || this.#texts.size >= MAX_DISTINCT) return known
    this.#texts.set(text, text)
    return text
  }
}
