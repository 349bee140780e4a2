import type { ClientId, Seq } from './ids.ts'
import type { Codec, Gap } from './message.ts'
import type { Parcel } from './parcel.ts'

/**
 * ok: everything so far is out of this process. full: taken, but it waits here; say `drained` when it is gone.
 * gone: the peer is not there. Any other value, or a throw, counts as gone [H11].
 */
export type WriteResult = 'ok' | 'full' | 'gone'

/**
 * ended: a backend or whoever runs the hub ended it, without blame. denied: it may not. expired, revoked: its session
 * is over, in time or before. flooding: it sends more than it may. The others are what happened.
 */
export type CloseReason = (typeof CLOSE_REASONS)[number]

export const CLOSE_REASONS = [
  'peer',
  'slow',
  'lost',
  'idle',
  'replaced',
  'ended',
  'denied',
  'expired',
  'revoked',
  'flooding',
  'protocol',
  'overloaded',
  'shutdown',
] as const

/** closed: everything goes through. open: nothing does, for it has failed too often. half-open: one goes, to see. */
export type Circuit = 'closed' | 'open' | 'half-open'

/**
 * The whole seam between the core and a transport: one open channel to a peer. It knows bytes and nothing of topics.
 */
export interface Connection {
  readonly protocol: string
  readonly codec: Codec
  /** The peer's address, for people to read: asked when somebody looks, where the registration said none. */
  readonly address?: string | undefined
  /**
   * Only the outbox's flush calls this (I3). The frame is shared with other connections: it must not be changed.
   * `more`: another frame of the same tick follows, stay corked.
   */
  write(frame: Uint8Array, more: boolean): WriteResult
  /**
   * Idempotent, never throws, may be called from inside `write`. `reconnectMs`: when the peer had better come back, as
   * a hint.
   */
  close(reason: CloseReason, reconnectMs?: number): void
  /**
   * true: taking a message is not yet its delivery; the connection says `confirmed` or `failed` of each message it
   * took.
   */
  readonly confirms?: boolean
  /** Of a connection whose messages are requests. Undefined: it has no breaker. */
  readonly circuit?: Circuit | undefined
  /** Takes a direct message in place of `write`, in order with it, and settles it. Absent: its frame is written. */
  send?(parcel: Parcel): WriteResult
  /** Asks the peer whether it is there, and says once what came of it. Absent: this protocol cannot ask. */
  readonly ping?: ((answer: (active: boolean) => void) => void) | undefined
  /**
   * Bytes written that the peer's host has not confirmed, those that wait in this process included. Undefined: nobody
   * can tell.
   */
  unacknowledged?(): number | undefined
  /**
   * The shortest time that a byte and its confirmation took so far, in ms: so late is any peer. Asked only about one
   * that seems slow.
   */
  roundTrip?(): number | undefined
  /**
   * true: all policies of this client prefer a fresh message to a complete stream, so buffers below this process should
   * take little that is not sent yet. false: they may take what they like, as before the first call. Called when the
   * subscriptions or their policies change.
   */
  holdLittle?(little: boolean): void
}

/** What a transport holds of a registered client; its only way to speak to the core (the back edge). */
export interface Client extends Disposable {
  readonly id: ClientId
  /** The registration has ended, or is about to. */
  readonly closed: boolean
  /** Everything that `write` answered `full` for is out: the outbox may go on. */
  drained(): void
  /**
   * Queues a frame of the protocol itself (a reply, a ping) in order with the messages. False: the client has gone, or
   * more than the limit of such frames waits for it, in which case it is closed as slow.
   */
  send(frame: Uint8Array): boolean
  /** The receiver has everything of the topic that it was sent up to `seq`. Answers how many messages that settles. */
  confirmed(topic: string, seq: Seq): number
  /**
   * The receiver did not get this message, and the connection will not try again. true: the hub will send it again, and
   * what of the same topic was taken after it as well, so the connection must forget those. false: it is lost, and
   * counted; go on. Never from inside `write`.
   */
  failed(topic: string, seq: Seq): boolean
  /**
   * The receiver did not take this notice of a loss. It is told again, together with what is lost meanwhile: before the
   * next message of the topic, or 30 s later. Never from inside `write`.
   */
  untold(gap: Gap): void
  /** The peer has gone, or must go: ends this registration, not one that took over the same id since. */
  close(reason: CloseReason): void
}
