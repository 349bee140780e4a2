import type { Client } from '../core/connection.ts'
import type { TopicName } from '../core/ids.ts'
import type { ConnectionManager } from '../core/manager.ts'
import { push } from '../wire/client-protocol.ts'
import { clientInfo, textFrame } from './client-codec.ts'
import type { TopicsOwner } from './client-gate.ts'

/**
 * Characters of joins and leaves of one topic that go out in one turn, and of all its topics to one client. The rest is
 * not told.
 */
const MAX_TOPIC_LENGTH = 16 * 1024
const MAX_CLIENT_BYTES = 32 * 1024

interface Watched {
  readonly watchers: Set<TopicsOwner>
  /** Who is there: when somebody goes, the hub has forgotten who that was. */
  readonly members: Map<Client, object>
  /** What is to be told in this turn. */
  lines: string[]
  length: number
}

/**
 * Tells who comes to a topic and who goes, to those who asked. Made once for all of them, a turn's worth at a time.
 * These are hints: a client that is behind, or a storm of them, is not told all, and may ask who is there. A topic that
 * nobody watches costs a look-up.
 */
export class JoinsAndLeaves {
  readonly #hub: ConnectionManager
  readonly #topics = new Map<TopicName, Watched>()
  readonly #dirty = new Set<TopicName>()

  constructor(hub: ConnectionManager) {
    this.#hub = hub
  }

  /** Throws PRESENCE_OFF. */
  watch(topic: TopicName, watcher: TopicsOwner): void {
    let watched = this.#topics.get(topic)
    if (watched === undefined) {
      const present = this.#hub.presence(topic)
      const members = new Map(
        present.map(({ client, user, info }) => [this.#hub.handleOf(client)!, clientInfo({ client, user, info })]),
      )
      watched = { watchers: new Set(), members, lines: [], length: 0 }
      this.#topics.set(topic, watched)
    }
    watched.watchers.add(watcher)
  }

  unwatch(topic: TopicName, watcher: TopicsOwner): void {
    const watched = this.#topics.get(topic)
    watched?.watchers.delete(watcher)
    if (watched?.watchers.size === 0) this.#topics.delete(topic)
  }

  joined(topic: TopicName, client: Client): void {
    const watched = this.#topics.get(topic)
    // Who was there by a pattern and is there by name now has not come.
    if (watched === undefined || watched.members.has(client) || client.closed) return
    if (this.#hub.isInternal(client.id)) return
    const session = this.#hub.sessionOf(client.id)
    const info = clientInfo({ client: client.id, user: session?.user, info: session?.info })
    watched.members.set(client, info)
    this.#tell(topic, watched, push(topic, 'join', { info }))
  }

  left(topic: TopicName, client: Client): void {
    const watched = this.#topics.get(topic)
    const info = watched?.members.get(client)
    if (watched === undefined || info === undefined) return
    // It is there again, or for another reason: `joined` need not be told.
    if (!client.closed && this.#hub.getSubscription(client.id, topic)) return
    watched.members.delete(client)
    this.#tell(topic, watched, push(topic, 'leave', { info }))
  }

  #tell(topic: TopicName, watched: Watched, line: string): void {
    if (watched.length + line.length > MAX_TOPIC_LENGTH) return
    watched.lines.push(line)
    watched.length += line.length
    if (this.#dirty.size === 0) setImmediate(() => this.#flush())
    this.#dirty.add(topic)
  }

  #flush(): void {
    const told = new Map<TopicsOwner, number>()
    for (const topic of this.#dirty) {
      const watched = this.#topics.get(topic)
      if (watched === undefined || watched.lines.length === 0) continue
      const frame = textFrame(watched.lines.join('\n'))
      watched.lines = []
      watched.length = 0
      for (const watcher of [...watched.watchers]) {
        const bytes = (told.get(watcher) ?? 0) + frame.byteLength
        if (bytes > MAX_CLIENT_BYTES) continue
        told.set(watcher, bytes)
        watcher.hint(frame)
      }
    }
    this.#dirty.clear()
  }
}
