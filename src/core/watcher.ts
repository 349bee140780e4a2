import type { CloseReason, WriteResult } from './connection.ts'
import type { Seq, TopicName } from './ids.ts'
import type { DropReason, Gap, Message } from './message.ts'

/**
 * One thing that happened to one client that somebody looks at. Bytes are of frames, but for messages, whose payloads
 * they are.
 */
export type Sighting =
  | {
      readonly kind: 'messages'
      readonly topic: TopicName
      readonly first: Seq
      readonly last: Seq
      readonly bytes: number
      readonly messages: readonly Message[]
      readonly result: WriteResult
    }
  /** A frame of the protocol itself, or a message for this client alone. */
  | { readonly kind: 'frame' | 'direct'; readonly bytes: number; readonly result: WriteResult }
  | { readonly kind: 'behind'; readonly topic: TopicName; readonly policy: string }
  | { readonly kind: 'caught up'; readonly topic: TopicName }
  | {
      readonly kind: 'dropped'
      readonly topic: TopicName
      readonly from: Seq
      readonly to: Seq
      readonly count: number
      readonly reason: DropReason
    }
  | { readonly kind: 'gap'; readonly gap: Gap }
  /** Its connection took everything; so long had the oldest of it waited. */
  | { readonly kind: 'drained'; readonly bytes: number; readonly waitedMs: number }
  | { readonly kind: 'closed'; readonly reason: CloseReason }

/**
 * Told of one client, in the middle of the message path: it must not call the hub, and nothing that it throws is heard.
 */
export type ClientWatcher = (sighting: Sighting) => void
