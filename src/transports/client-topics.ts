import type { Subscription } from '../core/contract.ts'
import { type ErrorCode, HubError } from '../core/errors.ts'
import { type ClientId, parseTopicName, type TopicName } from '../core/ids.ts'
import type { ConnectionManager } from '../core/manager.ts'
import type { DeliveryPolicy } from '../core/policy.ts'
import type { Action, Session, SessionManager } from '../core/sessions.ts'
import {
  ERRORS,
  type ErrorName,
  errorReply,
  type ProtocolError,
  push,
  resultReply,
  UNSUBSCRIBES,
} from '../wire/client-protocol.ts'
import { isJson } from '../wire/content-type.ts'
import type { Command } from './client-commands.ts'

type CommandOf<M extends Command['method']> = Extract<Command, { method: M }>

/** What all clients share. */
export interface TopicsContext {
  readonly hub: ConnectionManager
  readonly sessions: SessionManager
  readonly parsePolicy: (input: unknown) => DeliveryPolicy
}

/** Whose subscriptions they are. */
export interface TopicsOwner {
  readonly id: ClientId
  /** The registration under this id is still its own: somebody else may have taken it over while we waited. */
  readonly current: boolean
  reply(text: string): void
}

/** What the hub's errors are in the client protocol. What is not here is 100. */
const ERROR_OF: Readonly<Partial<Record<ErrorCode, ErrorName>>> = {
  TOPIC_INVALID: 'badRequest',
  TOPIC_UNKNOWN: 'unknownChannel',
  PERMISSION_DENIED: 'permissionDenied',
  POLICY_INVALID: 'badRequest',
  POLICY_DENIED: 'permissionDenied',
  LIMIT_EXCEEDED: 'limitExceeded',
  MESSAGE_TOO_LARGE: 'limitExceeded',
  INVALID_MESSAGE: 'badRequest',
  UNSUPPORTED_PAYLOAD: 'notAvailable',
  NOT_SUBSCRIBED: 'badRequest',
  POSITION_INVALID: 'badRequest',
}

/** The error of the table with the hub's sentence in it; undefined for what nobody expected. */
export function protocolError(error: unknown): ProtocolError | undefined {
  const name = error instanceof HubError ? ERROR_OF[error.code] : undefined
  return name && { ...ERRORS[name], message: `${ERRORS[name].message}: ${(error as HubError).message}` }
}

/** One client's subscriptions in the client protocol: what its commands do to them, and what it is told when others change them. */
export class ClientTopics {
  readonly #context: TopicsContext
  readonly #owner: TopicsOwner
  readonly #session: Session
  /** Being changed by a command of the client: the hub's event about it is no news to the client. */
  #own: TopicName | undefined

  constructor(context: TopicsContext, owner: TopicsOwner, session: Session) {
    this.#context = context
    this.#owner = owner
    this.#session = session
  }

  /** Answers with the reply, undefined where nobody waits for it any more. Throws HubErrors. */
  async subscribe({ id, channel, policy }: CommandOf<'subscribe'>): Promise<string | undefined> {
    const { hub, parsePolicy } = this.#context
    const client = this.#owner.id
    const topic = topicOf(channel)
    if (!(await this.#authorized('subscribe', topic))) return undefined
    checkCarried(topic, hub.resolveTopic(topic).contentType ?? hub.getTopic(topic)?.contentType)
    const wish = policy === undefined ? undefined : parsePolicy(policy)
    if (hub.getSubscription(client, topic)) return errorReply(id, ERRORS.alreadySubscribed)
    const { position } = this.#change(topic, (): Subscription => hub.subscribe(client, topic, { policy: wish }))
    // A handler of the hub's events may have ended it at once.
    if (!hub.getSubscription(client, topic)) return errorReply(id, ERRORS.permissionDenied)
    return resultReply(id, 'subscribe', { epoch: position.epoch, offset: position.seq })
  }

  /** Never an error: to the SDKs a failed unsubscribe is a broken connection. */
  unsubscribe({ id, channel }: CommandOf<'unsubscribe'>): string {
    const topic = validTopic(channel)
    if (topic !== undefined) this.#change(topic, () => this.#context.hub.unsubscribe(this.#owner.id, topic))
    return resultReply(id, 'unsubscribe', {})
  }

  /** Replies once the broker has accepted it. */
  async publish({ id, channel, data }: CommandOf<'publish'>): Promise<string | undefined> {
    const { hub } = this.#context
    const topic = topicOf(channel)
    if (!(await this.#authorized('publish', topic))) return undefined
    const { contentType = 'application/json' } = hub.resolveTopic(topic)
    checkCarried(topic, contentType)
    await hub.publish(topic, Buffer.from(data), { contentType })
    return resultReply(id, 'publish', {})
  }

  /** Answers with the reply to an rpc; a `send` has none. Throws TOPIC_INVALID, NOT_SUBSCRIBED, POSITION_INVALID. */
  acknowledge({ id, topic, epoch, offset }: CommandOf<'ack'>): string | undefined {
    const { hub } = this.#context
    // A topic that somebody is subscribed to keeps its epoch.
    const { epoch: current = '' } = hub.getTopic(topic)?.position ?? {}
    const confirmed = hub.acknowledge(this.#owner.id, topic, { epoch: epoch ?? current, seq: offset })
    return id === undefined ? undefined : resultReply(id, 'rpc', { data: { confirmed } })
  }

  /** The hub subscribed the client to it, now or without being asked. */
  subscribed(topic: TopicName): void {
    if (topic !== this.#own) this.#owner.reply(push(topic, 'subscribe', {}))
  }

  unsubscribed(topic: TopicName): void {
    if (topic !== this.#own) this.#owner.reply(push(topic, 'unsubscribe', UNSUBSCRIBES.server))
  }

  /**
   * Messages were lost. Where the topic has come to carry what JSON cannot, so will all that follow: it is over, for good. One bad
   * message of a JSON topic is no such thing: the notice of the gap was all there is to say.
   */
  lost(topic: TopicName): void {
    const { hub } = this.#context
    const contentType = hub.getTopic(topic)?.contentType
    if (contentType === undefined || isJson(contentType)) return
    if (!this.#change(topic, () => hub.unsubscribe(this.#owner.id, topic))) return
    this.#owner.reply(
      push(topic, 'unsubscribe', { ...UNSUBSCRIBES.unsupported, reason: notCarried(topic, contentType) }),
    )
  }

  async #authorized(action: Action, topic: TopicName): Promise<boolean> {
    if ((await this.#context.sessions.authorize(this.#session, action, topic)) !== true) {
      throw new HubError('PERMISSION_DENIED', `this session may not ${action} to ${topic}`)
    }
    return this.#owner.current
  }

  #change<T>(topic: TopicName, change: () => T): T {
    this.#own = topic
    try {
      return change()
    } finally {
      this.#own = undefined
    }
  }
}

/** Pushes name the topic as the hub does; a client that asked for another spelling would not recognise them. */
function topicOf(channel: string): TopicName {
  const topic = parseTopicName(channel)
  if (topic !== channel) throw new HubError('TOPIC_INVALID', `channel: leave the leading / away: the topic is ${topic}`)
  return topic
}

function validTopic(channel: string): TopicName | undefined {
  try {
    return topicOf(channel)
  } catch {
    return undefined
  }
}

function checkCarried(topic: TopicName, contentType: string | undefined): void {
  if (contentType === undefined || isJson(contentType)) return
  throw new HubError('UNSUPPORTED_PAYLOAD', notCarried(topic, contentType))
}

function notCarried(topic: TopicName, contentType: string): string {
  return `topic ${topic} carries ${contentType}; this protocol carries JSON only: read it over GET /topics/${topic}`
}
