import type { PublishResult } from '../core/contract.ts'
import { HubError } from '../core/errors.ts'
import { type ClientId, parseTopicName } from '../core/ids.ts'
import { isPattern, parsePattern } from '../core/patterns.ts'
import { connectionStats, HubCounters } from '../core/snapshot.ts'
import type { ClientInfo } from '../core/stats.ts'
import { DEFAULT_MAX_MESSAGE_BYTES } from '../core/topics.ts'
import type { Listener } from '../receiving/listener.ts'
import type { MessageStream } from '../receiving/message-stream.ts'
import type { HubApi } from '../sending/hub-api.ts'
import { hubMetrics } from '../sending/metrics.ts'
import { Operation } from '../sending/operation.ts'
import { prepareOutgoing, type SendOptions } from '../sending/outgoing.ts'
import type { SendResult } from '../sending/pending-send.ts'
import { bytesOf } from '../sending/serialize.ts'

const EPOCH = 'mock'

/**
 * What a hub answers on which everybody is connected and takes everything: what a mock says that has no script for it.
 * It has the hub's own objections to arguments that are wrong.
 */
export class MockAnswers {
  readonly #published = new Map<string, number>()

  /** Throws INVALID_MESSAGE, MESSAGE_TOO_LARGE, REQUEST_INVALID. */
  send(message: unknown, options: SendOptions = {}): SendResult {
    const { direct, confirm } = prepareOutgoing(message, options, DEFAULT_MAX_MESSAGE_BYTES)
    return { id: direct.message.id, confirmed: confirm, ms: 0 }
  }

  /** Throws TOPIC_INVALID, INVALID_MESSAGE. */
  publish(topicName: string, data: unknown): PublishResult {
    return this.route(topicName, bytesOf(data))
  }

  /** Throws TOPIC_INVALID, INVALID_MESSAGE. */
  route(topicName: string, data: unknown): PublishResult {
    const topic = parseTopicName(topicName)
    if (!(data instanceof Uint8Array)) {
      throw new HubError('INVALID_MESSAGE', `data: a message is a Uint8Array or Buffer, not ${typeof data}`)
    }
    const seq = (this.#published.get(topic) ?? 0) + 1
    this.#published.set(topic, seq)
    return { position: { epoch: EPOCH, seq }, matched: 1, behind: 0, unsupported: 0 }
  }

  /** Throws TOPIC_INVALID. */
  subscribe(topicName: string): ReturnType<HubApi['subscribe']> {
    const topic = parseTopicName(topicName)
    const seq = this.#published.get(topic) ?? 0
    return { topic, position: { epoch: EPOCH, seq }, recovered: false }
  }

  /** Throws TOPIC_INVALID. */
  subscribePattern(pattern: string): ReturnType<HubApi['subscribePattern']> {
    return { pattern: parsePattern(pattern), topics: 0 }
  }

  /** Of a topic to which nobody publishes: it ends at once. Throws TOPIC_INVALID. */
  stream(topicName: string): MessageStream {
    const done = Promise.resolve({ value: undefined, done: true } as const)
    return {
      position: isPattern(topicName) ? undefined : this.subscribe(topicName).position,
      recovered: false,
      next: () => done,
      return: () => done,
      [Symbol.asyncIterator]() {
        return this
      },
      [Symbol.asyncDispose]: async () => {},
    }
  }

  /** Throws TOPIC_INVALID. */
  listener(topicName: string): Listener {
    const { position, recovered } = this.stream(topicName)
    return { position, recovered, ended: Promise.resolve(undefined), [Symbol.dispose]() {} }
  }

  /** Of a topic that keeps nothing. Throws TOPIC_INVALID. */
  history(topicName: string): ReturnType<HubApi['history']> {
    const seq = this.#published.get(parseTopicName(topicName)) ?? 0
    return { position: { epoch: EPOCH, seq }, messages: [], recovered: false }
  }

  client(id: string): ClientInfo {
    return {
      ...{ id: id as ClientId, protocol: 'mock', protocols: ['mock'], user: undefined, address: undefined },
      ...{ expiresAt: undefined, patterns: [] },
      ...{ connectedMs: 0, writable: true, queuedBytes: 0, waitedMs: 0, unacknowledged: undefined },
      ...{ circuit: undefined, sinceSendMs: undefined, drops: {}, subscriptions: [] },
    }
  }

  stats(): ReturnType<HubApi['getConnectionStats']> {
    const sums = { subscriptions: 0, behind: 0, pending: 0, unconfirmed: 0, queuedBytes: 0, retainedBytes: 0 }
    const circuits = { closed: 0, open: 0, 'half-open': 0 }
    const held = { clients: 0, topics: 0, users: 0, patterns: 0, positions: { size: 0, bytes: 0 } }
    return connectionStats({ ...sums, circuits }, held, new HubCounters(), 0, 0)
  }

  metrics(): ReturnType<HubApi['getMetrics']> {
    const none = new Operation()
    return hubMetrics({ send: none, broadcast: none, route: none, callback: none }, this.stats())
  }

  report(): Awaited<ReturnType<HubApi['shutdown']>> {
    const sends = { finished: 0, abandoned: 0 }
    const messages = { settled: 0, abandoned: 0 }
    return { outcome: 'drained', ms: 0, sends, messages, clients: { closed: 0, behind: 0 } }
  }
}
