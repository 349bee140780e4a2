import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { WebSocket } from 'ws'
import type { Client } from '../../core/connection.ts'
import { HubError } from '../../core/errors.ts'
import type { Position, TopicName } from '../../core/ids.ts'
import { notToName } from '../../core/refusals.ts'
import type { Action, Session } from '../../core/sessions.ts'
import { isRefusedByHook } from '../../sending/before-publish.ts'
import { contentTypeOf } from '../../sending/content-type.ts'
import { describePublicly } from '../../topics/describe.ts'
import { httpStream, multipart, multipartImage } from '../../transports/http-stream.ts'
import { sse } from '../../transports/sse.ts'
import type { InboundLimit, Opening } from '../../transports/transport.ts'
import { CLOSE_CODES, webSocketTopic } from '../../transports/websocket.ts'
import { isImage } from '../../wire/content-type.ts'
import { addressOf, type HubContext } from '../context.ts'
import { toHubError } from '../errors.ts'
import { checkPublisher, owned, reasonOf } from '../long-publishing.ts'
import { isWatched, releaseStream } from '../release.ts'
import { addStart, socketStart } from '../socket-start.ts'
import { answerHead } from '../stream-head.ts'
import { readSubscriber, type SubscriberRequest, startOf } from '../subscriber.ts'
import { historyOf } from '../topic-history.ts'

interface TopicPath {
  Params: { '*': string }
}

/** `GET /topics/{topic}` and `GET /events`: one topic on every protocol, by the request itself. */
export function topicRoutes(app: FastifyInstance, context: HubContext): void {
  const { hub } = context
  app.websocketServer.on('headers', addStart)

  app.route<TopicPath>({
    method: 'GET',
    url: '/topics/*',
    config: { socket: 'also', opensClient: true },
    // Before the upgrade: what is wrong with the request must be a status, not a close code.
    preHandler(request, reply, done) {
      const subscriber = readSubscriber(request, request.params['*'])
      request.hubResponse = reply.raw
      if (request.ws && subscriber.history !== undefined) {
        throw new HubError('REQUEST_INVALID', 'history: a WebSocket has no answer that ends; ask with a plain GET')
      }
      const begin = request.ws && subscriber.since.size > 0 && subscriber.role !== 'publisher'
      admit(request, subscriber, actionsOf(subscriber), error => {
        if (begin && error === undefined) request.subscriber = socketStart(hub, request.raw, subscriber)
        done(error)
      })
    },
    handler(request, reply) {
      const subscriber = request.subscriber!
      if (subscriber.describe) {
        reply.send(describePublicly(hub.resolveTopic(subscriber.topics[0]!)))
        return
      }
      if (subscriber.history !== undefined) {
        reply.send(historyOf(hub, subscriber, subscriber.history))
        return
      }
      const accept = request.headers.accept?.toLowerCase() ?? ''
      if (accept.includes('text/event-stream')) return open(request, reply, sse('single', subscriber.encoding))
      const type = typeOf(subscriber.topics[0])
      const picture = type === undefined ? accept.startsWith('image/') : isImage(type)
      const shown = request.headers['sec-fetch-dest'] === 'image'
      return open(request, reply, picture ? (shown ? multipartImage : multipart) : httpStream)
    },
    wsHandler: (webSocket, request) => openSocket(webSocket, request),
  })

  app.get('/events', { config: { opensClient: true }, preHandler: readEvents }, (request, reply) => {
    open(request, reply, sse('named', request.subscriber!.encoding))
  })

  function typeOf(topic: TopicName | undefined): string | undefined {
    return topic && (hub.resolveTopic(topic).contentType ?? hub.getTopic(topic)?.contentType)
  }

  function readEvents(request: FastifyRequest, _reply: FastifyReply, done: Done): void {
    const subscriber = readSubscriber(request)
    admit(request, subscriber, actionsOf(subscriber), done)
  }

  function admit(request: FastifyRequest, subscriber: SubscriberRequest, actions: readonly Action[], done: Done): void {
    request.subscriber = subscriber
    let waiting: Promise<void> | undefined
    try {
      const { topics, patterns } = subscriber
      waiting = context.authorize(request, actions, patterns.length === 0 ? topics : [...topics, ...patterns])
    } catch (error) {
      done(refusal(error))
      return
    }
    const enter = (): void => done(subscriber.named && request.hubSession?.anonymous ? notToName() : undefined)
    if (waiting === undefined) enter()
    else waiting.then(enter, (error: unknown) => done(refusal(error)))
  }

  function open(request: FastifyRequest, reply: FastifyReply, transport: typeof httpStream): void {
    const subscriber = request.subscriber!
    if (request.method === 'HEAD') {
      answerHead(reply, transport.name, typeOf(subscriber.topics[0]), context.edge.streamHeaders(request))
      return
    }
    const watched = isWatched(reply.raw)
    context.opening(request, subscriber.clientId, () => transport.open(reply.raw, opening(request, subscriber)))
    reply.hijack()
    releaseStream(reply.raw, watched)
  }

  function opening(request: FastifyRequest, subscriber: SubscriberRequest): Opening {
    const { clientId } = subscriber
    const topics = subscriber.role === 'publisher' ? [] : wanted(subscriber)
    const { hubSession: session } = request
    const headers = context.edge.streamHeaders(request)
    return { hub, clientId, topics, session, address: addressOf(request), heartbeat: context.heartbeat, headers }
  }

  function wanted(subscriber: SubscriberRequest): Opening['topics'] {
    const { policy, topics, patterns, lastEvent, fromOldest } = subscriber
    const named = topics.map(name => ({ name, options: { policy, after: afterOf(subscriber, name) } }))
    if (patterns.length === 0) return named
    // The id of an event is of one topic; of the others that match, the loss is told.
    const after = lastEvent ?? (fromOldest ? ('oldest' as const) : undefined)
    return [...named, ...patterns.map(name => ({ name, options: { policy, after } }))]
  }

  function afterOf(subscriber: SubscriberRequest, topic: TopicName): Position | 'oldest' | undefined {
    const resumes = subscriber.lastEvent !== undefined || subscriber.since.size > 0
    return resumes ? startOf(subscriber, topic, hub.positionOf(topic)?.epoch) : undefined
  }

  function openSocket(webSocket: WebSocket, request: FastifyRequest): void {
    const subscriber = request.subscriber!
    let client: Client
    context.release(webSocket, request)
    try {
      const channel = { webSocket, socket: request.raw.socket }
      client = context.opening(request, subscriber.clientId, () =>
        webSocketTopic.open(channel, opening(request, subscriber)),
      )
    } catch (error) {
      const { message } = error as HubError
      if (error instanceof HubError) context.rejections.request(error, request)
      webSocket.close(
        error instanceof HubError && error.code === 'LIMIT_EXCEEDED'
          ? CLOSE_CODES.overloaded[0]
          : CLOSE_CODES.denied[0],
        message.slice(0, 120),
      )
      return
    }
    const { log } = request
    if (subscriber.role === 'subscriber') refuseFrames(webSocket, client)
    else {
      const inbound = context.edge.inbound(request)
      const publisher = { client: client.id, session: request.hubSession! }
      takeFrames({ webSocket, client, publisher, topic: subscriber.topics[0]!, log, inbound })
    }
  }

  /** The frames of a publisher are messages. */
  function takeFrames(source: Source): void {
    const { webSocket, client, inbound } = source
    webSocket.on('message', (data: Buffer, binary) => {
      // What ws has read already goes on coming after the close.
      if (client.closed) return
      if (inbound.take(data.byteLength)) void receive(source, data, binary)
      else client.close('flooding')
    })
  }

  async function receive(
    { webSocket, client, publisher, topic, log }: Source,
    frame: Buffer,
    binary: boolean,
  ): Promise<void> {
    const data = owned(frame)
    try {
      checkPublisher(context, publisher.session, topic)
      const known = hub.resolveTopic(topic).contentType
      const contentType = known ?? (binary ? 'application/octet-stream' : contentTypeOf(undefined, undefined, data))
      await hub.publishBytes(topic, data, { contentType, publisher })
    } catch (error) {
      const refused = toHubError(error)
      const { code, message } = refused
      context.rejections.client(refused, client.id, log)
      if (isRefusedByHook(error)) return
      if (code === 'MESSAGE_TOO_LARGE') webSocket.close(TOO_BIG, message.slice(0, 120))
      else client.close(reasonOf(refused))
    }
  }
}

type Done = (error?: Error) => void

/** Fastify takes a hook that fails with nothing (`Promise.reject()`, `throw null`) for one that is content, and would let the peer in. */
function refusal(error: unknown): Error {
  return error instanceof Error ? error : new HubError('PERMISSION_DENIED', 'session: refused')
}

/** What a subscriber URL asks to be allowed. */
const ACTIONS: Readonly<Record<SubscriberRequest['role'], readonly Action[]>> = {
  subscriber: ['subscribe'],
  publisher: ['publish'],
  both: ['subscribe', 'publish'],
}

/** Who goes on where it stopped reads on; who names a place reads what was before. */
function actionsOf({ role, since, fromOldest, history, describe }: SubscriberRequest): readonly Action[] {
  if (history !== undefined) return ['history']
  if (describe) return ACTIONS.subscriber
  return since.size > 0 || fromOldest ? [...ACTIONS[role], 'history'] : ACTIONS[role]
}

/** A function of its own, as all that leave a listener behind: what the listener keeps is this and not the request. */
function refuseFrames(webSocket: WebSocket, client: Client): void {
  webSocket.on('message', () => client.close('protocol'))
}

interface Source {
  readonly webSocket: WebSocket
  readonly client: Client
  readonly publisher: { readonly client: string; readonly session: Session }
  readonly topic: TopicName
  readonly log: FastifyBaseLogger
  readonly inbound: InboundLimit
}

/** RFC 6455, section 7.4.1: what ws itself answers to a frame over its own limit. */
const TOO_BIG = 1009
