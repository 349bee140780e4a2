import type { Seq, TopicName } from './ids.ts'
import type { DirectMessage } from './parcel.ts'

/** One publication. Made once, shared by every receiver; its bytes never change again (I5). */
export interface Message {
  readonly topic: TopicName
  readonly epoch: string
  readonly seq: Seq
  readonly payload: Uint8Array
  /**
   * Payload bytes when it was routed. Accounts use this number, because a payload has 0 after its buffer was
   * transferred.
   */
  readonly bytes: number
  readonly contentType: string
  /** What this message is the newest value of: the `latest` policy keeps one message per key. */
  readonly key: string | undefined
  /**
   * What the publisher calls the work that it belongs to. Not sent to sockets; requests and log lines about it carry
   * it.
   */
  readonly correlationId: string | undefined
  /** Who published it; only on topics whose rule says `publisher: true`. */
  readonly publisher?: PublishedBy | undefined
  /** When it was routed, in ms on the scheduler's clock. */
  readonly at: number
  /** The memory that it takes without its places in lists, in bytes (heldBytes). */
  readonly held: number
  /** For the hub's accounts: how many of its lists hold the message, which counts once (Ledger). */
  keepers?: number
}

/** What subscribers are told of a publisher. Unknown fields are undefined; there is at least one. */
export interface PublishedBy {
  /** The id of the client that published; absent for a request without a connection. */
  readonly client?: string | undefined
  readonly user?: string | undefined
  /** The public info of its session, as presence shows it. */
  readonly info?: unknown
}

/** Messages that one link will never get, coalesced (I6). `count` is null where it cannot be known (epoch changed). */
export interface Gap {
  readonly topic: TopicName
  readonly from: Seq
  readonly to: Seq
  readonly count: number | null
  readonly reason: GapReason
}

/**
 * behind: it could not take the message when it came (best-effort). conflated: a newer value of the same key replaced
 * it. overflow: the link's backlog was full. rate: over its rate limit. trimmed: asked for, but no longer kept.
 * unsupported: its protocol cannot carry the payload. failed: its receiver refused it, or every attempt failed.
 * unconfirmed: sent as often as the policy tries, and never confirmed. closed: the link ended first.
 */
export type DropReason =
  | 'behind'
  | 'conflated'
  | 'overflow'
  | 'rate'
  | 'trimmed'
  | 'unsupported'
  | 'failed'
  | 'unconfirmed'
  | 'closed'

/** epoch: the reader's position belongs to an older life of the topic, so what it missed is unknown. */
export type GapReason = DropReason | 'epoch'

/**
 * Turns a message into the bytes of one protocol. The object's identity is the cache key: all connections of a protocol
 * must share one codec, so that a batch is encoded once for all of them. Frames carry nothing that belongs to one
 * client.
 */
export interface Codec {
  readonly name: string
  /** null: this protocol cannot carry this message; it is then counted as dropped, reason `unsupported`. */
  encode(message: Message): Uint8Array | null
  /**
   * Of a codec that cannot carry every message: does `encode` answer bytes for this one? Asked once per publication
   * where a subscriber has the codec, so that the publisher learns how many cannot receive it. Absent: the codec
   * carries every message.
   */
  carries?(message: Message): boolean
  /** What is for one client alone, in the same stream; absent or null: this protocol cannot carry it. */
  direct?(message: DirectMessage): Uint8Array | null
  /** The in-band notice of a loss; absent where the protocol has no room for one. */
  gap?(gap: Gap): Uint8Array
  /**
   * For a codec whose frames hold the messages themselves: the memory of its objects for each message, in bytes.
   * Absent: a frame takes its length.
   */
  readonly objectBytes?: number
  /** Joins small frames into one buffer of the runtime's own kind. */
  concat(frames: readonly Uint8Array[], bytes: number): Uint8Array
}
