import { randomBytes } from 'node:crypto'
import { checkedBroker } from './brokers/checked.ts'
import { memoryBroker } from './brokers/memory.ts'
import { contentTypeRule, sessionRule } from './core/arguments.ts'
import type { Broker } from './core/broker.ts'
import {
  type ClientFilter,
  type History,
  type HistoryOptions,
  NO_OPTIONS,
  type PublicMessage,
  type Publisher,
  type PublishResult,
  type RouteOptions,
} from './core/contract.ts'
import { HubError } from './core/errors.ts'
import type { HubLimits } from './core/limits.ts'
import { ConnectionManager } from './core/manager.ts'
import type { Message } from './core/message.ts'
import {
  anything,
  callable,
  checkValue,
  having,
  integer,
  MAX_TIMER_MS,
  nested,
  number,
  object,
  period,
  type Rules,
  readOptions,
  text,
} from './core/options.ts'
import type { DeliveryPolicy } from './core/policy.ts'
import { policyRule } from './core/policy-check.ts'
import type { Scheduler } from './core/scheduler.ts'
import { DEFAULT_MAX_MESSAGE_BYTES, MOST_MESSAGE_BYTES, type TopicRegistry } from './core/topics.ts'
import { checkUser } from './core/users.ts'
import { eventLoop } from './event-loop.ts'
import { openTopics } from './open-topics.ts'
import { buffered } from './policies/buffered.ts'
import { type Listener, listenTo, type MessageHandler } from './receiving/listener.ts'
import { type MessageStream, openStream, type StreamOptions } from './receiving/message-stream.ts'
import { type BeforePublish, PublishHook } from './sending/before-publish.ts'
import {
  BROADCAST_OPTIONS,
  type BroadcastOptions,
  type BroadcastResult,
  broadcast,
  readTargets,
} from './sending/broadcast.ts'
import type { HubApi, PublishData } from './sending/hub-api.ts'
import { type HubMetrics, hubMetrics, type OperationName } from './sending/metrics.ts'
import { Operation } from './sending/operation.ts'
import { idRule, keyRule, type Outgoing, type SendOptions, signalRule } from './sending/outgoing.ts'
import type { SendResult } from './sending/pending-send.ts'
import { Sender } from './sending/sender.ts'
import { serializePublication } from './sending/serialize.ts'
import { SHUTDOWN_OPTIONS, type ShutdownOptions, type ShutdownReport, shutdown } from './sending/shutdown.ts'
import { SessionWatch } from './sessions/session-watch.ts'
import { checkedTopics } from './topics/checked.ts'
import { type SendSpan, startTracing, type Tracing, type TracingOptions } from './tracing/tracing.ts'
import { Heartbeat, pingPeriod } from './transports/heartbeat.ts'

export interface HubOptions {
  /** Default: memory, a hub of one node. */
  readonly broker?: Broker
  /** Default: every valid name is a topic. */
  readonly topics?: TopicRegistry
  /** For topics that have none of their own. Default: buffered, 1 MiB, then closed as slow. */
  readonly policy?: DeliveryPolicy
  readonly limits?: Partial<HubLimits>
  /** Largest message to single clients, in bytes. At most 64 MiB, default 1 MiB; topics have limits of their own. */
  readonly maxMessageBytes?: number
  /**
   * Spans of OpenTelemetry (docs/metrics.md). Default: where a tracer provider is registered when the hub is made.
   * true, or options: also where one is registered later.
   */
  readonly tracing?: boolean | TracingOptions
  /**
   * Sees every publication before it is routed: of the program, of HTTP, of WebSocket and of the client protocol (not
   * of `routeData`). It may change or refuse it (BeforePublish). May be asynchronous: publications of one publisher
   * stay in order. Default: none.
   */
  readonly beforePublish?: BeforePublish
  /**
   * How long a promise of `beforePublish` may take to settle, in ms of running time. Default 5,000. After that the
   * publication is rejected with INTERNAL, a `fault` event names beforePublish, and the next publication of the
   * publisher follows.
   */
  readonly beforePublishTimeoutMs?: number
  /**
   * The pings of clients whose transports were opened by hand (`hubline/transports`). Default: every 25 s, with 10 s
   * for an answer. The Fastify plugin has options of its own.
   */
  readonly heartbeat?: HubHeartbeat | undefined
  /** Default: the event loop. Tests give a manual one. */
  readonly scheduler?: Scheduler
}

/** In ms. */
export interface HubHeartbeat {
  /** Between two pings of a client, at least 100. Default 25,000. */
  readonly pingMs?: number | undefined
  /** How long a client may take to answer one, at least 100. Default 10,000; never longer than until the next. */
  readonly pongMs?: number | undefined
  /** How long a WebSocket that takes part in nothing may stay. Default: for ever. */
  readonly idleMs?: number | undefined
}

const PING_MS = 25_000
const BEFORE_PUBLISH_MS = 5000
const DEFAULT_CONCURRENCY = 10

export const HEARTBEAT_OPTIONS: Rules<HubHeartbeat> = {
  pingMs: pingPeriod,
  pongMs: pingPeriod,
  idleMs: number(0, MAX_TIMER_MS),
}

const HUB_OPTIONS: Rules<HubOptions> = {
  broker: having('a broker', 'start', 'publish', 'join', 'leave', 'close'),
  topics: having('a registry of topics', 'resolve'),
  policy: policyRule,
  // The manager checks its fields.
  limits: object,
  maxMessageBytes: integer(1, MOST_MESSAGE_BYTES),
  // startTracing checks it.
  tracing: anything,
  beforePublish: callable,
  beforePublishTimeoutMs: period,
  heartbeat: nested(HEARTBEAT_OPTIONS, 'CONFIG_INVALID'),
  scheduler: having('a scheduler', 'now', 'defer', 'after', 'every'),
}

const PUBLISHER: Rules<Publisher> = { client: text, session: sessionRule }

/** The same as over HTTP. A content type and a correlation id become headers. */
const PUBLISH_OPTIONS: Rules<RouteOptions> = {
  contentType: contentTypeRule,
  key: keyRule,
  correlationId: idRule,
  publisher: nested(PUBLISHER),
}

const STREAM_OPTIONS: Rules<StreamOptions> = {
  // The subscription checks these two.
  after: anything,
  policy: anything,
  signal: signalRule,
  onGap: callable,
}

/**
 * The connection manager, and what is not its business: sends to single clients that know how they ended, metrics,
 * spans, and a shutdown that loses nothing it need not lose.
 */
export class Hub extends ConnectionManager implements HubApi {
  /** What is counted and timed. Transports whose messages are requests add to `callback`. */
  readonly operations: Readonly<Record<OperationName, Operation>>
  readonly scheduler: Scheduler
  /** Undefined: nothing is traced. */
  readonly tracing: Tracing | undefined
  readonly #sender: Sender
  readonly #hook: PublishHook | undefined
  readonly #heartbeatOptions: HubHeartbeat
  #heartbeat: Heartbeat | undefined
  /** Ends clients whose sessions are over. One timer while there are sessions that can end. */
  readonly sessionWatch: SessionWatch
  #shutdown: Promise<ShutdownReport> | undefined
  /** Ends the waiting of the shutdown. */
  readonly #cut = new AbortController()

  /** Throws CONFIG_INVALID, POLICY_INVALID. */
  constructor(given: HubOptions = {}) {
    const options = readOptions(given, HUB_OPTIONS, 'createHub: ', 'CONFIG_INVALID')
    const scheduler = options.scheduler ?? eventLoop
    const route = new Operation()
    super({
      scheduler,
      broker: options.broker === undefined ? memoryBroker() : checkedBroker(options.broker),
      topics: options.topics === undefined ? openTopics() : checkedTopics(options.topics),
      policy: options.policy ?? buffered(),
      limits: options.limits ?? {},
      epoch: randomBytes(4).toString('hex'),
      onHanded: ms => route.record(ms),
    })
    this.scheduler = scheduler
    this.#heartbeatOptions = options.heartbeat ?? {}
    this.sessionWatch = new SessionWatch({ hub: this, scheduler })
    this.operations = { send: new Operation(), broadcast: new Operation(), route, callback: new Operation() }
    this.#sender = new Sender(
      this,
      scheduler,
      this.operations.send,
      options.maxMessageBytes ?? DEFAULT_MAX_MESSAGE_BYTES,
    )
    const { beforePublish: hook, beforePublishTimeoutMs: timeoutMs = BEFORE_PUBLISH_MS } = options
    const fault = (error: unknown): void => void this.events.emit('fault', { error, where: 'beforePublish' })
    this.#hook = hook && new PublishHook({ hook, timeoutMs, scheduler, fault })
    const untraced = (error: unknown): void => void this.events.emit('fault', { error, where: 'tracing' })
    const tracing = startTracing(options.tracing, undefined, untraced)
    this.tracing = tracing
    if (tracing) this.events.on('retry', failure => tracing.retried(failure))
  }

  /** Of clients whose transports are opened without one. One timer while there are such clients. */
  get heartbeat(): Heartbeat {
    const { pingMs = PING_MS, pongMs, idleMs } = this.#heartbeatOptions
    this.#heartbeat ??= new Heartbeat(pingMs, { pongMs, idleMs, scheduler: this.scheduler })
    return this.#heartbeat
  }

  /**
   * Publishes to the subscribers of a topic, here and on other nodes. Bytes go as they are, a string as UTF-8, anything
   * else as JSON. Without a contentType it is the topic's; else an object is application/json, and of bytes and strings
   * it is guessed as by POST /topics/{topic}: JSON, other text, or application/octet-stream. Messages are routed in the
   * order of the calls. Bytes must not be changed afterwards (I5). Rejects, and never throws, with TOPIC_INVALID,
   * TOPIC_UNKNOWN, MESSAGE_TOO_LARGE, INVALID_MESSAGE, SCHEMA_MISMATCH, RATE_LIMITED, SHUTTING_DOWN, with what
   * `beforePublish` refuses with, and with what the broker rejects with. `routeData` is the synchronous way.
   */
  async publish(topicName: string, data: PublishData, options: RouteOptions = NO_OPTIONS): Promise<PublishResult> {
    const read = options === NO_OPTIONS ? options : readOptions(options, PUBLISH_OPTIONS, 'publish')
    const known = read.contentType === undefined ? this.resolveTopic(topicName).contentType : undefined
    const { payload, contentType } = serializePublication(data, read.contentType, known)
    return this.publishBytes(topicName, payload, { ...read, contentType })
  }

  override publishBytes(
    topicName: string,
    data: Uint8Array,
    options: RouteOptions = NO_OPTIONS,
  ): PublishResult | Promise<PublishResult> {
    // The closures of a hook and of a trace are in methods of their own: here every publication would pay for them.
    if (this.#hook !== undefined) return this.#publishHooked(this.#hook, topicName, data, options)
    return this.tracing === undefined
      ? super.publishBytes(topicName, data, options)
      : this.#trace(topicName, data, options)
  }

  #publishHooked(
    hook: PublishHook,
    topicName: string,
    data: Uint8Array,
    options: RouteOptions,
  ): PublishResult | Promise<PublishResult> {
    if (this.draining) throw new HubError('SHUTTING_DOWN', 'the hub is shutting down')
    const { name, contentType: known = 'application/octet-stream' } = this.resolveTopic(topicName)
    const { contentType = known, key, correlationId, publisher } = options
    return hook.run({ topic: name, data, contentType, key, correlationId, publisher }, ({ topic, data, ...changed }) =>
      this.tracing === undefined ? super.publishBytes(topic, data, changed) : this.#trace(topic, data, changed),
    )
  }

  #trace(topicName: string, data: Uint8Array, options: RouteOptions): PublishResult | Promise<PublishResult> {
    return this.tracing!.publish(topicName, data, options, () => super.publishBytes(topicName, data, options))
  }

  /** What the topic keeps for those who resume. Throws TOPIC_INVALID, TOPIC_UNKNOWN, REQUEST_INVALID. */
  history(topicName: string, options?: HistoryOptions): History {
    const { messages, ...rest } = this.kept(topicName, options)
    return { ...rest, messages: messages.map(withoutAccount) }
  }

  /**
   * Receives inside the program: messages of a topic, or of all topics that match a pattern, for `for await`. The
   * subscription begins at the call. A slow consumer gets what the delivery policy says, as every client; what it loses
   * is told to `onGap`. The loop ends when the signal aborts and when the hub shuts down; it throws CONNECTION_STALE
   * where the hub ends the stream, as a policy ends a slow client. Throws TOPIC_INVALID, TOPIC_UNKNOWN, POLICY_DENIED,
   * LIMIT_EXCEEDED, REQUEST_INVALID, SHUTTING_DOWN.
   */
  stream(topic: string, options: StreamOptions = {}): MessageStream {
    return openStream(this, topic, readOptions(options, STREAM_OPTIONS, 'stream'))
  }

  /**
   * The same with a handler, which is called for one message after the other: while it returns a promise, the next
   * message waits. A handler that throws or rejects is a `fault`; it harms nobody, and the next message comes. Throws
   * as `stream`.
   */
  listen(topic: string, handler: MessageHandler, options: StreamOptions = {}): Listener {
    checkValue(handler, callable, 'handler')
    const fault = (error: unknown): void => void this.events.emit('fault', { error, where: `listener on ${topic}` })
    return listenTo(openStream(this, topic, readOptions(options, STREAM_OPTIONS, 'listen')), handler, fault)
  }

  /**
   * Sends to one client, after what was published to its topics before; what waits for a client that is behind may be
   * overtaken. Bytes go as they are, a string as text, anything else as JSON. Resolves when its transport took the
   * message, or its peer confirmed it, where the protocol can say and `confirm` asks for it; a client that is a URL
   * always confirms. Rejects with CONNECTION_NOT_FOUND, CONNECTION_STALE (it went meanwhile, or said 410 and was
   * removed), INVALID_MESSAGE, MESSAGE_TOO_LARGE, REQUEST_INVALID, UNSUPPORTED_PAYLOAD, LIMIT_EXCEEDED, SEND_FAILED,
   * SEND_TIMEOUT, SEND_ABORTED, CIRCUIT_OPEN, SHUTTING_DOWN.
   */
  send(clientId: string, message: unknown, options: SendOptions = {}): Promise<SendResult> {
    const span = this.tracing?.startSend(clientId, this.#protocolOf(clientId))
    try {
      const outgoing = this.#checked(this.operations.send, () => this.#sender.prepare(message, options))
      span?.carries(outgoing.direct.message)
      // Not an async function: it would keep the message as it was given in memory until the send ends.
      const { result } = this.#sender.begin(clientId, outgoing)
      return span === undefined ? result : endWith(result, span, () => undefined)
    } catch (error) {
      span?.end(error)
      return Promise.reject(error)
    }
  }

  /**
   * Sends to many clients, once to each, by their ids or by a filter: `{ topic }`, `{ user }`, `{ protocol }`, or
   * `{ all: true }` for everybody. Goes on after failures: resolves with what came of it
   * at each, and as `error` with BROADCAST_PARTIAL_FAILURE, which carries the failures. Rejects only where nothing was
   * sent: with INVALID_MESSAGE, MESSAGE_TOO_LARGE, REQUEST_INVALID, TOPIC_INVALID, SHUTTING_DOWN.
   */
  broadcast(
    targets: Iterable<string> | ClientFilter,
    message: unknown,
    options: BroadcastOptions = {},
  ): Promise<BroadcastResult> {
    const span = this.tracing?.startBroadcast()
    try {
      const prepared = this.#checked(this.operations.broadcast, () => {
        const { concurrency = DEFAULT_CONCURRENCY, ...rest } = readOptions(options, BROADCAST_OPTIONS, 'broadcast')
        const read = readTargets(targets)
        const ids = Array.isArray(read) ? read : this.selectClients(read)
        return { outgoing: this.#sender.prepare(message, rest), ids, concurrency }
      })
      span?.carries(prepared.outgoing.direct.message, prepared.ids.length)
      const result = this.#broadcast(prepared)
      return span === undefined ? result : endWith(result, span, ({ error }) => error)
    } catch (error) {
      span?.end(error)
      return Promise.reject(error)
    }
  }

  /**
   * To all clients of a user, as `broadcast` to the filter `{ user }`. Nobody online: nothing was sent, and that is no
   * error. Rejects with REQUEST_INVALID where the user is no string.
   */
  async sendToUser(user: string, message: unknown, options: BroadcastOptions = {}): Promise<BroadcastResult> {
    checkUser(user)
    return this.broadcast({ user }, message, readOptions(options, BROADCAST_OPTIONS, 'sendToUser'))
  }

  /**
   * Is this client there? Its peer is asked where the protocol can ask (a WebSocket by a ping, an API Gateway
   * connection by its GET), and has `timeoutMs` (default 5,000) to answer; elsewhere: is it registered? Rejects with
   * SEND_ABORTED.
   */
  isActive(clientId: string, options: Pick<SendOptions, 'timeoutMs' | 'signal'> = {}): Promise<boolean> {
    return this.#sender.isActive(clientId, options)
  }

  /** Counts, times and states: plain numbers at this moment. */
  getMetrics(): HubMetrics {
    return hubMetrics(this.operations, this.getConnectionStats())
  }

  /**
   * Refuses new work with SHUTTING_DOWN, waits for what is under way, empties the queues, closes every client, and ends
   * within the deadline with a report of what was left. Whoever calls it again waits for the same end, and the signal
   * of each ends the waiting of all. Rejects with REQUEST_INVALID where an option is wrong: then nothing has begun.
   */
  shutdown(options: ShutdownOptions = {}): Promise<ShutdownReport> {
    const { operations, scheduler } = this
    let read: ShutdownOptions
    try {
      read = readOptions(options, SHUTDOWN_OPTIONS, 'shutdown')
    } catch (error) {
      return Promise.reject(error)
    }
    const { signal } = read
    const cut = this.#cut
    const end = (): void => cut.abort()
    if (signal?.aborted) end()
    else signal?.addEventListener('abort', end)
    const ending = { hub: this, sender: this.#sender, operations, scheduler, random: Math.random }
    this.#shutdown ??= shutdown(ending, { ...read, signal: cut.signal })
    const forget = (): void => signal?.removeEventListener('abort', end)
    this.#shutdown.then(forget, forget)
    return this.#shutdown
  }

  async #broadcast({ outgoing, ids, concurrency }: Prepared): Promise<BroadcastResult> {
    const operation = this.operations.broadcast
    const startedAt = this.scheduler.now()
    operation.begin()
    const result = await broadcast(this.#sender, this.scheduler, ids, outgoing, concurrency)
    operation.end(this.scheduler.now() - startedAt, result.error?.code)
    return result
  }

  #protocolOf(clientId: string): string | undefined {
    try {
      return this.getClient(clientId).protocol
    } catch {
      return undefined
    }
  }

  /** What is refused before it began is counted as well. */
  #checked<T>(operation: Operation, check: () => T): T {
    try {
      return check()
    } catch (error) {
      operation.record(0, error instanceof HubError ? error.code : 'INTERNAL')
      throw error
    }
  }
}

/**
 * What a broadcast needs. It does not have the message that the caller gave, so that a broadcast that waits does not
 * keep it in memory.
 */
interface Prepared {
  readonly outgoing: Outgoing
  readonly ids: readonly string[]
  readonly concurrency: number
}

/** For callers: the hub's own objects are what it counts with. */
function withoutAccount({ bytes: _, held: __, keepers: ___, ...message }: Message): PublicMessage {
  return message
}

/** Ends the span when the result is known; `wrong` returns the error of a result. */
async function endWith<T>(result: Promise<T>, span: SendSpan, wrong: (result: T) => unknown): Promise<T> {
  try {
    const value = await result
    span.end(wrong(value))
    return value
  } catch (error) {
    span.end(error)
    throw error
  }
}

/**
 * A hub without a server: give it connections, or put transports on top (`hubline/transports`, `hubline/fastify`).
 * Throws CONFIG_INVALID for an option that is unknown or wrong, POLICY_INVALID.
 */
export function createHub(options: HubOptions = {}): Hub {
  return new Hub(options)
}
