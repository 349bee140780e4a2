import type { Subscription } from '../core/contract.ts'
import { HubError } from '../core/errors.ts'
import type { TopicName } from '../core/ids.ts'
import { isPattern, parsePattern, type TopicPattern } from '../core/patterns.ts'
import type { Session } from '../core/sessions.ts'
import { isOpenTo } from '../core/topics.ts'
import { ERRORS, errorReply, push, resultReply, UNSUBSCRIBES } from '../wire/client-protocol.ts'
import { isJson } from '../wire/content-type.ts'
import type { Command } from './client-commands.ts'
import { denied, expiry, permitted, sessionOf, type TopicsContext, type TopicsOwner, topicOf } from './client-gate.ts'
import { serverSubscription, subscriptionResult } from './client-recovery.ts'

type CommandOf<M extends Command['method']> = Extract<Command, { method: M }>

/**
 * One client's subscriptions in the client protocol: what its commands do to them, and what it is told when others
 * change them.
 */
export class ClientTopics {
  readonly #context: TopicsContext
  readonly #owner: TopicsOwner
  /** One object, so that a hook keeps the publications of this client in order. */
  readonly #publisher: { readonly client: string; session: Session | undefined }
  /** A command of the client subscribes to this topic. The reply tells the client, so the event of the hub does not. */
  #subscribing: TopicName | undefined
  /**
   * What the client is told when it leaves a topic or a pattern, instead of UNSUBSCRIBES.server. Undefined: nothing, a
   * reply tells it.
   */
  readonly #farewells = new Map<TopicName | TopicPattern, object | undefined>()
  /** Those of which it is told who comes and goes. */
  readonly #watched = new Set<TopicName>()

  constructor(context: TopicsContext, owner: TopicsOwner) {
    this.#context = context
    this.#owner = owner
    this.#publisher = { client: owner.id, session: undefined }
  }

  /** The client has gone. */
  end(): void {
    for (const topic of this.#watched) this.#context.presence.unwatch(topic, this.#owner)
    this.#context.grants.forget(this.#owner)
  }

  /**
   * Answers with the reply, undefined where nobody waits for it any more, or where it is sent already. Throws
   * HubErrors.
   */
  async subscribe(command: CommandOf<'subscribe'>): Promise<string | undefined> {
    const { id, channel, policy, after } = command
    if (isPattern(channel)) return this.#subscribePattern(command)
    const { hub, parsePolicy, grants } = this.#context
    const { id: client } = this.#owner
    const topic = topicOf(channel)
    const grant = await this.#admit(topic, command.token)
    if (grant === undefined) return undefined
    const told = command.joinLeave === true && (await this.#mayWatch(topic))
    if (!this.#owner.current) return undefined
    const { contentType, presence = false } = hub.resolveTopic(topic)
    checkCarried(topic, contentType)
    const wish = policy === undefined ? undefined : parsePolicy(policy)
    const existing = hub.getSubscription(client, topic)
    if (existing && existing.pattern === undefined) return errorReply(id, ERRORS.alreadySubscribed)
    if (after && command.rejectUnrecovered && !hub.recovers(topic, after)) {
      return errorReply(id, ERRORS.unrecoverablePosition)
    }
    let answered = false
    // What is to be replayed comes behind it, as everything else of the topic.
    const begun = (subscription: Subscription): void => {
      answered = true
      const result = subscriptionResult(this.#context, subscription, after !== undefined)
      this.#owner.reply(resultReply(id, 'subscribe', { ...result, ...expiry(grant.expiresAt) }))
    }
    this.#subscribing = topic
    try {
      const subscription = hub.subscribe(client, topic, { policy: wish, after, begun })
      if (!answered) begun(subscription)
    } finally {
      this.#subscribing = undefined
    }
    // A handler of the hub's events may have ended it at once.
    if (!hub.getSubscription(client, topic)) return undefined
    grants.set(this.#owner, topic, grant.expiresAt)
    if (presence && told && !this.#watched.has(topic)) this.#watch(topic)
    return undefined
  }

  /** Who comes and goes is presence. Whoever may not ask for it subscribes without. */
  async #mayWatch(topic: TopicName): Promise<boolean> {
    const session = this.#session
    return session !== undefined && (await this.#context.gate.permits(session, 'presence', topic))
  }

  #watch(topic: TopicName): void {
    this.#context.presence.watch(topic, this.#owner)
    this.#watched.add(topic)
  }

  /** Matched topics come as subscriptions of the server, each under its own name. */
  async #subscribePattern({ id, channel, policy }: CommandOf<'subscribe'>): Promise<string | undefined> {
    const { hub, parsePolicy } = this.#context
    const { id: client } = this.#owner
    const pattern = patternOf(channel)
    if (!(await permitted(this.#context, this.#owner, 'subscribe', pattern))) return undefined
    const wish = policy === undefined ? undefined : parsePolicy(policy)
    if (hub.getClient(client).patterns.some(order => order.pattern === pattern))
      return errorReply(id, ERRORS.alreadySubscribed)
    hub.subscribePattern(client, pattern, { policy: wish })
    return resultReply(id, 'subscribe', {})
  }

  /**
   * A token for this one topic stands for what the session is granted, if there are such tokens. Undefined: the client
   * has gone.
   */
  async #admit(
    topic: TopicName,
    token: string | undefined,
  ): Promise<{ readonly expiresAt?: number | undefined } | undefined> {
    const { hub, sessions } = this.#context
    if (token === undefined || sessions.grant === undefined) {
      return (await permitted(this.#context, this.#owner, 'subscribe', topic)) ? {} : undefined
    }
    const session = this.#session
    if (session === undefined) return undefined
    const { expiresAt } = await sessions.grant(session, token, topic)
    if (!isOpenTo(hub.resolveTopic(topic).subscribe, session)) throw denied('subscribe', topic)
    return this.#owner.current ? { expiresAt } : undefined
  }

  get #session(): Session | undefined {
    return sessionOf(this.#context, this.#owner)
  }

  /** A newer token for one topic. Throws HubErrors. */
  async refresh({ id, channel, token }: CommandOf<'sub_refresh'>): Promise<string | undefined> {
    const { hub, sessions, grants } = this.#context
    const topic = topicOf(channel)
    if (sessions.grant === undefined) return errorReply(id, ERRORS.notAvailable)
    const session = this.#session
    if (session === undefined) return undefined
    const { expiresAt } = await sessions.grant(session, token, topic)
    if (!this.#owner.current) return undefined
    if (!hub.getSubscription(this.#owner.id, topic)) {
      throw new HubError('NOT_SUBSCRIBED', `topic: this client is not subscribed to ${topic}`)
    }
    grants.set(this.#owner, topic, expiresAt)
    return resultReply(id, 'sub_refresh', expiry(expiresAt))
  }

  /** Never an error: to the SDKs a failed unsubscribe is a broken connection. */
  unsubscribe({ id, channel }: CommandOf<'unsubscribe'>): string {
    const name = valid(channel)
    if (name !== undefined && isPattern(name)) this.#unsubscribePattern(name as TopicPattern)
    else if (name !== undefined) this.#unsubscribe(name as TopicName)
    return resultReply(id, 'unsubscribe', {})
  }

  /** The event comes after this returns where a listener of another event calls. */
  #unsubscribe(topic: TopicName, farewell?: object): void {
    this.#farewells.set(topic, farewell)
    if (!this.#context.hub.unsubscribe(this.#owner.id, topic)) this.#farewells.delete(topic)
  }

  #unsubscribePattern(pattern: TopicPattern): void {
    this.#farewells.set(pattern, undefined)
    if (!this.#context.hub.unsubscribePattern(this.#owner.id, pattern)) this.#farewells.delete(pattern)
  }

  #tellLeft(name: TopicName | TopicPattern): void {
    const farewell = this.#farewells.has(name) ? this.#farewells.get(name) : UNSUBSCRIBES.server
    this.#farewells.delete(name)
    if (farewell !== undefined) this.#owner.reply(push(name, 'unsubscribe', farewell))
  }

  /**
   * Resolves once the broker has the publication, so that the next one may begin; `accepted` is the broker's answer.
   * Undefined: the client has gone.
   * Rejects with HubErrors.
   */
  async publish({ channel, data }: CommandOf<'publish'>): Promise<{ readonly accepted: unknown } | undefined> {
    const { hub } = this.#context
    const topic = topicOf(channel)
    if (!(await permitted(this.#context, this.#owner, 'publish', topic))) return undefined
    const { contentType = 'application/json' } = hub.resolveTopic(topic)
    checkCarried(topic, contentType)
    this.#publisher.session = this.#session
    return { accepted: hub.publishBytes(topic, Buffer.from(data), { contentType, publisher: this.#publisher }) }
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
    const answered = topic === this.#subscribing
    if (answered) this.#subscribing = undefined
    else this.#owner.reply(push(topic, 'subscribe', serverSubscription(this.#context, this.#owner.id, topic)))
  }

  unsubscribed(topic: TopicName): void {
    this.#context.grants.forget(this.#owner, topic)
    if (this.#watched.delete(topic)) this.#context.presence.unwatch(topic, this.#owner)
    this.#tellLeft(topic)
  }

  /** Its topics have been told one by one. */
  patternEnded(pattern: TopicPattern): void {
    this.#tellLeft(pattern)
  }

  /** The token of a subscription is over. The SDKs subscribe again, with a new one. */
  expired(topic: TopicName): void {
    this.#unsubscribe(topic, UNSUBSCRIBES.expired)
  }
}

function patternOf(channel: string): TopicPattern {
  const pattern = parsePattern(channel)
  if (pattern !== channel) throw new HubError('TOPIC_INVALID', `channel: leave the leading / away: ${pattern}`)
  return pattern
}

function valid(channel: string): TopicName | TopicPattern | undefined {
  try {
    return isPattern(channel) ? patternOf(channel) : topicOf(channel)
  } catch {
    return undefined
  }
}

/** Of a topic whose rule says that it carries something else, this protocol would get gaps only. */
function checkCarried(topic: TopicName, contentType: string | undefined): void {
  if (contentType === undefined || isJson(contentType)) return
  throw new HubError(
    'UNSUPPORTED_PAYLOAD',
    `topic ${topic} carries ${contentType}; this protocol carries JSON only: read it over GET /topics/${topic}`,
  )
}
