import { HubError } from '../core/errors.ts'
import type { Position, TopicName } from '../core/ids.ts'
import type { Message } from '../core/message.ts'
import { ERRORS, errorReply, publicationsReply, publicationText, resultReply } from '../wire/client-protocol.ts'
import { isJson } from '../wire/content-type.ts'
import { clientInfo } from './client-codec.ts'
import type { Command } from './client-commands.ts'
import { permitted, type TopicsContext, type TopicsOwner, topicOf } from './client-gate.ts'

type CommandOf<M extends Command['method']> = Extract<Command, { method: M }>
/** Undefined where nobody waits for it any more. */
type Reply = Promise<string | undefined>

const MAX_HISTORY = 1000
/**
 * Characters of publications in one reply, but for one that is longer alone: a client may have no more than 64 KiB of
 * replies waiting.
 */
const MAX_REPLY_LENGTH = 32 * 1024
const MAX_PRESENCE = 1000

/** Throws HubErrors. */
export function read(
  context: TopicsContext,
  owner: TopicsOwner,
  command: CommandOf<'history' | 'presence' | 'presence_stats'>,
): Reply {
  if (command.method === 'history') return history(context, owner, command)
  return command.method === 'presence' ? presence(context, owner, command) : presenceStats(context, owner, command)
}

/**
 * What a topic keeps, a page at a time: as many as asked for, at most 1000 and 32 KiB. More is there while the last
 * one's offset is not the reply's. What is not JSON is left out.
 */
async function history(context: TopicsContext, owner: TopicsOwner, command: CommandOf<'history'>): Reply {
  const { id, channel, since, reverse } = command
  const topic = topicOf(channel)
  if (!(await permitted(context, owner, 'history', topic))) return undefined
  const limit = command.limit < 0 ? MAX_HISTORY : Math.min(command.limit, MAX_HISTORY)
  const found = reverse ? backwards(context, topic, since, limit) : context.hub.kept(topic, { after: since, limit })
  if (since !== undefined && !found.recovered) return errorReply(id, ERRORS.unrecoverablePosition)
  const { epoch, seq } = found.position
  return publicationsReply(id, 'history', { epoch, offset: seq }, publicationsOf(found.messages))
}

/** Newest first, and what was before `since`. */
function backwards({ hub }: TopicsContext, topic: TopicName, since: Position | undefined, limit: number) {
  const { position, messages } = hub.kept(topic, { reverse: true })
  const before = since?.seq ?? Number.POSITIVE_INFINITY
  const recovered = since === undefined || since.epoch === position.epoch
  return { position, recovered, messages: messages.filter(({ seq }) => seq < before).slice(0, limit) }
}

/** As the protocol has them, within a reply's length. */
function publicationsOf(messages: readonly Message[]): string[] {
  const publications: string[] = []
  let length = 0
  for (const { seq, payload, contentType, publisher } of messages) {
    if (length > 0 && length + payload.byteLength > MAX_REPLY_LENGTH) break
    const text = isJson(contentType) ? publicationText(seq, payload, publisher && clientInfo(publisher)) : null
    if (text === null) continue
    publications.push(text)
    length += payload.byteLength
  }
  return publications
}

async function presence(context: TopicsContext, owner: TopicsOwner, command: CommandOf<'presence'>): Reply {
  const topic = topicOf(command.channel)
  if (!(await permitted(context, owner, 'presence', topic))) return undefined
  const present = context.hub.presence(topic)
  if (present.length > MAX_PRESENCE) {
    throw new HubError('LIMIT_EXCEEDED', `presence: ${topic} has ${present.length} clients; ask for presence_stats`)
  }
  const entries = present.map(({ client, user, info }) => [client, clientInfo({ client, user, info })])
  return resultReply(command.id, 'presence', { presence: Object.fromEntries(entries) })
}

async function presenceStats(
  context: TopicsContext,
  owner: TopicsOwner,
  { id, channel }: CommandOf<'presence_stats'>,
): Reply {
  const topic = topicOf(channel)
  if (!(await permitted(context, owner, 'presence', topic))) return undefined
  const present = context.hub.presence(topic)
  // In this protocol all clients without a user are one user, whose id is empty.
  const users = new Set(present.map(({ user = '' }) => user))
  return resultReply(id, 'presence_stats', { num_clients: present.length, num_users: users.size })
}
