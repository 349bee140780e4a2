import type { Unconfirmed } from './acks.ts'
import type { Batch } from './batch.ts'
import type { ClientId, TopicName } from './ids.ts'
import type { Priority } from './topics.ts'

/**
 * send: into the outbox now. defer: it waits in the backlog. drop: this link never gets it. close: the client is slow.
 */
export type Verdict = 'send' | 'defer' | 'drop' | 'close'

export type Waking = 'wait' | 'pull' | 'redeliver' | 'skip' | 'close'

/**
 * What may wait for a link that is behind.
 * none: nothing; a `drop` is counted as `behind`, a `defer` is a drop as well and counted as `rate`. newest: the newest
 * message of each key, shared by all links of the topic. log: up to `messages` and `bytes` (payload), read from the
 * topic's log, which all links share; `drop-newest` keeps a list of its own, because what it keeps is not the end of
 * the log.
 */
export type Backlog =
  | { readonly kind: 'none' }
  | { readonly kind: 'newest' }
  | {
      readonly kind: 'log'
      readonly messages: number
      readonly bytes: number
      readonly overflow: 'drop-oldest' | 'drop-newest' | 'close'
    }

/** One client on one topic, as a policy may see it. */
export interface PolicyLink<S = unknown> {
  readonly clientId: ClientId
  readonly topicName: TopicName
  /** Has the connection taken everything so far? */
  readonly writable: boolean
  /**
   * How long, in ms, the oldest message of this client that is not wholly handed over has waited; 0 when nothing waits.
   */
  waited(now: number): number
  /**
   * The same, less what it may take: its size and what was ahead of it at `rate` bytes a second (Infinity: nothing),
   * and the time in which our own event loop was blocked. Where the policy's `measure` is wire, the oldest unconfirmed
   * byte counts as well.
   */
  overdue(now: number, rate: number): number
  /** Messages that were sent, or will be in this tick, and are not confirmed; and their payload bytes. */
  readonly inFlight: number
  readonly inFlightBytes: number
  /** Of the topic. */
  readonly priority: Priority
  /**
   * Bytes of this client that were handed over, or will be in this tick, and that its host has not confirmed; where
   * nobody can tell, that wait in this process. A system call.
   */
  readonly underwayBytes: number
  /** What was sent and is not confirmed; undefined where neither the policy nor the connection waits for it. */
  readonly unconfirmed: Unconfirmed | undefined
  /** The policy's own slot, made by `open`. */
  state: S
  /** Not before this time, on the scheduler's clock, should the sweep call `wake`; 0: at every sweep. */
  wakeAt: number
}

/**
 * Decides, per link, what happens to what a client cannot take yet. A frozen value shared by all links: what it must
 * remember of one link is in `link.state`. All of it is synchronous and must not call the hub.
 */
export interface DeliveryPolicy<S = unknown> {
  readonly name: string
  readonly backlog: Backlog
  /**
   * wire: what the peer's host has not confirmed is looked at too, where the connection can tell; such a client is
   * swept while anything is in flight. Default queue: only what waits in this process.
   */
  readonly measure?: 'queue' | 'wire'
  /**
   * true: a message is delivered when its receiver confirms it, and until then it is kept, and can be sent again. Its
   * backlog must be a log that closes on overflow. Default: a message is delivered when the connection has taken it.
   */
  readonly confirm?: boolean
  /**
   * true: late messages are worth little, and what the connection's buffers have taken is out of the policy's hands.
   * Where all links of a client are fresh, its connection holds little (see Connection.holdLittle). Default false:
   * buffers are a welcome cushion.
   */
  readonly fresh?: boolean
  /** true: a link that is behind is offered one message at a time, so that `admit` can stop between any two. */
  readonly stepwise?: boolean
  open(link: PolicyLink): S
  /**
   * Hot: once per link and batch. No allocation, no I/O. `defer` and `drop` must leave the state as if nothing was
   * offered.
   */
  admit(link: PolicyLink<S>, batch: Batch, now: number): Verdict
  /**
   * Called by the sweep while the client waits for something. wait: go on. pull: read on. redeliver: what is not
   * confirmed is sent again, in its order. skip: the oldest that is not confirmed is given up, and the rest sent again.
   * close: the client is slow.
   */
  wake?(link: PolicyLink<S>, now: number): Waking
  /** The form in which the API shows it and takes it. */
  describe(): PolicyDescription
}

export type PolicyDescription = { readonly name: string } & Readonly<Record<string, unknown>>
