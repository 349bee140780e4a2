import type { Publisher } from './contract.ts'
import { type ByteCount, HeldPublisher } from './ledger.ts'
import type { PublishedBy } from './message.ts'
import { checkValue, json } from './options.ts'

/** Who publishes, as subscribers are told. Messages of one session, or of sessions with one info, share the object. */
export class Publishers {
  readonly #budget: ByteCount
  readonly #known = new WeakMap<object, HeldPublisher>()

  constructor(budget: ByteCount) {
    this.#budget = budget
  }

  /** Undefined: nothing is known of the publisher. Throws REQUEST_INVALID. */
  of({ client, session }: Publisher = {}): PublishedBy | undefined {
    const { user, info } = session ?? {}
    if (client === undefined && user === undefined && info === undefined) return undefined
    const source = typeof info === 'object' && info !== null ? info : session
    const known = source && this.#known.get(source)
    const isSame = known?.client === client && known?.user === user && known?.info === info
    if (known !== undefined && isSame) return known
    if (info !== undefined) checkValue(info, json, 'publisher.session.info')
    const made = new HeldPublisher({ client, user, info }, this.#budget)
    if (source !== undefined) this.#known.set(source, made)
    return made
  }

  /** As a message keeps it. A broker may have made another object of it. */
  held(publisher: PublishedBy): HeldPublisher {
    return publisher instanceof HeldPublisher ? publisher : new HeldPublisher(publisher, this.#budget)
  }
}
