import {
  checkPublication,
  checkSession,
  connectionRule,
  contentTypeRule,
  readFilter,
  readHistory,
  readRegister,
  readSubscribe,
  reasonRule,
} from './arguments.ts'
import { answered, attempt } from './attempt.ts'
import type { Publication, RouteResult } from './broker.ts'
import { Budget } from './budget.ts'
import { type BackEdge, Registration } from './client.ts'
import type { Client, CloseReason, Connection } from './connection.ts'
import {
  type ClientFilter,
  type History,
  type HistoryOptions,
  type ManagerOptions,
  NO_OPTIONS,
  type PatternSubscription,
  type PostedMessage,
  type PresenceInfo,
  type PublishResult,
  type RegisterOptions,
  type RouteOptions,
  type SubscribeOptions,
  type Subscription,
  type WantedTopic,
} from './contract.ts'
import { Delivery } from './delivery.ts'
import { HubError } from './errors.ts'
import { Events } from './events.ts'
import { type ClientId, type Position, parseClientId, parseTopicName, positionRule, type TopicName } from './ids.ts'
import { heldBytes, ownPayload } from './ledger.ts'
import { DEFAULT_LIMITS, type HubLimits, readLimits } from './limits.ts'
import { Membership } from './membership.ts'
import type { Message } from './message.ts'
import { callable, checkValue, flag, list } from './options.ts'
import { Outbox } from './outbox.ts'
import { type Direct, directRule, Parcel } from './parcel.ts'
import { parsePattern } from './patterns.ts'
import type { DeliveryPolicy } from './policy.ts'
import { checkPolicy } from './policy-check.ts'
import { Publishers } from './publishers.ts'
import {
  circuitOpen,
  mismatch,
  notBytes,
  notCarried,
  notConnected,
  presenceOff,
  taken,
  tooFast,
  tooLarge,
  tooMany,
  tooManyOf,
} from './refusals.ts'
import type { Session } from './sessions.ts'
import {
  clientInfo,
  connectionStats,
  explainPolicy,
  HubCounters,
  type Sums,
  subscriptionInfo,
  sumUp,
  topicInfo,
} from './snapshot.ts'
import type { ClientInfo, ConnectionStats, PolicyExplanation, SubscriptionInfo, TopicInfo } from './stats.ts'
import { ownText, SharedTexts } from './texts.ts'
import type { TopicSpec } from './topics.ts'
import { checkUser, Users } from './users.ts'
import type { ClientWatcher } from './watcher.ts'

/** How often topics are looked through for messages past their age, in ms. */
const HOUSEKEEPING_MS = 1000
/** How long the end of a hub waits for its broker, in ms. */
const BROKER_CLOSE_MS = 10_000
const OCTETS = 'application/octet-stream'

/**
 * The single owner of who is connected, who subscribed to what, and what each of them is still owed.
 * Every method is synchronous up to the broker and may be called from any event handler. What is wrong is thrown as a
 * HubError.
 */
export class ConnectionManager {
  readonly events = new Events()
  readonly #options: ManagerOptions
  readonly #delivery: Delivery
  readonly #clients = new Map<ClientId, Registration>()
  readonly #users = new Users()
  readonly #membership: Membership
  #limits: HubLimits
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
    untold: ({ outbox }, gap) => {
      const link = outbox.links.get(gap.topic)
      if (link !== undefined) this.#delivery.retell(link, gap)
    },
    close: (client, reason) => {
      if (this.#clients.get(client.id) === client) this.unregisterClient(client.id, reason)
    },
  }
  /** The content type that was checked last. A program uses few, so most calls skip the check. */
  #checkedType = OCTETS
  readonly #types = new SharedTexts()
  readonly #publishers: Publishers
  #draining = false
  #closed = false

  constructor(options: ManagerOptions) {
    this.#options = options
    this.#limits = { ...DEFAULT_LIMITS, ...readLimits(options.limits ?? {}, 'CONFIG_INVALID') }
    this.#budget = new Budget(() => this.#limits.maxRetainedBytes)
    this.#publishers = new Publishers(this.#budget)
    this.#delivery = new Delivery(options.scheduler, this.events, () => this.#limits.maxQueuedBytesPerClient, {
      reap: (outbox, reason) => {
        const client = this.#clients.get(outbox.id)
        if (client?.outbox === outbox) this.#remove(client, reason)
      },
      relieve: () =>
        this.#budget.relieve({
          topics: this.#membership.topics.values(),
          clients: this.#lastToGo(),
          now: () => options.scheduler.now(),
          end: client => this.#remove(client, 'slow'),
        }),
      handed: ms => options.onHanded?.(ms),
    })
    this.#membership = new Membership(options, this.#delivery, this.events, {
      limits: () => this.#limits,
      counters: this.#counters,
      clients: this.#clients,
      budget: this.#budget,
      call: (where, run) => this.#call(where, run),
    })
    this.#started = options.scheduler.now()
    this.#housekeeping = options.scheduler.every(HOUSEKEEPING_MS, () => this.#membership.tidy())
    const started = options.broker.start(publication => this.#route(publication), this.#delivery.fault)
    this.#call('broker start', () => started)
  }

  // ---- clients

  /**
   * Registers an open connection. The transport keeps the returned handle and speaks through it; whoever disposes of it
   * says that the peer has gone. Throws CLIENT_ID_INVALID, CLIENT_EXISTS, PERMISSION_DENIED (the id is another user's),
   * LIMIT_EXCEEDED, QUOTA_EXCEEDED, REQUEST_INVALID, SHUTTING_DOWN, and then the client that had the id has it still.
   */
  registerClient(id: string, connection: Connection, given: RegisterOptions = {}): Client {
    this.#checkOpen()
    const clientId = parseClientId(id)
    checkValue(connection, connectionRule, 'connection')
    const options = readRegister(given)
    this.#checkRoom(clientId, options)
    const outbox = new Outbox(clientId, connection, this.#budget, this.#delivery.stalls, this.#delivery.fault)
    const older = this.#clients.get(clientId)
    if (older === undefined) return this.#add(outbox, options)
    // Handlers of the end of the older client run when the id has its new owner: none of them can take it.
    return this.events.together(() => {
      this.#remove(older, 'replaced')
      // The older connection's `close` may have called the hub.
      this.#checkOpen()
      this.#checkRoom(clientId, { ...options, ifExists: 'refuse' })
      return this.#add(outbox, options)
    })
  }

  #add(outbox: Outbox, options: RegisterOptions): Client {
    const client = new Registration(outbox, options, this.#options.scheduler.now(), this.#back)
    this.#clients.set(outbox.id, client)
    this.#users.add(client)
    this.#counters.opened(outbox.protocol)
    const { restore } = options
    const { user } = client.session
    this.events.emit('register', { id: outbox.id, client, protocol: outbox.protocol, user, restore })
    return client
  }

  #tooMany(limit: keyof HubLimits, what: string): HubError {
    return this.#counters.refuse(limit, tooMany(what, this.#limits[limit], `limits.${limit}`))
  }

  #checkRoom(id: ClientId, { ifExists, session, restore }: RegisterOptions): void {
    const { maxClients, maxClientsPerUser } = this.#limits
    const older = this.#clients.get(id)
    const user = session?.user
    if (older && ifExists === 'refuse') throw taken(id, 'connected already')
    const same = older?.session.user === user && older?.session.backend === session?.backend
    if (older && !same && ifExists !== 'seize') {
      throw new HubError('PERMISSION_DENIED', `client: ${id} is connected as another user; choose another id`)
    }
    // A client without a user may not take an id that a backend registered: it would get what is meant for that URL.
    if (older?.restorable && user === undefined && restore === undefined && ifExists !== 'seize') {
      throw new HubError('PERMISSION_DENIED', `client: ${id} was registered by a backend; choose another id`)
    }
    if (this.#clients.size - (older ? 1 : 0) >= maxClients) throw this.#tooMany('maxClients', 'clients')
    // The older client may be of another user: then its end makes no room for this one.
    const own = older?.session.user === user ? 1 : 0
    if (user !== undefined && this.#users.count(user) - own >= maxClientsPerUser) {
      const error = tooManyOf('clients of one user', maxClientsPerUser, 'limits.maxClientsPerUser')
      throw this.#counters.refuse('maxClientsPerUser', error)
    }
  }

  /**
   * Ends a client: what was published before is flushed as far as its connection takes it, every subscription is gone
   * on return.
   */
  unregisterClient(id: string, reason: CloseReason = 'peer', reconnectMs?: number): boolean {
    checkValue(reason, reasonRule, 'reason')
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

  // ---- users

  /** Has this user at least one client? Throws REQUEST_INVALID where the user is no string. */
  isOnline(user: string): boolean {
    checkUser(user)
    return this.#users.has(user)
  }

  /** The ids of the user's clients. Throws as `isOnline`. */
  connectionsOf(user: string): ClientId[] {
    checkUser(user)
    return this.#users.of(user).map(({ id }) => id)
  }

  /** Users that are online. */
  getUsers(): Iterable<string> {
    return this.#users.names()
  }

  /** Ends all clients that the user has now. Answers how many there were. Throws as `isOnline`. */
  disconnectUser(user: string, reason: CloseReason = 'ended'): number {
    checkUser(user)
    checkValue(reason, reasonRule, 'reason')
    const clients = this.#users.of(user)
    // A handler of the end of one client may have registered another with the id of the next.
    for (const client of clients) if (this.#clients.get(client.id) === client) this.unregisterClient(client.id, reason)
    return clients.length
  }

  /** The handle of the client that has the id now. Undefined: no such client. */
  handleOf(id: string): Client | undefined {
    return this.#clients.get(id as ClientId)
  }

  /** Undefined: no such client. */
  sessionOf(id: string): Session | undefined {
    return this.#clients.get(id as ClientId)?.session
  }

  /** A newer session of the same user. Throws CONNECTION_NOT_FOUND, PERMISSION_DENIED. */
  setSession(id: string, session: Session): void {
    const client = this.#client(id)
    checkSession(session)
    if (client.session.user !== session.user) {
      throw new HubError('PERMISSION_DENIED', `session: it is not of the user that ${client.id} is connected as`)
    }
    client.session = session
    this.events.emit('session', { id: client.id, session })
  }

  *getActiveClients(): Iterable<ClientInfo> {
    const now = this.#options.scheduler.now()
    for (const client of this.#clients.values()) yield clientInfo(client, now)
  }

  /** Ids of the clients that match a filter. Throws REQUEST_INVALID where it names nothing, TOPIC_INVALID. */
  selectClients(filter: ClientFilter): ClientId[] {
    const { topic, user, protocol, except } = readFilter(filter)
    const out = new Set<string>(except)
    const selected: ClientId[] = []
    // One loop: there may be 50,000 clients.
    for (const { internal, id, session, outbox } of this.#candidates(topic, user)) {
      if (internal || out.has(id)) continue
      if (user !== undefined && session.user !== user) continue
      if (protocol === undefined || outbox.protocol === protocol) selected.push(id)
    }
    return selected
  }

  #candidates(topic: string | undefined, user: string | undefined): Iterable<Registration> {
    if (topic !== undefined) return this.#clientsOn(topic)
    return user === undefined ? this.#clients.values() : this.#users.of(user)
  }

  /** Throws CONNECTION_NOT_FOUND. */
  getClient(id: string): ClientInfo {
    return clientInfo(this.#client(id), this.#options.scheduler.now())
  }

  /**
   * How long ago the client last took, or confirmed, something that the hub waited for, in ms. Undefined: never, or no
   * such client.
   */
  sinceSend(id: string): number | undefined {
    const at = this.#clients.get(id as ClientId)?.lastSendAt
    return at === undefined ? undefined : this.#options.scheduler.now() - at
  }

  // ---- subscriptions

  /**
   * From now on the client gets what is published to the topic; a second subscription changes nothing but the policy
   * wish. Throws TOPIC_INVALID, TOPIC_UNKNOWN, CONNECTION_NOT_FOUND, LIMIT_EXCEEDED, POLICY_DENIED, POLICY_INVALID,
   * REQUEST_INVALID, SHUTTING_DOWN.
   */
  subscribe(id: string, topicName: string, options: SubscribeOptions = {}): Subscription {
    this.#checkOpen()
    return this.#membership.subscribe(this.#client(id), parseTopicName(topicName), readSubscribe(options, 'subscribe'))
  }

  /**
   * Throws as `subscribe` would where a new client with this id may not have these subscriptions, and there is a client
   * that it would replace. Else nothing.
   */
  checkSubscriptions(id: string, topics: readonly WantedTopic[]): void {
    checkValue(topics, list, 'topics')
    const older = this.#clients.get(id as ClientId)
    if (older !== undefined) this.#membership.check(older, topics)
  }

  /** False: the client or the subscription is not there. What was published before is still delivered. */
  unsubscribe(id: string, topicName: string): boolean {
    const client = this.#clients.get(id as ClientId)
    const name = parseTopicName(topicName)
    return client !== undefined && this.#membership.unsubscribe(client, name)
  }

  /**
   * A standing order: the client is subscribed to each topic that matches the pattern (docs/topics.md) and lets
   * patterns match it, those that come into being included, before their first message. It gets each message once,
   * whatever overlaps. `after` resumes the topic that the position is of; the others tell a gap of unknown size. An
   * order that is there already stays as it is. Throws TOPIC_INVALID, CONNECTION_NOT_FOUND, LIMIT_EXCEEDED,
   * POLICY_INVALID, REQUEST_INVALID, SHUTTING_DOWN.
   */
  subscribePattern(id: string, pattern: string, options: SubscribeOptions = {}): PatternSubscription {
    this.#checkOpen()
    const read = readSubscribe(options, 'subscribePattern')
    return this.#membership.subscribePattern(this.#client(id), parsePattern(pattern), read)
  }

  /** False: the client or the order is not there. */
  unsubscribePattern(id: string, pattern: string): boolean {
    const client = this.#clients.get(id as ClientId)
    const parsed = parsePattern(pattern)
    return client !== undefined && this.#membership.unsubscribePattern(client, parsed)
  }

  /** Descriptions, and not the connections: only the outbox may write (I3). */
  *getClientsForTopic(topicName: string): Iterable<ClientInfo> {
    const now = this.#options.scheduler.now()
    for (const client of this.#clientsOn(topicName)) yield clientInfo(client, now)
  }

  #clientsOn(topicName: string): Registration[] {
    const clients: Registration[] = []
    for (const { clientId } of this.#membership.topics.get(parseTopicName(topicName))?.links ?? []) {
      const client = this.#clients.get(clientId)
      if (client !== undefined) clients.push(client)
    }
    return clients
  }

  /** Undefined where the client is not subscribed to the topic. */
  getSubscription(id: string, topicName: string): SubscriptionInfo | undefined {
    const client = this.#clients.get(id as ClientId)
    const link = client?.outbox.links.get(parseTopicName(topicName))
    return client && link && subscriptionInfo(link, client)
  }

  // ---- who is there, and what was said

  /** Who is on a topic that tells it. Throws TOPIC_INVALID, TOPIC_UNKNOWN, PRESENCE_OFF. */
  presence(topicName: string): PresenceInfo[] {
    return this.#present(topicName).map(({ id, session: { user, info } }) => ({ client: id, user, info }))
  }

  /** `users` are those that have one; a user on two devices counts once. Throws as `presence`. */
  presenceStats(topicName: string): { readonly clients: number; readonly users: number } {
    const clients = this.#present(topicName)
    const users = new Set(clients.map(({ session: { user } }) => user))
    users.delete(undefined)
    return { clients: clients.length, users: users.size }
  }

  #present(topicName: string): Registration[] {
    const name = parseTopicName(topicName)
    if (!this.#membership.spec(name).presence) throw presenceOff(name)
    return this.#clientsOn(name).filter(client => !client.internal)
  }

  /** Is it part of the program itself (RegisterOptions.internal)? Presence does not tell of it. */
  isInternal(id: string): boolean {
    return this.#clients.get(id as ClientId)?.internal === true
  }

  /**
   * `history` for transports: with the hub's own messages, which must not be changed. Throws TOPIC_INVALID,
   * TOPIC_UNKNOWN, REQUEST_INVALID.
   */
  kept(topicName: string, given: HistoryOptions = {}): History<Message> {
    const name = parseTopicName(topicName)
    const options = readHistory(given)
    const topic = this.#membership.topics.get(name)
    if (topic !== undefined) return topic.history(options)
    this.#membership.spec(name)
    return this.#membership.positions.history(name, options)
  }

  /**
   * Would a subscription after this position, made in the same turn, recover? Seals first, because sealing trims.
   * Throws TOPIC_INVALID, TOPIC_UNKNOWN, REQUEST_INVALID.
   */
  recovers(topicName: string, after: Position): boolean {
    const topic = this.#membership.topics.get(parseTopicName(topicName))
    if (topic !== undefined) this.#delivery.seal(topic)
    return this.kept(topicName, { after }).recovered
  }

  /** Where the topic is, or was when it was forgotten. Undefined: no position of it is known. Throws TOPIC_INVALID. */
  positionOf(topicName: string): Position | undefined {
    return this.#membership.position(parseTopicName(topicName))
  }

  // ---- data

  /**
   * Publishes bytes through the broker: to subscribers here and on other nodes. For transports and routes; applications
   * call Hub.publish. The bytes belong to the hub from now on (I5). A promise only where the broker needs one. Throws
   * or rejects with TOPIC_INVALID, TOPIC_UNKNOWN, MESSAGE_TOO_LARGE, INVALID_MESSAGE, SCHEMA_MISMATCH, RATE_LIMITED,
   * SHUTTING_DOWN, and what the broker throws.
   */
  publishBytes(
    topicName: string,
    data: Uint8Array,
    options: RouteOptions = NO_OPTIONS,
  ): PublishResult | Promise<PublishResult> {
    const publication = this.#publication(topicName, data, options)
    const result = this.#options.broker.publish(publication)
    // The common case first: it needs no instanceof.
    return isRouteResult(result) ? result : this.#settleResult(result, publication)
  }

  #settleResult(
    result: RouteResult | undefined | Promise<RouteResult | undefined>,
    publication: Publication,
  ): PublishResult | Promise<PublishResult> {
    if (result === undefined) return this.#placeless(publication)
    return isRouteResult(result) ? result : result.then(known => this.#settleResult(known, publication))
  }

  /** Accepted by a broker that does not tell the message's place: only the subscribers of this node are known. */
  #placeless({ topic: name }: Publication): PublishResult {
    const { links = [], live = 0 } = this.#membership.topics.get(name) ?? {}
    return { position: { epoch: '', seq: 0 }, matched: links.length, behind: links.length - live, unsupported: 0 }
  }

  /**
   * Routes bytes to the subscribers of this node only: synchronous, without the broker, `beforePublish` and tracing.
   * Throws as `publishBytes` does. For a hot loop that publishes to one node; without a contentType the bytes are
   * application/octet-stream.
   */
  routeData(topicName: string, data: Uint8Array, options: RouteOptions = NO_OPTIONS): RouteResult {
    return this.#route(this.#publication(topicName, data, options))
  }

  /**
   * Puts a message for one client into its outbox, after what was published to its topics before (see Hub.send).
   * `settled` is told once, never from inside: nothing when the connection took it, or why it did not. Throws
   * CONNECTION_NOT_FOUND, UNSUPPORTED_PAYLOAD, LIMIT_EXCEEDED, CIRCUIT_OPEN, REQUEST_INVALID.
   */
  post(id: string, direct: Direct, settled: (error: HubError | undefined) => void): PostedMessage {
    checkValue(direct, directRule, 'direct')
    checkValue(settled, callable, 'settled')
    const client = this.#client(id)
    const { outbox } = client
    const { connection } = outbox
    if (client.circuit === 'open') throw circuitOpen(outbox.id)
    const frame =
      connection.send === undefined ? direct.encoded(outbox.codec, this.#budget, this.#delivery.fault) : undefined
    if (frame === null) throw notCarried(outbox.id, outbox.protocol, direct.message.contentType)
    const parcel = new Parcel(direct.message, frame, {
      settled: error => {
        outbox.countSend(-1, parcel)
        if (error === undefined) client.lastSendAt = this.#options.scheduler.now()
        try {
          settled(error)
        } catch (thrown) {
          this.#delivery.fault('settled of post', thrown)
        }
      },
      freed: () => direct.release(this.#budget),
    })
    const most = this.limits.maxQueuedBytesPerClient
    const exceeds = (): boolean => outbox.parcelBytes > 0 && outbox.parcelBytes + parcel.bytes > most
    // Parcels that wait for the tick alone are written now.
    if (exceeds()) this.#delivery.flush(outbox)
    // The write may have ended the client: a parcel in its outbox would never be settled.
    if (this.#clients.get(outbox.id) !== client) throw notConnected(outbox.id)
    if (exceeds())
      throw this.#tooMany('maxQueuedBytesPerClient', `bytes of messages sent to ${outbox.id} alone that wait`)
    direct.hold(this.#budget)
    outbox.countSend(1, parcel)
    this.#delivery.post(outbox, parcel)
    return {
      confirms: outbox.confirms,
      cancel(error) {
        outbox.withdraw(parcel)
        parcel.cancel(error)
      },
    }
  }

  /**
   * Asks the peer whether it is there, after everything that it is owed already. `answer` is called once or never, so
   * the caller needs a time limit. False: its protocol cannot ask. Throws CONNECTION_NOT_FOUND.
   */
  ping(id: string, answer: (active: boolean) => void): boolean {
    const { outbox } = this.#client(id)
    const hear = (active: boolean): void =>
      answer(outbox.ask('ping', () => answered(active, flag, 'the answer to ping')) === true)
    const asks = outbox.ask('ping', connection => {
      const asked: unknown = connection.ping?.(hear)
      return asked instanceof Promise ? asked.then(() => true) : connection.ping !== undefined
    })
    // A connection that throws, or answers nonsense, cannot say that its peer is there.
    if (asks === undefined) answer(false)
    return asks !== false
  }

  /**
   * The client has everything of the topic up to `position`, and need not be sent it again. Answers how many messages
   * that settles: 0 where nothing was waited for. Throws CONNECTION_NOT_FOUND, NOT_SUBSCRIBED, POSITION_INVALID,
   * TOPIC_INVALID, REQUEST_INVALID.
   */
  acknowledge(id: string, topicName: string, position: Position): number {
    const client = this.#client(id)
    const name = parseTopicName(topicName)
    const link = this.#link(client, name)
    const { epoch, sealed } = link.topic
    const seq = link.acks?.last ?? sealed
    checkValue(position, positionRule, 'position')
    if (position.epoch !== epoch || position.seq > seq) {
      const last = `${epoch}-${seq}`
      throw new HubError('POSITION_INVALID', `position: the last of ${name} that ${client.id} was sent is ${last}`)
    }
    return this.#confirmed(client, name, position.seq, true)
  }

  // ---- policies

  /**
   * For everyone on the topic who has no wish or class of their own, at once and without a reconnect. Null: back to the
   * default. Throws POLICY_INVALID, TOPIC_INVALID.
   */
  setDeliveryPolicy(topicName: string, policy: DeliveryPolicy | null): void {
    if (policy !== null) checkPolicy(policy)
    this.#membership.setPolicy(parseTopicName(topicName), policy)
  }

  getDeliveryPolicy(topicName: string): DeliveryPolicy {
    return this.#membership.policy(parseTopicName(topicName))
  }

  /**
   * The client's class: it wins over the topic's policy on all its subscriptions. Null: none. Throws
   * CONNECTION_NOT_FOUND, POLICY_INVALID.
   */
  setClientPolicy(id: string, policy: DeliveryPolicy | null): void {
    if (policy !== null) checkPolicy(policy)
    this.#membership.setClass(this.#client(id), policy)
  }

  /** Which policy governs a subscription, and why. Throws CONNECTION_NOT_FOUND, NOT_SUBSCRIBED, TOPIC_INVALID. */
  explainPolicy(id: string, topicName: string): PolicyExplanation {
    const client = this.#client(id)
    const link = this.#link(client, parseTopicName(topicName))
    return explainPolicy(link, client, this.#options.policy)
  }

  // ---- live changes

  get limits(): HubLimits {
    return this.#limits
  }

  /**
   * In force at once for what is new. No connected client is ended for it. Throws REQUEST_INVALID, and then nothing has
   * changed.
   */
  setLimits(limits: Partial<HubLimits>): void {
    this.#limits = { ...this.#limits, ...readLimits(limits, 'REQUEST_INVALID') }
  }

  /**
   * To be called when the registry's rules have changed. Topics in use take their new rules. Clients that may not be on
   * a topic any more are unsubscribed. `pattern` is the name of a topic or a pattern: only topics that it matches are
   * looked at. Default: all. Throws TOPIC_INVALID.
   */
  refreshTopics(pattern?: string): void {
    this.#membership.refresh(pattern === undefined ? undefined : parsePattern(pattern))
  }

  /**
   * Tells what is done for one client, until it is disposed of; one at a time. Throws CONNECTION_NOT_FOUND,
   * CLIENT_EXISTS.
   */
  watch(id: string, watcher: ClientWatcher): Disposable {
    checkValue(watcher, callable, 'watcher')
    const { outbox } = this.#client(id)
    if (outbox.watcher !== undefined) throw taken(outbox.id, 'watched already')
    const told: ClientWatcher = sighting => {
      attempt(
        () => watcher(sighting),
        error => this.#delivery.fault('watcher', error),
      )
    }
    outbox.watcher = told
    return {
      [Symbol.dispose]: () => {
        // A second call must not end the next watcher.
        if (outbox.watcher === told) outbox.watcher = undefined
      },
    }
  }

  // ---- monitoring and end

  /** The counters at this moment. The call looks at every client and topic: 40,000 of each take about 15 ms. */
  getConnectionStats(): ConnectionStats {
    const steps = sumUp(this.#clients, this.#membership.topics)
    for (;;) {
      const { done, value } = steps.next()
      if (done) return this.#statsOf(value)
    }
  }

  /**
   * The same, counted in several turns of the event loop, so that no other client waits. A client or topic that is
   * there from beginning to end is counted once; one that comes or goes meanwhile may be counted or not.
   */
  async countConnectionStats(): Promise<ConnectionStats> {
    const steps = sumUp(this.#clients, this.#membership.topics)
    for (;;) {
      const { done, value } = steps.next()
      if (done) return this.#statsOf(value)
      await new Promise<void>(resolve => this.#options.scheduler.defer(resolve))
    }
  }

  #statsOf(sums: Sums): ConnectionStats {
    const uptime = this.#options.scheduler.now() - this.#started
    const { patterns, positions, topics } = this.#membership
    const held = { clients: this.#clients.size, topics: topics.size, users: this.#users.size, patterns, positions }
    return connectionStats(sums, held, this.#counters, this.#budget.used, uptime)
  }

  /**
   * Names of the topics in use. A walk may take several turns of the event loop: a topic that is in use all the time
   * comes once.
   */
  getTopicNames(): Iterable<TopicName> {
    return this.#membership.topics.keys()
  }

  *getTopics(): Iterable<TopicInfo> {
    for (const topic of this.#membership.topics.values()) yield topicInfo(topic, this.#delivery.fault)
  }

  /** Null: the topic is not in use. Throws TOPIC_INVALID. */
  getTopic(topicName: string): TopicInfo | null {
    const topic = this.#membership.topics.get(parseTopicName(topicName))
    return topic ? topicInfo(topic, this.#delivery.fault) : null
  }

  /** What the registry says of it. Throws TOPIC_INVALID, TOPIC_UNKNOWN. */
  resolveTopic(topicName: string) {
    return this.#options.topics.resolve(topicName)
  }

  /**
   * From now on new clients, subscriptions and publications are refused with SHUTTING_DOWN; what is under way goes on.
   * Idempotent.
   */
  drain(): void {
    this.#draining = true
  }

  get draining(): boolean {
    return this.#draining
  }

  /**
   * Refuses new work, hands over what it can, closes every client as `shutdown`: all in this turn of the event loop.
   * Waits at most `brokerMs` for the broker to close. Never rejects. Idempotent. With thousands of clients Hub.shutdown
   * does so in several turns.
   */
  async close(brokerMs = BROKER_CLOSE_MS): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#draining = true
    this.#delivery.hasten()
    for (const client of [...this.#clients.values()]) this.#remove(client, 'shutdown')
    this.#housekeeping[Symbol.dispose]()
    this.#delivery.sweeper.stop()
    const { broker, scheduler } = this.#options
    let timer: Disposable | undefined
    try {
      const late = new Promise<never>((_, reject) => {
        const told = `broker: close has not ended after ${Math.round(brokerMs)} ms`
        timer = scheduler.after(brokerMs, () => reject(new Error(told)))
      })
      await Promise.race([broker.close(), late])
    } catch (error) {
      this.events.emit('fault', { error, where: 'broker close' })
    } finally {
      timer?.[Symbol.dispose]()
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  // ---- inside

  #publication(topicName: string, data: Uint8Array, options: RouteOptions): Publication {
    this.#checkOpen()
    const topic = parseTopicName(topicName)
    if (!(data instanceof Uint8Array)) throw notBytes(data)
    const spec = this.#membership.spec(topic)
    if (data.byteLength > spec.maxMessageBytes) {
      throw this.#counters.refuse('maxMessageBytes', tooLarge(spec, data.byteLength))
    }
    const { contentType = spec.contentType ?? OCTETS, key, correlationId } = options
    if (contentType !== this.#checkedType) this.#checkType(contentType)
    const publisher = spec.publisher === true ? this.#publishers.of(options.publisher) : undefined
    // The checks that few topics need are in another function, so that this one stays small enough to be inlined.
    if (spec.check !== undefined || spec.publishRate !== undefined) this.#checkRule(spec, data, contentType)
    return { topic, data, contentType, key, correlationId, publisher }
  }

  #checkType(contentType: string): void {
    checkValue(contentType, contentTypeRule, 'contentType')
    this.#checkedType = contentType
  }

  #checkRule(spec: TopicSpec, data: Uint8Array, contentType: string): void {
    const wrong = mismatch(spec, data, contentType)
    if (wrong) throw this.#counters.refuse('schema', wrong)
    const retryMs = this.#membership.topic(spec.name).throttleMs(data.byteLength, this.#options.scheduler.now())
    if (retryMs > 0) throw this.#counters.refuse('publishRate', tooFast(spec.name, retryMs))
  }

  #route(publication: Publication): RouteResult {
    checkPublication(publication)
    const { data } = publication
    const topic = this.#membership.topic(publication.topic)
    // Names of the topic, and copies: a string of the publication may keep a whole URL or line in memory.
    const { name } = topic
    const shared = this.#types.get(publication.contentType)
    const contentType = shared ?? ownText(publication.contentType)
    const key = publication.key && ownText(publication.key)
    const correlationId = publication.correlationId && ownText(publication.correlationId)
    const payload = ownPayload(data)
    const { byteLength: bytes } = payload
    const ownType = shared === undefined ? contentType : undefined
    const held = heldBytes({ bytes, key, correlationId }, ownType)
    const publisher = publication.publisher && this.#publishers.held(publication.publisher)
    const at = this.#options.scheduler.now()
    // Nothing below may throw: a number without a message would shift what later readers resume from.
    const seq = ++topic.seq
    const { epoch } = topic
    const { length: matched } = topic.links
    topic.contentType = contentType
    topic.routedAt = at
    // biome-ignore format: one literal of one shape, on the hot path
    const message: Message = { topic: name, epoch, seq, payload, bytes, contentType, key, correlationId, publisher, at, held, keepers: 0 }
    const unsupported = topic.picky === undefined ? 0 : topic.picky.unsupported(message, this.#delivery.fault)
    const result = { position: { epoch, seq }, matched, behind: matched - topic.live, unsupported }
    this.#counters.published++
    this.#counters.publishedBytes += bytes
    this.#delivery.route(topic, message)
    return result
  }

  #client(id: string): Registration {
    const client = this.#clients.get(id as ClientId)
    if (client === undefined) throw notConnected(id)
    return client
  }

  #link(client: Registration, name: TopicName) {
    const link = client.outbox.links.get(name)
    if (link) return link
    throw new HubError('NOT_SUBSCRIBED', `topic: ${client.id} is not subscribed to ${name}`)
  }

  /** Counts what was confirmed, and lets the link read on where there is room now. */
  #confirmed(client: Registration, topic: string, seq: number, byReceiver: boolean): number {
    const now = this.#options.scheduler.now()
    client.lastSendAt = now
    const link = client.outbox.links.get(topic as TopicName)
    // A connection that gave one message up gets all later ones again, so its confirmations of those do not count.
    if (link === undefined || (link.acks?.stuck && !byReceiver)) return 0
    const count = link.confirm(seq, now)
    if (count > 0 && (link.behind || link.holding)) this.#delivery.wake(client.outbox)
    return count
  }

  #remove(client: Registration, reason: CloseReason, reconnectMs?: number): void {
    // A handler of the end of another client may have removed it.
    if (this.#clients.get(client.id) !== client) return
    client.outbox.condemned = true
    this.#clients.delete(client.id)
    this.#users.remove(client)
    this.events.together(() => this.#end(client, reason, reconnectMs))
  }

  #end(client: Registration, reason: CloseReason, reconnectMs: number | undefined): void {
    const { id, outbox } = client
    const { protocol } = outbox
    // The events come first: what is called below may register the id again.
    for (const topic of outbox.links.keys()) this.events.emit('unsubscribe', { id, client, topic })
    this.events.emit('unregister', { id, client, protocol, reason })
    this.#delivery.sweeper.forget(outbox)
    outbox.discard(reason)
    this.#counters.ended(protocol, reason)
    this.#membership.leaveAll(client)
    outbox.watcher?.({ kind: 'closed', reason })
    outbox.ask('close', connection => connection.close(reason, reconnectMs))
  }

  /**
   * Clients in need of memory: asked for when the histories were not enough, and then positions go before any client
   * does.
   */
  *#lastToGo(): Iterable<Registration> {
    this.#membership.positions.clear()
    yield* this.#clients.values()
  }

  /** Calls code that is not the hub's. What it throws, or its promise rejects with, is told as a fault. */
  #call(where: string, run: () => void | Promise<void>): void {
    try {
      const result = run()
      if (result instanceof Promise) result.catch(error => this.events.emit('fault', { error, where }))
    } catch (error) {
      this.#delivery.fault(where, error)
    }
  }

  #checkOpen(): void {
    if (this.#draining) throw new HubError('SHUTTING_DOWN', 'the hub is shutting down')
  }
}

function isRouteResult(result: RouteResult | undefined | Promise<RouteResult | undefined>): result is RouteResult {
  return result !== undefined && 'position' in result
}
