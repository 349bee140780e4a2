import type { Publication, RouteResult } from './broker.ts'
import { Budget } from './budget.ts'
import { type BackEdge, Registration } from './client.ts'
import type { Client, CloseReason, Connection } from './connection.ts'
import {
  type ClientFilter,
  DEFAULT_LIMITS,
  type HubLimits,
  type ManagerOptions,
  type PostedMessage,
  type RegisterOptions,
  type RouteOptions,
  type SubscribeOptions,
  type Subscription,
} from './contract.ts'
import { Delivery } from './delivery.ts'
import { HubError } from './errors.ts'
import { Events } from './events.ts'
import { type ClientId, type Position, parseClientId, parseTopicName, type TopicName } from './ids.ts'
import { Link } from './link.ts'
import type { Message } from './message.ts'
import { Outbox } from './outbox.ts'
import { type Direct, Parcel } from './parcel.ts'
import type { DeliveryPolicy } from './policy.ts'
import { checkAllowed, circuitOpen, notCarried, tooMany } from './refusals.ts'
import { clientInfo, connectionStats, HubCounters, subscriptionInfo, topicInfo } from './snapshot.ts'
import type { ClientInfo, ConnectionStats, SubscriptionInfo, TopicInfo } from './stats.ts'
import { Topic } from './topic.ts'

/** How often topics are looked through for messages past their age, in ms. */
const HOUSEKEEPING_MS = 1000
const OCTETS = 'application/octet-stream'

/**
 * The single owner of who is connected, who subscribed to what, and what each of them is still owed.
 * Every method is synchronous up to the broker and may be called from any event handler. What is wrong is thrown as a
 * HubError.
 */
export class ConnectionManager {
  readonly events = new Events()
  readonly limits: HubLimits
  readonly #options: ManagerOptions
  readonly #delivery: Delivery
  readonly #clients = new Map<ClientId, Registration>()
  readonly #topics = new Map<TopicName, Topic>()
  readonly #policies = new Map<TopicName, DeliveryPolicy>()
  readonly #counters = new HubCounters()
  readonly #budget: Budget
  readonly #started: number
  readonly #housekeeping: Disposable
  readonly #back: BackEdge = {
    drained: ({ outbox }) => this.#delivery.drained(outbox),
    send: ({ outbox }, frame) => this.#delivery.send(outbox, frame),
    confirmed: (client, topic, seq) => this.#confirmed(client, topic, seq, false),
    failed: ({ outbox }, topic, seq) =>
      outbox.links.get(topic as TopicName)?.fail(seq, this.#options.scheduler.now()) ?? false,
    close: (client, reason) => {
      if (this.#clients.get(client.id) === client) this.unregisterClient(client.id, reason)
    },
  }
  #epochs = 0
  #draining = false
  #closed = false

  constructor(options: ManagerOptions) {
    this.#options = options
    this.limits = { ...DEFAULT_LIMITS, ...options.limits }
    this.#budget = new Budget(this.limits.maxRetainedBytes)
    this.#delivery = new Delivery(options.scheduler, this.events, this.limits.maxQueuedBytesPerClient, {
      reap: (outbox, reason) => {
        const client = this.#clients.get(outbox.id)
        if (client?.outbox === outbox) this.#remove(client, reason)
      },
      relieve: () => {
        if (!this.#budget.exceeded) return
        this.#budget.relieve(this.#topics.values(), this.#clients.values(), client => this.#remove(client, 'slow'))
      },
      handed: ms => options.onHanded?.(ms),
    })
    this.#started = options.scheduler.now()
    this.#housekeeping = options.scheduler.every(HOUSEKEEPING_MS, () => this.#tidy())
    this.#settled(
      options.broker.start(publication => this.#route(publication)),
      'broker start',
    )
  }

  // ---- clients

  /**
   * Registers an open connection. The transport keeps the returned handle and speaks through it; whoever disposes of it says that
   * the peer has gone. Throws CLIENT_ID_INVALID, CLIENT_EXISTS, LIMIT_EXCEEDED, SHUTTING_DOWN.
   */
  registerClient(id: string, connection: Connection, options: RegisterOptions = {}): Client {
    this.#checkOpen()
    const clientId = parseClientId(id)
    const older = this.#clients.get(clientId)
    if (older && options.ifExists === 'refuse') {
      throw new HubError('CLIENT_EXISTS', `client: ${clientId} is connected already`)
    }
    if (older) this.#remove(older, 'replaced')
    // A handler of the older one's end may have registered the id again.
    if (this.#clients.has(clientId)) throw new HubError('CLIENT_EXISTS', `client: ${clientId} has just connected again`)
    if (this.#clients.size >= this.limits.maxClients) throw tooMany('clients', this.limits.maxClients)
    const outbox = new Outbox(clientId, connection, this.#budget, this.#delivery.stalls)
    const client = new Registration(outbox, options, this.#options.scheduler.now(), this.#back)
    this.#clients.set(clientId, client)
    this.#counters.opened(connection.protocol)
    const { restore } = options
    this.events.emit('register', { id: clientId, protocol: connection.protocol, user: client.session.user, restore })
    return client
  }

  /** Ends a client: what was published before is flushed as far as its connection takes it, every subscription is gone on return. */
  unregisterClient(id: string, reason: CloseReason = 'peer', reconnectMs?: number): boolean {
    const client = this.#clients.get(id as ClientId)
    if (client === undefined) return false
    if (reason !== 'slow' && reason !== 'lost' && reason !== 'peer') {
      for (const link of client.outbox.links.values()) this.#delivery.seal(link.topic)
      this.#delivery.flush(client.outbox)
    }
    // An event handler may have ended it meanwhile.
    if (this.#clients.get(client.id) === client) this.#remove(client, reason, reconnectMs)
    return true
  }

  *getActiveClients(): Iterable<ClientInfo> {
    const now = this.#options.scheduler.now()
    for (const client of this.#clients.values()) yield clientInfo(client, now)
  }

  /** Ids of the clients that are on the topic, are of the user and speak the protocol, as far as these are named. Throws TOPIC_INVALID. */
  selectClients({ topic, user, protocol, except }: ClientFilter = {}): ClientId[] {
    const clients = topic === undefined ? [...this.#clients.values()] : this.#clientsOn(topic)
    const out = new Set<string>(except)
    return clients
      .filter(client => user === undefined || client.session.user === user)
      .filter(client => protocol === undefined || client.outbox.connection.protocol === protocol)
      .flatMap(({ id }) => (out.has(id) ? [] : [id]))
  }

  /** Throws CONNECTION_NOT_FOUND. */
  getClient(id: string): ClientInfo {
    return clientInfo(this.#client(id), this.#options.scheduler.now())
  }

  /** How long ago the client last took, or confirmed, something that the hub waited for, in ms. Undefined: never, or no such client. */
  sinceSend(id: string): number | undefined {
    const at = this.#clients.get(id as ClientId)?.lastSendAt
    return at === undefined ? undefined : this.#options.scheduler.now() - at
  }

  // ---- subscriptions

  /**
   * From now on the client gets what is published to the topic; a second subscription changes nothing but the policy wish.
   * Throws TOPIC_INVALID, TOPIC_UNKNOWN, CONNECTION_NOT_FOUND, LIMIT_EXCEEDED, POLICY_DENIED, SHUTTING_DOWN.
   */
  subscribe(id: string, topicName: string, options: SubscribeOptions = {}): Subscription {
    this.#checkOpen()
    const client = this.#client(id)
    const name = parseTopicName(topicName)
    const { links } = client.outbox
    if (!links.has(name) && links.size >= this.limits.maxSubscriptionsPerClient) {
      throw tooMany('subscriptions of one client', this.limits.maxSubscriptionsPerClient)
    }
    const topic = this.#topic(name)
    checkAllowed(topic, options.policy)
    const existing = links.get(name)
    if (existing) {
      existing.wish = options.policy
      this.#adopt(existing, client)
      this.events.emit('wish', { id: client.id, topic: name })
      return { topic: name, position: topic.position, recovered: false }
    }
    this.#delivery.seal(topic)
    const link = new Link(client.outbox, topic, topic.seq, options.policy)
    const recovered = this.#join(link, client, options.after)
    if (topic.links.length === 1) this.#settled(this.#options.broker.join(name), 'broker join')
    this.events.emit('subscribe', { id: client.id, topic: name })
    return { topic: name, position: { epoch: topic.epoch, seq: link.base }, recovered }
  }

  /** False: the client or the subscription is not there. What was published before is still delivered. */
  unsubscribe(id: string, topicName: string): boolean {
    const client = this.#clients.get(id as ClientId)
    const name = parseTopicName(topicName)
    const link = client?.outbox.links.get(name)
    if (client === undefined || link === undefined) return false
    this.#delivery.seal(link.topic)
    if (link.closed) return false
    this.#unlink(client, link)
    this.events.emit('unsubscribe', { id: client.id, topic: name })
    return true
  }

  /** Descriptions, and not the connections: nobody but the outbox may write (I3). */
  *getClientsForTopic(topicName: string): Iterable<ClientInfo> {
    const now = this.#options.scheduler.now()
    for (const client of this.#clientsOn(topicName)) yield clientInfo(client, now)
  }

  #clientsOn(topicName: string): Registration[] {
    const links = this.#topics.get(parseTopicName(topicName))?.links ?? []
    return links.flatMap(({ clientId }) => this.#clients.get(clientId) ?? [])
  }

  /** Undefined where the client is not subscribed to the topic. */
  getSubscription(id: string, topicName: string): SubscriptionInfo | undefined {
    const link = this.#clients.get(id as ClientId)?.outbox.links.get(parseTopicName(topicName))
    return link && subscriptionInfo(link)
  }

  // ---- data

  /**
   * Publishes through the broker: to subscribers here and on other nodes. The bytes belong to the hub from now on (I5).
   * A promise only where the broker needs one. Throws TOPIC_INVALID, TOPIC_UNKNOWN, MESSAGE_TOO_LARGE, INVALID_MESSAGE, SHUTTING_DOWN.
   */
  publish(
    topicName: string,
    data: Uint8Array,
    options: RouteOptions = {},
  ): RouteResult | undefined | Promise<RouteResult | undefined> {
    return this.#options.broker.publish(this.#publication(topicName, data, options))
  }

  /** Routes to the subscribers of this node only, without the broker. Same checks and errors as `publish`. */
  routeData(topicName: string, data: Uint8Array, options: RouteOptions = {}): RouteResult {
    return this.#route(this.#publication(topicName, data, options))
  }

  /**
   * Puts a message for one client into its outbox, after what was published to its topics before (see Hub.send). `settled` is told once,
   * never from inside: nothing when the connection took it, or why it did not. Throws CONNECTION_NOT_FOUND, UNSUPPORTED_PAYLOAD, LIMIT_EXCEEDED,
   * CIRCUIT_OPEN.
   */
  post(id: string, direct: Direct, settled: (error: HubError | undefined) => void): PostedMessage {
    const client = this.#client(id)
    const { outbox } = client
    const { connection } = outbox
    if (connection.circuit === 'open') throw circuitOpen(outbox.id)
    const frame = connection.send === undefined ? direct.encoded(connection.codec) : undefined
    if (frame === null) throw notCarried(outbox.id, connection.protocol, direct.message.contentType)
    const parcel = new Parcel(direct.message, frame, error => {
      if (error === undefined) client.lastSendAt = this.#options.scheduler.now()
      settled(error)
    })
    const most = this.limits.maxQueuedBytesPerClient
    const exceeds = (): boolean => outbox.parcelBytes > 0 && outbox.parcelBytes + parcel.bytes > most
    // What waits for nothing but the tick goes now.
    if (exceeds()) this.#delivery.flush(outbox)
    if (exceeds()) throw tooMany(`bytes of messages sent to ${outbox.id} alone that wait`, most)
    this.#delivery.post(outbox, parcel)
    return {
      confirms: connection.confirms === true,
      cancel(error) {
        outbox.withdraw(parcel)
        parcel.cancel(error)
      },
    }
  }

  /**
   * Asks the peer whether it is there, after everything that it is owed already. `answer` comes once, if at all: who asks waits no longer
   * than suits him. False: its protocol cannot ask. Throws CONNECTION_NOT_FOUND.
   */
  ping(id: string, answer: (active: boolean) => void): boolean {
    const { connection } = this.#client(id).outbox
    connection.ping?.(answer)
    return connection.ping !== undefined
  }

  /**
   * The client has everything of the topic up to `position`, and need not be sent it again. Answers how many messages that settles: 0 where
   * nothing was waited for. Throws CONNECTION_NOT_FOUND, NOT_SUBSCRIBED, POSITION_INVALID.
   */
  acknowledge(id: string, topicName: string, position: Position): number {
    const client = this.#client(id)
    const name = parseTopicName(topicName)
    const link = client.outbox.links.get(name)
    if (link === undefined) throw new HubError('NOT_SUBSCRIBED', `topic: ${client.id} is not subscribed to ${name}`)
    const { epoch, sealed } = link.topic
    const seq = link.acks?.last ?? sealed
    if (position.epoch !== epoch || !(position.seq <= seq)) {
      const last = `${epoch}-${seq}`
      throw new HubError('POSITION_INVALID', `position: the last of ${name} that ${client.id} was sent is ${last}`)
    }
    return this.#confirmed(client, name, position.seq, true)
  }

  // ---- policies

  /** For everyone on the topic who has no wish or class of their own, at once and without a reconnect. Null: back to the default. */
  setDeliveryPolicy(topicName: string, policy: DeliveryPolicy | null): void {
    const name = parseTopicName(topicName)
    if (policy === null) {
      this.#policies.delete(name)
    } else {
      if (!this.#policies.has(name) && this.#policies.size >= this.limits.maxTopics) {
        throw tooMany('topics with a policy', this.limits.maxTopics)
      }
      this.#policies.set(name, policy)
    }
    const topic = this.#topics.get(name)
    if (topic === undefined) return
    topic.policy = this.getDeliveryPolicy(name)
    this.#delivery.seal(topic)
    for (const link of [...topic.links]) {
      const client = this.#clients.get(link.clientId)
      if (client) this.#adopt(link, client)
    }
  }

  getDeliveryPolicy(topicName: string): DeliveryPolicy {
    const name = parseTopicName(topicName)
    const set = this.#policies.get(name) ?? this.#topics.get(name)?.spec.policy
    return set ?? this.#options.topics.resolve(name).policy ?? this.#options.policy
  }

  /** The client's class: it wins over the topic's policy on all its subscriptions. Null: none. Throws CONNECTION_NOT_FOUND. */
  setClientPolicy(id: string, policy: DeliveryPolicy | null): void {
    const client = this.#client(id)
    if (policy) for (const link of client.outbox.links.values()) checkAllowed(link.topic, policy)
    client.policy = policy ?? undefined
    for (const link of [...client.outbox.links.values()]) this.#adopt(link, client)
  }

  // ---- monitoring and end

  getConnectionStats(): ConnectionStats {
    const uptime = this.#options.scheduler.now() - this.#started
    return connectionStats(this.#clients, this.#topics, this.#counters, this.#budget.used, uptime)
  }

  *getTopics(): Iterable<TopicInfo> {
    for (const topic of this.#topics.values()) yield topicInfo(topic)
  }

  /** Null: nobody has published or subscribed to it of late. Throws TOPIC_INVALID. */
  getTopic(topicName: string): TopicInfo | null {
    const topic = this.#topics.get(parseTopicName(topicName))
    return topic ? topicInfo(topic) : null
  }

  /** What the registry says of it. Throws TOPIC_INVALID, TOPIC_UNKNOWN. */
  resolveTopic(topicName: string) {
    return this.#options.topics.resolve(topicName)
  }

  /** From now on new clients, subscriptions and publications are refused with SHUTTING_DOWN; what is under way goes on. Idempotent. */
  drain(): void {
    this.#draining = true
  }

  get draining(): boolean {
    return this.#draining
  }

  /** Refuses new work, hands over what it can, closes every client as `shutdown`. Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#draining = true
    this.#delivery.hasten()
    for (const client of [...this.#clients.values()]) this.#remove(client, 'shutdown')
    this.#housekeeping[Symbol.dispose]()
    this.#delivery.sweeper.stop()
    await this.#options.broker.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  // ---- inside

  #publication(topicName: string, data: Uint8Array, options: RouteOptions): Publication {
    this.#checkOpen()
    const topic = parseTopicName(topicName)
    if (!(data instanceof Uint8Array)) {
      throw new HubError('INVALID_MESSAGE', `data: a message is a Uint8Array or Buffer, not ${typeof data}`)
    }
    const spec = this.#topics.get(topic)?.spec ?? this.#options.topics.resolve(topic)
    if (data.byteLength > spec.maxMessageBytes) {
      throw new HubError(
        'MESSAGE_TOO_LARGE',
        `data: ${data.byteLength} bytes are more than the ${spec.maxMessageBytes} that ${topic} takes in one message`,
      )
    }
    const { contentType = spec.contentType ?? OCTETS, key, correlationId } = options
    return { topic, data, contentType, key, correlationId }
  }

  #route({ topic: name, data, contentType, key, correlationId }: Publication): RouteResult {
    const topic = this.#topic(name)
    const at = this.#options.scheduler.now()
    const seq = ++topic.seq
    const { epoch } = topic
    const { length: matched } = topic.links
    topic.contentType = contentType
    const message: Message = { topic: name, epoch, seq, payload: data, contentType, key, correlationId, at }
    const result = { position: { epoch, seq }, matched, behind: matched - topic.live }
    this.#counters.published++
    this.#counters.publishedBytes += data.byteLength
    this.#delivery.route(topic, message)
    return result
  }

  #client(id: string): Registration {
    const client = this.#clients.get(id as ClientId)
    if (client === undefined)
      throw new HubError('CONNECTION_NOT_FOUND', `client: no client ${JSON.stringify(id)} is connected`)
    return client
  }

  #topic(name: TopicName): Topic {
    const known = this.#topics.get(name)
    if (known) return known
    if (this.#topics.size >= this.limits.maxTopics) this.#tidy()
    if (this.#topics.size >= this.limits.maxTopics) throw tooMany('topics', this.limits.maxTopics)
    const spec = this.#options.topics.resolve(name)
    const epoch = `${this.#options.epoch}${(this.#epochs++).toString(36)}`
    const policy = this.#policies.get(name) ?? spec.policy ?? this.#options.policy
    const topic = new Topic(spec, epoch, policy, this.#counters, this.#budget)
    this.#topics.set(name, topic)
    return topic
  }

  /** Puts a new link on its topic, with what it missed waiting for it. Answers whether the asked position was found. */
  #join(link: Link, client: Registration, from: Position | 'oldest' | undefined): boolean {
    const { topic } = link
    // The topic's history: while somebody is behind, the log holds more than that.
    const { messages, bytes } = topic.spec.history
    const kept = Math.max(topic.log.first - 1, topic.log.floor(messages, bytes))
    const oldest = { epoch: topic.epoch, seq: Math.min(kept, topic.sealed) }
    const after = from === 'oldest' ? oldest : from
    const found = after !== undefined && after.epoch === topic.epoch && after.seq <= topic.seq
    link.adopt(link.wish ?? client.policy ?? topic.policy)
    topic.add(link)
    client.outbox.links.set(topic.name, link)
    if (found) link.replay(after.seq)
    if (after !== undefined && !found && topic.seq > 0) link.noteGap(1, topic.seq, null, 'epoch')
    if (link.holding || link.gapCount !== 0) {
      this.#delivery.sweeper.watch(link.outbox)
      this.#delivery.wake(link.outbox)
    }
    return found
  }

  /** The policy in force: the subscriber's wish, else the client's class, else the topic's. What already waits stays. */
  #adopt(link: Link, client: Registration): void {
    const policy = link.wish ?? client.policy ?? link.topic.policy
    if (policy === link.policy) return
    if (link.behind && policy.backlog.kind !== link.policy.backlog.kind) {
      const waiting = [...link.topic.unread(link)]
      link.topic.promote(link)
      link.adopt(policy)
      link.hold(waiting, link.topic.sealed, true)
    } else {
      link.adopt(policy)
    }
    this.#delivery.sweeper.watch(link.outbox)
    this.#delivery.wake(link.outbox)
  }

  /** The receiver may have room for more now. */
  #confirmed(client: Registration, topic: string, seq: number, byReceiver: boolean): number {
    const now = this.#options.scheduler.now()
    client.lastSendAt = now
    const link = client.outbox.links.get(topic as TopicName)
    // Of what a connection took after one that it gave up it says nothing: all of that will be sent again.
    if (link === undefined || (link.acks?.stuck && !byReceiver)) return 0
    const count = link.confirm(seq, now)
    if (count > 0 && (link.behind || link.holding)) this.#delivery.wake(client.outbox)
    return count
  }

  #remove(client: Registration, reason: CloseReason, reconnectMs?: number): void {
    // A handler of another one's end may have been quicker.
    if (this.#clients.get(client.id) !== client) return
    client.outbox.condemned = true
    this.#clients.delete(client.id)
    this.#delivery.sweeper.forget(client.outbox)
    client.outbox.discard(reason)
    const { protocol } = client.outbox.connection
    this.#counters.ended(protocol, reason)
    const topics = [...client.outbox.links.keys()]
    for (const link of [...client.outbox.links.values()]) this.#unlink(client, link)
    try {
      client.outbox.connection.close(reason, reconnectMs)
    } catch (error) {
      this.events.emit('fault', { error, where: `close of ${protocol}` })
    }
    for (const topic of topics) this.events.emit('unsubscribe', { id: client.id, topic })
    this.events.emit('unregister', { id: client.id, protocol, reason })
  }

  #unlink(client: Registration, link: Link): void {
    const { topic } = link
    client.outbox.links.delete(topic.name)
    this.#delivery.leave(link)
    if (topic.links.length === 0) this.#settled(this.#options.broker.leave(topic.name), 'broker leave')
  }

  /** Lets messages past their age go, and topics that nobody uses. */
  #tidy(): void {
    const now = this.#options.scheduler.now()
    for (const topic of this.#topics.values()) {
      if (topic.log.count > 0) this.#delivery.settle(topic, now)
      if (topic.links.length + topic.log.count + topic.pending.length === 0) this.#topics.delete(topic.name)
    }
  }

  /** A broker's failure outside of publish has no caller to tell. */
  #settled(result: void | Promise<void>, where: string): void {
    if (result instanceof Promise) result.catch(error => this.events.emit('fault', { error, where }))
  }

  #checkOpen(): void {
    if (this.#draining) throw new HubError('SHUTTING_DOWN', 'the hub is shutting down')
  }
}
