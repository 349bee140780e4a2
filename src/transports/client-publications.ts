import { resultReply } from '../wire/client-protocol.ts'
import type { Command } from './client-commands.ts'
import type { Answer } from './client-queue.ts'
import type { ClientTopics } from './client-topics.ts'

type Publish = Extract<Command, { method: 'publish' }>

/** Whose publications they are. */
interface Publisher {
  readonly topics: ClientTopics | undefined
  reply(text: string): void
  /** Replies with the error, or tells the fault. */
  replyError(id: number, error: unknown): void
}

/**
 * The publications of one client. They go to the broker in the order of the commands. Later ones need not wait until
 * the broker has accepted an earlier one. The replies keep the order.
 */
export class ClientPublications {
  readonly #publisher: Publisher
  /** Ends when the last one is replied to. */
  #last: Promise<number> | undefined

  constructor(publisher: Publisher) {
    this.#publisher = publisher
  }

  async answer(command: Publish): Promise<Answer> {
    let accepted: Promise<unknown>
    try {
      const given = await this.#publisher.topics!.publish(command)
      if (given === undefined) return 0
      accepted = Promise.resolve(given.accepted)
    } catch (error) {
      accepted = Promise.reject(error)
    }
    // It may fail long before its reply is due.
    accepted.catch(() => {})
    const later = this.#reply(command.id, accepted, this.#last)
    this.#last = later
    return { later }
  }

  /** Resolves to the length of the reply, 0 for an error. Never rejects. */
  async #reply(id: number, accepted: Promise<unknown>, earlier: Promise<number> | undefined): Promise<number> {
    await earlier
    try {
      await accepted
      const reply = resultReply(id, 'publish', {})
      this.#publisher.reply(reply)
      return reply.length
    } catch (error) {
      this.#publisher.replyError(id, error)
      return 0
    }
  }
}
