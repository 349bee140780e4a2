import { type Fault, GuardedCodec } from './guarded-codec.ts'
import type { Codec, Message } from './message.ts'

/** Codecs of a topic's links that cannot carry every message, and how many links each has. */
export class PickyCodecs {
  readonly #links = new Map<Codec, number>()

  get none(): boolean {
    return this.#links.size === 0
  }

  /** A link comes (1) or goes (-1). */
  count(codec: Codec, change: 1 | -1): void {
    const count = (this.#links.get(codec) ?? 0) + change
    if (count > 0) this.#links.set(codec, count)
    else this.#links.delete(codec)
  }

  /**
   * How many links cannot be sent the message. One question for each codec, not for each link. `fault` hears what a
   * codec throws.
   */
  unsupported(message: Message, fault: Fault): number {
    let count = 0
    for (const [codec, links] of this.#links) if (!new GuardedCodec(codec, fault).carries(message)) count += links
    return count
  }
}
