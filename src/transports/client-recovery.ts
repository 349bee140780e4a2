import type { Subscription } from '../core/contract.ts'
import type { ClientId, Position, Seq, TopicName } from '../core/ids.ts'
import type { ConnectionManager } from '../core/manager.ts'
import type { Message } from '../core/message.ts'
import { publicationText, push } from '../wire/client-protocol.ts'
import { isJson } from '../wire/content-type.ts'
import { clientInfo } from './client-codec.ts'

/** Characters of what is recovered within the reply to one connect. */
const MAX_RECOVERED_LENGTH = 32 * 1024

interface Context {
  readonly hub: ConnectionManager
}

/**
 * What the protocol says of a subscription. The offset is where it begins: what it missed comes behind the reply as
 * publications like any other, so that each moves the SDK's position by itself. `recovered` only if that will be
 * everything.
 */
export function subscriptionResult(
  { hub }: Context,
  { topic, position, recovered }: Subscription,
  recovering: boolean,
): object {
  return {
    ...(isKept(hub, topic) && { recoverable: true, positioned: true }),
    epoch: position.epoch,
    offset: position.seq,
    ...(recovering && { was_recovering: true, recovered }),
  }
}

/** Does the topic keep what a client that was away has missed? */
function isKept(hub: ConnectionManager, topic: TopicName): boolean {
  const { messages, bytes, ageMs } = hub.resolveTopic(topic).history
  return messages > 0 && bytes > 0 && ageMs > 0
}

/**
 * What a client is told of a subscription that it did not ask for. One by a pattern has no past: the pattern is what it
 * will ask for again.
 */
export function serverSubscription({ hub }: Context, client: ClientId, topic: TopicName): object {
  const position = beginning(hub, client, topic)
  if (position === undefined) return {}
  return subscriptionResult({ hub }, { topic, position, recovered: false }, false)
}

/** Everything after it is the subscription's. Undefined: there is none, or only by a pattern. */
function beginning(hub: ConnectionManager, client: ClientId, topic: TopicName): Position | undefined {
  const subscription = hub.getSubscription(client, topic)
  const position = hub.getTopic(topic)?.position
  if (subscription === undefined || subscription.pattern !== undefined || position === undefined) return undefined
  return { epoch: position.epoch, seq: position.seq - subscription.published }
}

/**
 * The subscriptions that the server made of a client which connects, with what it missed in those that it had before.
 */
export class ServerSubscriptions {
  readonly #hub: ConnectionManager
  readonly #client: ClientId
  readonly #asked: ReadonlyMap<string, Position>
  #left = MAX_RECOVERED_LENGTH
  /** What it missed and JSON cannot carry: pushes that come behind the reply. */
  readonly gaps: string[] = []

  constructor(hub: ConnectionManager, client: ClientId, asked: ReadonlyMap<string, Position>) {
    this.#hub = hub
    this.#client = client
    this.#asked = asked
  }

  /** By topic, as JSON text; undefined where there are none. */
  text(): string | undefined {
    const { subscriptions } = this.#hub.getClient(this.#client)
    if (subscriptions.length === 0) return undefined
    const members = subscriptions.map(({ topic }) => `${JSON.stringify(topic)}:${this.#result(topic)}`)
    return `{${members.join(',')}}`
  }

  #result(topic: TopicName): string {
    const asked = this.#asked.get(topic)
    const position = beginning(this.#hub, this.#client, topic)
    if (position === undefined) return '{}'
    const missed = asked && this.#missed(topic, asked, position)
    const result = subscriptionResult(
      { hub: this.#hub },
      { topic, position: missed ? asked : position, recovered: missed !== undefined },
      asked !== undefined,
    )
    const text = JSON.stringify(result)
    return missed === undefined ? text : `${text.slice(0, -1)},"publications":[${missed.join(',')}]}`
  }

  /** All between two positions, but for what is a gap; undefined where it is not all there, or does not fit. */
  #missed(topic: TopicName, after: Position, upTo: Position): string[] | undefined {
    const { messages, recovered } = this.#hub.kept(topic, { after })
    if (!recovered) return undefined
    const missed = messages.filter(({ seq }) => seq <= upTo.seq)
    const json = missed.filter(({ contentType }) => isJson(contentType))
    const length = json.reduce((sum, { payload }) => sum + payload.byteLength, 0)
    if (length > this.#left) return undefined
    this.#left -= length
    const texts = new Map<Seq, string>()
    for (const { seq, payload, publisher } of json) {
      const text = publicationText(seq, payload, publisher && clientInfo(publisher))
      if (text !== null) texts.set(seq, text)
    }
    this.#noteGap(
      topic,
      missed.filter(({ seq }) => !texts.has(seq)),
    )
    return [...texts.values()]
  }

  #noteGap(topic: TopicName, lost: readonly Message[]): void {
    const [first] = lost
    if (first === undefined) return
    const gap = { from: first.seq, to: lost.at(-1)!.seq, count: lost.length, reason: 'unsupported' }
    this.gaps.push(push(topic, 'gap', gap))
  }
}
