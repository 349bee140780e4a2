import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { HubError } from '../../core/errors.ts'
import type { ClientId, Position, TopicName } from '../../core/ids.ts'
import { notToName } from '../../core/refusals.ts'
import type { Action } from '../../core/sessions.ts'
import { describePublicly } from '../../topics/describe.ts'
import { httpStream, multipart, multipartImage } from '../../transports/http-stream.ts'
import { sse } from '../../transports/sse.ts'
import type { Opening } from '../../transports/transport.ts'
import { isImage } from '../../wire/content-type.ts'
import type { HubContext } from '../context.ts'
import { addressOf } from '../credentials.ts'
import { accepted } from '../event-source.ts'
import { isWatched, releaseStream } from '../release.ts'
import { answerHead } from '../stream-head.ts'
import { readSubscriber, type SubscriberRequest, startOf } from '../subscriber.ts'
import { historyOf } from '../topic-history.ts'
import { addStart, beginSocket, openSocket } from './topic-sockets.ts'

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
      const resumes = subscriber.since.size > 0 || subscriber.lastEvent !== undefined
      const begin = request.ws && resumes && subscriber.role !== 'publisher'
      admit(request, subscriber, actionsOf(subscriber), error => {
        done(error ?? (begin ? beginning(request, subscriber) : undefined))
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
      const accept = accepted(request.headers)
      if (accept.includes('text/event-stream')) return open(request, reply, sse('single', subscriber.encoding))
      const type = typeOf(subscriber.topics[0])
      const picture = type === undefined ? accept.startsWith('image/') : isImage(type)
      const shown = request.headers['sec-fetch-dest'] === 'image'
      return open(request, reply, picture ? (shown ? multipartImage : multipart) : httpStream)
    },
    wsHandler: (webSocket, request) => openSocket(context, webSocket, request, opening(request, request.subscriber!)),
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
    const enter = (): void => done(subscriber.named ? nameRefusal(request, subscriber.clientId) : undefined)
    if (waiting === undefined) enter()
    else waiting.then(enter, (error: unknown) => done(refusal(error)))
  }

  /** What is against a client's own name for itself. */
  function nameRefusal({ hubSession }: FastifyRequest, id: ClientId): Error | undefined {
    if (hubSession?.anonymous) return notToName()
    try {
      context.rivals.check(id)
      return undefined
    } catch (error) {
      return refusal(error)
    }
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

  function beginning(request: FastifyRequest, subscriber: SubscriberRequest): Error | undefined {
    try {
      beginSocket(context, request, opening(request, subscriber))
      return undefined
    } catch (error) {
      return refusal(error)
    }
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
}

type Done = (error?: Error) => void

/**
 * Fastify takes a hook that fails with nothing (`Promise.reject()`, `throw null`) for one that is content, and would
 * let the peer in.
 */
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
