import type { IncomingMessage } from 'node:http'
import type { Position } from '../core/ids.ts'
import type { Hub } from '../hub.ts'
import { positionHeaders } from '../transports/http-stream.ts'
import type { SubscriberRequest } from './subscriber.ts'

/** What the answers to upgrades that are under way say beside 101. */
const headersOf = new WeakMap<IncomingMessage, Record<string, string>>()

/**
 * Decides where a WebSocket that wants to begin somewhere does: its answer goes out before it is subscribed, so that what is published
 * meanwhile must be replayed. Its frames have no room for a notice; so the answer tells what is missing. Throws TOPIC_UNKNOWN.
 */
export function socketStart(hub: Hub, request: IncomingMessage, subscriber: SubscriberRequest): SubscriberRequest {
  const topic = subscriber.topics[0]!
  const since = subscriber.since.get(topic)
  const after = since === 'oldest' ? undefined : since
  const { position, messages, recovered } = hub.history(topic, { after })
  // Nobody has used the topic yet: it begins with its first message, and has no epoch that could be told.
  if (position.epoch === '') {
    headersOf.set(request, { 'hubline-recovered': `${since === 'oldest'}` })
    return subscriber
  }
  const oldest = { epoch: position.epoch, seq: (messages[0]?.seq ?? position.seq + 1) - 1 }
  const known = after?.epoch === position.epoch && after.seq <= position.seq
  const start: Position = since === 'oldest' ? oldest : known ? after : position
  headersOf.set(request, positionHeaders({ topic, position: start, recovered: recovered || since === 'oldest' }, true))
  return { ...subscriber, since: new Map([[topic, start]]), lastEvent: undefined }
}

/** For ws, as it answers. */
export function addStart(lines: string[], request: IncomingMessage): void {
  const headers = headersOf.get(request)
  if (headers === undefined) return
  for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`)
}
