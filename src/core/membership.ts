import { atOnce } from './attempt.ts'
import type { Budget } from './budget.ts'
import type { Registration } from './client.ts'
import type { ManagerOptions, PatternSubscription, SubscribeOptions, Subscription, WantedTopic } from './contract.ts'
import type { Delivery } from './delivery.ts'
import { HubError } from './errors.ts'
import type { Events } from './events.ts'
import { nameOf } from './guarded-codec.ts'
import { type ClientId, type Position, parseTopicName, type TopicName } from './ids.ts'
import type { HubLimits } from './limits.ts'
import { Link } from './link.ts'
import { matcherOf, PatternIndex, type PatternOrder } from './pattern-index.ts'
import { isPattern, matches, type TopicPattern } from './patterns.ts'
import type { DeliveryPolicy } from './policy.ts'
import { Positions } from './positions.ts'
import { checkAllowed, notConnected, tooMany } from './refusals.ts'
import type { HubCounters } from './snapshot.ts'
import { termsOf } from './terms.ts'
import { ownText } from './texts.ts'
import { Topic } from './topic.ts'
import { isOpenTo, type TopicSpec, takesWildcards } from './topics.ts'

/**
 * How long after a search for room that found none the next may follow, in ms. A search walks over topics, and each
 * publication to a new topic would cause one.
 */
const FULL_MS = 1000

/** Topics that one turn looks through, so that many topics do not hold up other work. */
export const TIDY_TOPICS = 1024

/** A topic that has subscribers by pattern alone is forgotten after so long without a message, in ms. */
const QUIET_MS = 60_000

/** What the membership needs of its manager. */
interface Owner {
  limits(): HubLimits
  readonly counters: HubCounters
  readonly clients: ReadonlyMap<ClientId, Registration>
  readonly budget: Budget
  /** Calls code that is not the hub's. What it throws, or its promise rejects with, is told as a fault. */
  call(where: string, run: () => void | Promise<void>): void
}

/**
 * Which clients are on which topics, by name or by pattern, and under which policy. Owns the topics and every way onto
 * them and off. A membership change seals first (I2), and none happens while links are walked (I4).
 */
export class Membership {
  readonly topics = new Map<TopicName, Topic>()
  /** Positions of topics that are not in use any more. */
  readonly positions: Positions
  readonly #policies = new Map<TopicName, DeliveryPolicy>()
  readonly #patterns = new PatternIndex()
  readonly #options: ManagerOptions
  readonly #delivery: Delivery
  readonly #events: Events
  readonly #owner: Owner
  #epochs = 0
  /** While topics are tidied: those that are still to come. */
  #untidied: Iterator<Topic> | undefined
  /** When a search for room found none, in ms. Undefined: there may be room. */
  #fullAt: number | undefined

  constructor(options: ManagerOptions, delivery: Delivery, events: Events, owner: Owner) {
    this.#options = options
    this.#delivery = delivery
    this.#events = events
    this.#owner = owner
    this.positions = new Positions(owner.budget)
  }

  get patterns(): number {
    return this.#patterns.size
  }

  // ---- topics

  /** Returns the topic, which it makes at the first use. Throws TOPIC_UNKNOWN, LIMIT_EXCEEDED. */
  topic(name: TopicName): Topic {
    const known = this.topics.get(name)
    if (known) return known
    const spec = this.#options.topics.resolve(ownText(name) as TopicName)
    const { maxTopics } = this.#owner.limits()
    if (this.topics.size >= maxTopics) this.#makeRoom(maxTopics)
    // A handler of the end of another topic may have made it meanwhile.
    const made = this.topics.get(name)
    if (made) return made
    if (this.topics.size >= maxTopics) throw this.#tooMany('maxTopics', 'topics')
    const start = this.positions.take(name) ?? { epoch: this.#newEpoch(), seq: 0 }
    const policy = this.#policies.get(name) ?? spec.policy ?? this.#options.policy
    const topic = new Topic(spec, start, policy, this.#owner.counters, this.#owner.budget)
    topic.policyOrigin = this.#originOf(topic)
    this.topics.set(topic.name, topic)
    this.#attract(topic)
    // A handler of those subscriptions may have ended the topic. Then another one takes its place.
    return this.topics.get(name) ?? this.topic(name)
  }

  #newEpoch(): string {
    return `${this.#options.epoch}${(this.#epochs++).toString(36)}`
  }

  #tooMany(limit: keyof HubLimits, what: string): HubError {
    const { counters, limits } = this.#owner
    return counters.refuse(limit, tooMany(what, limits()[limit], `limits.${limit}`))
  }

  #makeRoom(maxTopics: number): void {
    const now = this.#options.scheduler.now()
    if (this.#fullAt !== undefined && now - this.#fullAt < FULL_MS) return
    let looks = 0
    for (const topic of this.topics.values()) {
      if (this.topics.size < maxTopics || ++looks > TIDY_TOPICS) break
      this.#tidyTopic(topic, now)
    }
    this.#fullAt = this.topics.size >= maxTopics ? now : undefined
  }

  spec(name: TopicName): TopicSpec {
    return this.topics.get(name)?.spec ?? this.#options.topics.resolve(name)
  }

  /** Where the topic is, or was when it was forgotten. */
  position(name: TopicName): Position | undefined {
    return this.topics.get(name)?.position ?? this.positions.get(name)
  }

  /**
   * Drops messages past their age, and topics that are not in use. Looks at TIDY_TOPICS topics in each turn of the
   * event loop.
   */
  tidy(): void {
    if (this.#untidied !== undefined) return
    this.positions.expire(this.#options.scheduler.now())
    this.#untidied = this.topics.values()
    this.#tidySome()
  }

  #tidySome(): void {
    const now = this.#options.scheduler.now()
    for (let i = 0; i < TIDY_TOPICS; i++) {
      const { done, value } = this.#untidied!.next()
      if (done) {
        this.#untidied = undefined
        return
      }
      this.#tidyTopic(value, now)
    }
    this.#options.scheduler.defer(() => this.#tidySome())
  }

  #tidyTopic(topic: Topic, now: number): void {
    if (topic.log.count > 0) this.#delivery.settle(topic, now)
    if (topic.log.count + topic.pending.length > 0) return
    if (topic.rested(now) && (topic.links.length === 0 || this.#isQuiet(topic, now))) this.#end(topic)
  }

  /**
   * Removes the topic before any event is told: what a handler publishes to the name makes a new topic, and
   * clients whose patterns match are on it.
   */
  #end(topic: Topic): void {
    this.#delivery.seal(topic)
    this.#events.together(() => {
      for (const link of [...topic.links]) {
        const client = this.#owner.clients.get(link.clientId)!
        this.unlink(client, link)
        this.#tellLeft(client, topic.name)
      }
      topic.forgetHistory()
      this.topics.delete(topic.name)
      const { maxTopics } = this.#owner.limits()
      this.positions.remember(topic.name, topic.position, this.#options.scheduler.now(), maxTopics)
    })
  }

  #tellJoined(client: Registration, topic: TopicName, pattern?: TopicPattern): void {
    this.#events.emit('subscribe', { id: client.id, client, topic, ...(pattern !== undefined && { pattern }) })
  }

  #tellLeft(client: Registration, topic: TopicName): void {
    this.#events.emit('unsubscribe', { id: client.id, client, topic })
  }

  /**
   * Its links are there by pattern and wait for nothing, and no message came for long. The next message subscribes them
   * again.
   */
  #isQuiet(topic: Topic, now: number): boolean {
    if (now - topic.routedAt < QUIET_MS) return false
    return topic.links.every(link => link.order && link.pending === 0 && link.gapCount === 0 && !link.holding)
  }

  /**
   * Topics in use take their new specs from the registry. Clients that may not be on a topic any more are unsubscribed.
   */
  refresh(pattern?: TopicPattern): void {
    for (const topic of this.#matched(pattern)) {
      const spec = this.#resolved(topic.name, topic.spec)
      if (this.topics.get(topic.name) !== topic) continue
      if (spec === undefined) {
        this.#end(topic)
        // One that is known again is another topic.
        this.positions.take(topic.name)
        continue
      }
      topic.spec = spec
      for (const link of topic.links) {
        link.outbox.noteLane(topic.lane)
        if (!this.#isAllowed(topic, link.wish)) link.wish = undefined
      }
      this.#applyPolicy(topic)
      for (const link of [...topic.links]) {
        const client = this.#owner.clients.get(link.clientId)
        if (!client || !isOpen(spec, client) || (link.order && !isMatchable(spec, client))) this.#dismiss(link)
      }
      this.#attract(topic)
    }
  }

  /** Topics in use that the pattern matches; without a pattern, all of them. */
  #matched(pattern: TopicPattern | undefined): Topic[] {
    if (pattern === undefined) return [...this.topics.values()]
    if (!isPattern(pattern)) {
      const topic = this.topics.get(pattern as string as TopicName)
      return topic === undefined ? [] : [topic]
    }
    const isMatch = matcherOf(pattern)
    const found: Topic[] = []
    for (const [name, topic] of this.topics) if (isMatch(name)) found.push(topic)
    return found
  }

  /** Undefined: there is no such topic. A registry that fails has not said so: then `known` stands. */
  #resolved(name: TopicName, known?: TopicSpec): TopicSpec | undefined {
    try {
      return this.#options.topics.resolve(name)
    } catch (error) {
      if (error instanceof HubError && error.code !== 'INTERNAL') return undefined
      this.#delivery.fault('topic registry', error)
      return known
    }
  }

  #dismiss(link: Link): void {
    const client = this.#owner.clients.get(link.clientId)
    this.#delivery.finish(link)
    if (client === undefined || link.closed) return
    this.unlink(client, link)
    this.#tellLeft(client, link.topicName)
  }

  // ---- by name

  subscribe(client: Registration, name: TopicName, options: SubscribeOptions): Subscription {
    const { links } = client.outbox
    const most = this.#owner.limits().maxSubscriptionsPerClient
    const before = links.get(name)
    if ((before === undefined || before.order) && links.size - client.matched >= most) {
      throw this.#tooMany('maxSubscriptionsPerClient', 'subscriptions of one client')
    }
    const topic = this.topic(name)
    // A new topic subscribes clients by pattern: a handler of that may have ended the client.
    if (this.#owner.clients.get(client.id) !== client) throw notConnected(client.id)
    checkAllowed(topic, options.policy)
    const existing = links.get(name)
    const taken = existing?.order !== undefined
    if (existing && !(taken && options.after)) {
      if (taken) this.#takeOver(client, existing)
      existing.wish = options.policy
      this.#adopt(existing, client)
      if (taken) this.#tellJoined(client, name)
      else this.#events.emit('wish', { id: client.id, topic: name })
      return { topic: name, position: topic.position, recovered: false }
    }
    if (!existing && topic.full) throw this.#fullTopic(topic)
    if (existing) this.#delivery.finish(existing)
    else this.#delivery.seal(topic)
    // That write may have ended the client, or the subscription.
    if (this.#owner.clients.get(client.id) !== client) throw notConnected(client.id)
    if (links.get(name) !== existing) return this.subscribe(client, name, options)
    // A subscription by pattern has no past: one that asks for it gets a link of its own.
    if (existing && !existing.closed) this.unlink(client, existing)
    const link = new Link(client.outbox, topic, topic.seq, options.policy)
    const recovered = this.#join(link, client, options.after)
    const subscription = { topic: name, position: { epoch: topic.epoch, seq: link.base }, recovered }
    // Before the event, whose handlers may publish so much that it is flushed.
    this.#begin(client, link, () => options.begun?.(subscription))
    this.#tellJoined(client, name)
    return subscription
  }

  #fullTopic({ name, spec }: Pick<Topic, 'name' | 'spec'>): HubError {
    const error = tooMany(`subscribers of ${name}`, spec.maxSubscribers!, 'maxSubscribers')
    return this.#owner.counters.refuse('maxSubscribers', error)
  }

  /**
   * Throws as the subscriptions would, of a client that takes the id of this one. A newcomer that is refused must not
   * end the client that it would replace.
   */
  check({ outbox }: Registration, topics: readonly WantedTopic[]): void {
    const names = new Set(topics.filter(({ name }) => !isPattern(name)).map(({ name }) => parseTopicName(name)))
    const { maxSubscriptionsPerClient, maxPatternsPerClient } = this.#owner.limits()
    if (names.size > maxSubscriptionsPerClient) {
      throw this.#tooMany('maxSubscriptionsPerClient', 'subscriptions of one client')
    }
    const patterns = new Set(topics.map(({ name }) => name).filter(isPattern))
    if (patterns.size > maxPatternsPerClient) throw this.#tooMany('maxPatternsPerClient', 'patterns of one client')
    for (const { name, options } of topics) {
      if (isPattern(name)) continue
      const parsed = parseTopicName(name)
      const wanted = { name: parsed, spec: this.spec(parsed) }
      checkAllowed(wanted, options?.policy)
      const isFull = this.topics.get(parsed)?.full ?? wanted.spec.maxSubscribers === 0
      if (isFull && !outbox.links.has(parsed)) throw this.#fullTopic(wanted)
    }
  }

  /** Throws what the caller's `begun` throws: then there is no subscription. */
  #begin(client: Registration, link: Link, begun: () => unknown): void {
    try {
      atOnce(begun(), 'begun')
    } catch (error) {
      if (!link.closed) this.unlink(client, link)
      throw error
    }
  }

  /** False: it is not subscribed. Where a pattern of the client matches too, it stays on the topic for that. */
  unsubscribe(client: Registration, name: TopicName): boolean {
    const link = client.outbox.links.get(name)
    if (link === undefined || link.order !== undefined) return false
    this.#delivery.finish(link)
    if (link.closed) return false
    const order = isMatchable(link.topic.spec, client) ? this.#orderFor(client, name) : undefined
    if (order === undefined) {
      this.unlink(client, link)
      this.#tellLeft(client, name)
      return true
    }
    this.#hand(client, link, order)
    this.#events.together(() => {
      this.#tellLeft(client, name)
      this.#tellJoined(client, name, order.pattern)
    })
    return true
  }

  unlink(client: Registration, link: Link): void {
    const { topic } = link
    client.outbox.links.delete(topic.name)
    if (link.order) this.#takeOver(client, link)
    if (!link.terms.fresh) client.outbox.cushioned--
    client.outbox.holdLittle()
    this.#delivery.leave(link)
    if (topic.links.length === 0) this.#owner.call('broker leave', () => this.#options.broker.leave(topic.name))
  }

  /** Everything of a client that ends. */
  leaveAll(client: Registration): void {
    const { links } = client.outbox
    for (const order of client.patterns?.values() ?? []) this.#patterns.remove(order)
    client.patterns = undefined
    for (const link of [...links.values()]) this.unlink(client, link)
  }

  // ---- by pattern

  subscribePattern(client: Registration, pattern: TopicPattern, options: SubscribeOptions): PatternSubscription {
    const isMatch = matcherOf(pattern)
    this.#revive(client, isMatch, options.after)
    // A topic that is used again subscribes clients by pattern: a handler of that may have ended the client.
    if (this.#owner.clients.get(client.id) !== client) throw notConnected(client.id)
    const { maxPatternsPerClient: most, maxTopicsPerPattern } = this.#owner.limits()
    const known = client.patterns?.get(pattern)
    if (known) return { pattern, topics: known.topics }
    if ((client.patterns?.size ?? 0) >= most) throw this.#tooMany('maxPatternsPerClient', 'patterns of one client')
    const found: Topic[] = []
    for (const [name, topic] of this.topics) {
      if (!isMatch(name) || client.outbox.links.has(name)) continue
      if (!isMatchable(topic.spec, client) || !isOpen(topic.spec, client)) continue
      if (found.push(topic) > maxTopicsPerPattern)
        throw this.#tooMany('maxTopicsPerPattern', `topics that ${pattern} matches`)
    }
    const order: PatternOrder = { client, pattern, wish: options.policy, topics: 0 }
    client.patterns ??= new Map()
    client.patterns.set(pattern, order)
    this.#patterns.add(order)
    this.#events.emit('subscribePattern', { id: client.id, pattern })
    for (const topic of found) this.#obey(order, topic, options.after)
    return { pattern, topics: order.topics }
  }

  /**
   * Uses forgotten topics again of which the client may have missed messages, so that it is told: as many as its
   * pattern has room for.
   */
  #revive(client: Registration, isMatch: (name: TopicName) => boolean, after: SubscribeOptions['after']): void {
    if (after === undefined || after === 'oldest') return
    const forgotten = this.positions.after(after, isMatch)
    if (forgotten.length === 0) return
    const { maxTopics, maxTopicsPerPattern } = this.#owner.limits()
    let room = maxTopicsPerPattern
    for (const name of this.topics.keys()) if (isMatch(name)) room--
    for (const name of forgotten) {
      if (room <= 0 || this.topics.size >= maxTopics) return
      const spec = this.#resolved(name)
      if (spec === undefined || !isMatchable(spec, client) || !isOpen(spec, client)) continue
      this.topic(name)
      room--
    }
  }

  unsubscribePattern(client: Registration, pattern: TopicPattern): boolean {
    const order = client.patterns?.get(pattern)
    if (order === undefined) return false
    client.patterns!.delete(pattern)
    this.#patterns.remove(order)
    for (const link of [...client.outbox.links.values()]) {
      if (link.order !== order) continue
      const other = this.#orderFor(client, link.topicName)
      if (other) this.#hand(client, link, other)
      else this.#dismiss(link)
    }
    this.#events.emit('unsubscribePattern', { id: client.id, pattern })
    return true
  }

  /** Subscribes the clients whose patterns match a new topic, before its first message. */
  #attract(topic: Topic): void {
    for (const order of this.#patterns.matching(topic.name)) this.#obey(order, topic, undefined)
  }

  /**
   * One link for each client, whatever of its patterns match. A handler of an earlier event may have changed
   * everything.
   */
  #obey(order: PatternOrder, topic: Topic, after: SubscribeOptions['after']): void {
    const { client, pattern } = order
    const current = client.patterns?.get(pattern) === order && this.topics.get(topic.name) === topic
    if (!current || client.closed || client.outbox.links.has(topic.name)) return
    if (!isMatchable(topic.spec, client) || !isOpen(topic.spec, client)) return
    if (topic.full) return void this.#fullTopic(topic)
    if (!this.#hasRoom(order)) return
    this.#delivery.seal(topic)
    const allowed = topic.spec.allowedPolicies === undefined || this.#isAllowed(topic, order.wish)
    const link = new Link(client.outbox, topic, topic.seq, allowed ? order.wish : undefined)
    link.order = order
    order.topics++
    client.matched++
    this.#join(link, client, after)
    this.#tellJoined(client, topic.name, pattern)
  }

  /** Closes a client whose pattern matches too many topics: it must not miss messages without a notice. */
  #hasRoom({ client, topics }: PatternOrder): boolean {
    if (topics < this.#owner.limits().maxTopicsPerPattern) return true
    this.#delivery.condemn(client.outbox, 'overloaded')
    return false
  }

  /** Looks at the client's own patterns, which are few. The index has those of all clients. */
  #orderFor({ patterns }: Registration, name: TopicName): PatternOrder | undefined {
    for (const order of patterns?.values() ?? []) if (matches(order.pattern, name)) return order
    return undefined
  }

  /** The link is there because of this order from now on. */
  #hand(client: Registration, link: Link, order: PatternOrder): void {
    this.#hasRoom(order)
    if (link.order) this.#takeOver(client, link)
    link.order = order
    order.topics++
    client.matched++
    link.wish = this.#isAllowed(link.topic, order.wish) ? order.wish : undefined
    this.#adopt(link, client)
  }

  /** The link is there for no order any more. */
  #takeOver(client: Registration, link: Link): void {
    link.order!.topics--
    link.order = undefined
    client.matched--
  }

  // ---- policies

  setPolicy(name: TopicName, policy: DeliveryPolicy | null): void {
    const { maxTopics } = this.#owner.limits()
    if (policy === null) this.#policies.delete(name)
    else if (!this.#policies.has(name) && this.#policies.size >= maxTopics)
      throw this.#tooMany('maxTopics', 'topics with a policy')
    else this.#policies.set(name, policy)
    const topic = this.topics.get(name)
    if (topic) this.#applyPolicy(topic)
  }

  #originOf({ name, spec }: Topic): Topic['policyOrigin'] {
    if (this.#policies.has(name)) return 'topic'
    return spec.policy ? 'rule' : 'default'
  }

  policy(name: TopicName): DeliveryPolicy {
    return this.#policies.get(name) ?? this.spec(name).policy ?? this.#options.policy
  }

  setClass(client: Registration, policy: DeliveryPolicy | null): void {
    if (policy) for (const link of client.outbox.links.values()) checkAllowed(link.topic, policy)
    client.policy = policy ?? undefined
    for (const link of [...client.outbox.links.values()]) this.#adopt(link, client)
  }

  #applyPolicy(topic: Topic): void {
    topic.policy = this.policy(topic.name)
    topic.policyOrigin = this.#originOf(topic)
    this.#delivery.seal(topic)
    for (const link of [...topic.links]) {
      const client = this.#owner.clients.get(link.clientId)
      if (client) this.#adopt(link, client)
    }
  }

  /** A policy that cannot be described is not allowed, where only some are. */
  #isAllowed(topic: Topic, wish: DeliveryPolicy | undefined): boolean {
    try {
      checkAllowed(topic, wish)
      return true
    } catch (error) {
      if (wish && (error as HubError).code !== 'POLICY_DENIED') this.#delivery.fault(`policy '${nameOf(wish)}'`, error)
      return false
    }
  }

  /** Puts a new link on its topic, with what it missed waiting for it. Answers whether all of it was still there. */
  #join(link: Link, client: Registration, from: Position | 'oldest' | undefined): boolean {
    const { topic } = link
    const oldest = { epoch: topic.epoch, seq: topic.historyFrom }
    const after = from === 'oldest' ? oldest : from
    const found = after !== undefined && topic.has(after)
    link.adopt(link.wish ?? client.policy ?? topic.policy)
    topic.add(link)
    client.outbox.links.set(topic.name, link)
    client.outbox.noteLane(topic.lane)
    if (!link.terms.fresh) client.outbox.cushioned++
    client.outbox.holdLittle()
    const whole = found && after.seq >= Math.min(topic.log.first - 1, topic.sealed)
    if (found) link.replay(after.seq)
    if (after !== undefined && !found && topic.seq > 0) link.noteGap(1, topic.seq, null, 'epoch')
    if (link.holding || link.gapCount !== 0) {
      this.#delivery.sweeper.watch(link.outbox)
      this.#delivery.wake(link.outbox)
    }
    if (topic.links.length === 1) this.#owner.call('broker join', () => this.#options.broker.join(topic.name))
    return whole
  }

  /**
   * The policy in force: the subscriber's wish, else the client's class, else the topic's. What already waits stays.
   */
  #adopt(link: Link, client: Registration): void {
    const policy = link.wish ?? client.policy ?? link.topic.policy
    if (policy === link.policy) return
    const { fresh: wasFresh } = link.terms
    if (link.behind && termsOf(policy, link.outbox.fault).backlog.kind !== link.terms.backlog.kind) {
      const waiting = [...link.topic.unread(link)]
      link.topic.promote(link)
      link.adopt(policy)
      link.hold(waiting, link.topic.sealed, true)
    } else {
      link.adopt(policy)
    }
    link.outbox.cushioned += Number(wasFresh) - Number(link.terms.fresh)
    link.outbox.holdLittle()
    this.#delivery.sweeper.watch(link.outbox)
    this.#delivery.wake(link.outbox)
  }
}

/** May it be on the topic? The program itself may. */
function isOpen(spec: TopicSpec, { internal, session }: Registration): boolean {
  return internal || isOpenTo(spec.subscribe, session)
}

/** May a pattern of this client match the topic? */
function isMatchable(spec: TopicSpec, { internal }: Registration): boolean {
  return internal || takesWildcards(spec)
}
