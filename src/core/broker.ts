import type { Fault } from './guarded-codec.ts'
import type { Position, TopicName } from './ids.ts'
import type { PublishedBy } from './message.ts'

export interface Publication {
  readonly topic: TopicName
  readonly data: Uint8Array
  readonly contentType: string
  readonly key: string | undefined
  readonly correlationId: string | undefined
  /** As the message has it. A broker between nodes carries it along: it is plain data. */
  readonly publisher?: PublishedBy | undefined
}

/**
 * What routing a message came to. What happens to it at each link is decided in the tick that follows: see the stats.
 */
export interface RouteResult {
  readonly position: Position
  /** Subscribers at this moment. */
  readonly matched: number
  /** Those of them that are behind. */
  readonly behind: number
  /** Those of them whose protocol cannot carry this message: they are told a gap. */
  readonly unsupported: number
}

export type Sink = (publication: Publication) => RouteResult

/**
 * Carries publications between nodes. The publisher's own message comes back through the sink like everyone's: one
 * path, one order. `publish` rejects when the publication was not accepted. Undefined: accepted, but its position is
 * not known here (PublishResult).
 */
export interface Broker {
  readonly name: string
  /** `fault` reports an error that no caller of the broker gets. */
  start(sink: Sink, fault?: Fault): void | Promise<void>
  publish(publication: Publication): RouteResult | undefined | Promise<RouteResult | undefined>
  /** The first local link of the topic came. */
  join(topic: TopicName): void | Promise<void>
  /** The last local link of the topic left. */
  leave(topic: TopicName): void | Promise<void>
  close(): void | Promise<void>
}
