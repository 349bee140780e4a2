import type { Batch } from './batch.ts'
import type { CloseReason, WriteResult } from './connection.ts'
import { HubError } from './errors.ts'
import type { Fault } from './guarded-codec.ts'
import type { TopicName } from './ids.ts'
import type { Link } from './link.ts'
import type { Codec } from './message.ts'
import { Parcel } from './parcel.ts'
import type { Sighting } from './watcher.ts'

/** Messages of a topic, a frame of the protocol itself, or something for this client alone. */
export type Item = Batch | Uint8Array | Parcel

/**
 * How far into `rest` (0: not at all, the first item) the last item with a frame is: after it the connection may
 * uncork.
 */
export function lastWritten(rest: readonly (Item | Link | undefined)[], codec: Codec, fault: Fault): number {
  for (let i = rest.length - 2; i >= 0; i -= 2) {
    const item = rest[i] as Item
    if (isWritten(item, codec, fault)) return i + 2
  }
  return 0
}

function isWritten(item: Item, codec: Codec, fault: Fault): boolean {
  if (item instanceof Uint8Array) return true
  return item instanceof Parcel ? item.frame !== undefined : item.encoded(codec, fault).frames.length > 0
}

/** Why a direct message did not reach a client that has gone. */
export function departed(id: string, reason: CloseReason): HubError {
  if (reason === 'shutdown')
    return new HubError('SHUTTING_DOWN', 'the hub shut down before the client took the message')
  return new HubError('CONNECTION_STALE', `client: ${id} has gone (${reason}) before it took the message`)
}

/** While a topic lets its messages linger it is not the client that keeps them waiting. */
export function waitsSince(item: Item, link: Link | undefined, controlAt: number): number {
  return link === undefined ? controlAt : (item as Batch).messages[0]!.at + link.topic.lingerMs
}

export function oldest(rest: readonly (Item | Link | undefined)[] = [], controlAt: number, first: number): number {
  let since = first
  for (let i = 0; i < rest.length; i += 2) {
    since = Math.min(since, waitsSince(rest[i] as Item, rest[i + 1] as Link | undefined, controlAt))
  }
  return since
}

export function messagesSeen(topic: TopicName, { first, last, bytes, messages }: Batch, result: WriteResult): Sighting {
  return { kind: 'messages', topic, first, last, bytes, messages, result }
}

export function settle(link: Link, batch: Batch, sent: number, result: WriteResult): void {
  link.queued -= batch.count
  link.queuedBytes -= batch.bytes
  link.delivered += sent
  link.topic.counters.deliver(sent)
  const lost = batch.count - sent
  if (lost > 0) link.drop(batch.first, batch.last, lost, result === 'gone' ? 'closed' : 'unsupported')
}
