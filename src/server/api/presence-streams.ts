import type { ServerResponse } from 'node:http'
import type { Client } from '../../core/connection.ts'
import type { PresenceInfo } from '../../core/contract.ts'
import { HubError } from '../../core/errors.ts'
import type { TopicName } from '../../core/ids.ts'
import type { Hub } from '../../hub.ts'
import type { Heartbeat } from '../../transports/heartbeat.ts'
import { keepAlive } from './event-stream.ts'

/** Readers of all topics together. */
const MAX_READERS = 100
/** Bytes that may wait in the response of one: more, and it is ended. It comes back and begins with the whole. */
const MAX_WAITING_BYTES = 256 * 1024

/** A topic that somebody follows. */
interface Followed {
  /** Who is there: of whoever has gone nobody else knows any more who it was. */
  readonly present: Map<Client, PresenceInfo>
  readonly readers: Set<ServerResponse>
}

/**
 * Tells who comes to a topic and who goes, as server-sent events. What is kept of a topic is kept while somebody
 * follows it.
 */
export class PresenceStreams {
  readonly #hub: Hub
  readonly #heartbeat: Pick<Heartbeat, 'add'>
  readonly #followed = new Map<TopicName, Followed>()
  #readers = 0

  /** @param closing once aborted, nobody follows any more: the hub shuts down */
  constructor(hub: Hub, heartbeat: Pick<Heartbeat, 'add'>, closing: AbortSignal) {
    this.#hub = hub
    this.#heartbeat = heartbeat
    hub.events.on('subscribe', ({ client, topic }) => this.#came(topic, client))
    hub.events.on('unsubscribe', ({ client, topic }) => this.#went(topic, client))
    closing.addEventListener('abort', () => {
      for (const { readers } of this.#followed.values()) for (const reader of readers) end(reader, 'shutdown')
    })
  }

  get readers(): number {
    return this.#readers
  }

  /**
   * Writes events until the reader goes. Throws TOPIC_UNKNOWN, PRESENCE_OFF, LIMIT_EXCEEDED: then nothing was written.
   */
  open(topic: TopicName, response: ServerResponse, headers: Record<string, string>): void {
    const clients = this.#hub.presence(topic)
    if (this.#readers >= MAX_READERS) {
      throw new HubError('LIMIT_EXCEEDED', `limit: there may be at most ${MAX_READERS} readers of presence at a time`)
    }
    const followed = this.#followed.get(topic) ?? {
      present: new Map(clients.map(each => [this.#hub.handleOf(each.client)!, each])),
      readers: new Set(),
    }
    this.#followed.set(topic, followed)
    followed.readers.add(response)
    this.#readers++
    keepAlive(response, this.#heartbeat)
    response.on('close', () => {
      this.#readers--
      followed.readers.delete(response)
      if (followed.readers.size === 0) this.#followed.delete(topic)
    })
    response.writeHead(200, headers)
    write(response, 'state', { clients })
  }

  #came(topic: TopicName, client: Client): void {
    const followed = this.#followed.get(topic)
    if (followed === undefined || client.closed || followed.present.has(client)) return
    if (this.#hub.isInternal(client.id)) return
    const session = this.#hub.sessionOf(client.id)
    const info: PresenceInfo = { client: client.id, user: session?.user, info: session?.info }
    followed.present.set(client, info)
    this.#tell(topic, followed, 'join', info)
  }

  #went(topic: TopicName, client: Client): void {
    const followed = this.#followed.get(topic)
    const info = followed?.present.get(client)
    // It may have left by name and stay by a pattern: then it is told again that it came.
    if (followed === undefined || info === undefined) return
    followed.present.delete(client)
    this.#tell(topic, followed, 'leave', info)
  }

  #tell(topic: TopicName, { readers }: Followed, event: 'join' | 'leave', info: PresenceInfo): void {
    const off = !this.#tells(topic)
    for (const reader of readers) {
      if (off) end(reader, 'presence is off')
      else if (reader.writableLength > MAX_WAITING_BYTES) end(reader, 'slow')
      else write(reader, event, info)
    }
  }

  /** The topic's rule may have changed meanwhile. */
  #tells(topic: TopicName): boolean {
    try {
      return this.#hub.resolveTopic(topic).presence === true
    } catch {
      return false
    }
  }
}

/** One that has ended may go on being told of, until it is closed. */
function write(response: ServerResponse, event: string, data: object): void {
  if (!response.writableEnded) response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
}

function end(response: ServerResponse, reason: string): void {
  write(response, 'end', { reason })
  response.end()
}
