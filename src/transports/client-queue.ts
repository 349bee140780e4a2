import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Command } from './client-commands.ts'
import { type InboundLimit, PUBLISH_WINDOW } from './transport.ts'
import { turnTime } from './turn-time.ts'

/** Characters of commands that may wait for their turn; a longer one may wait alone. */
const MAX_WAITING_LENGTH = 1024 * 1024
/**
 * Bytes of replies after which the event loop, and with it the flush, gets its turn: far below what makes a client
 * slow.
 */
export const REPLY_BYTES_PER_TURN = 16 * 1024

/** Bytes of the answer; or a promise of them, while publications that follow may begin. */
export type Answer = number | { readonly later: Promise<number> }

/**
 * The commands of one client, answered in their order, also where one has to wait for a session manager or a broker:
 * what a client subscribes, publishes and unsubscribes happens in its order. Publications that follow each other may
 * wait for the broker together, within a window; any other command waits until all before it are answered. Bounded, for
 * a peer sends faster than a backend answers.
 */
export class CommandQueue {
  readonly #maxCommands: number
  /** Answers one command; resolves to the bytes of the answer, and never rejects. */
  readonly #answer: (command: Command) => Promise<Answer>
  readonly #inbound: InboundLimit | undefined
  #waiting: { readonly command: Command; readonly length: number }[] = []
  #waitingLength = 0
  #running = false
  /** Publications that the broker has not accepted yet, oldest first. They end in this order. */
  readonly #later: Promise<number>[] = []
  #laterLength = 0
  /** Bytes of answers in this turn. */
  #answered = 0

  constructor(maxCommands: number, answer: (command: Command) => Promise<Answer>, inbound?: InboundLimit) {
    this.#maxCommands = maxCommands
    this.#answer = answer
    this.#inbound = inbound
  }

  /**
   * Of each command that comes, before it is read, answers to pings too: a frame may have hundreds. False: there are
   * too many of them.
   */
  admits(length: number): boolean {
    return this.#inbound?.take(length) ?? true
  }

  /** False: too much waits already, and this was not taken. */
  push(command: Command, length: number): boolean {
    if (this.#waiting.length >= this.#maxCommands) return false
    if (this.#waitingLength > 0 && this.#waitingLength + length > MAX_WAITING_LENGTH) return false
    this.#waiting.push({ command, length })
    this.#waitingLength += length
    if (!this.#running) void this.#run()
    return true
  }

  /** Forgets what waits. */
  clear(): void {
    this.#waiting = []
    this.#waitingLength = 0
  }

  async #run(): Promise<void> {
    this.#running = true
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      // What waits stays counted until it begins.
      while (this.#later.length > 0 && !this.#mayBegin(next.command)) await this.#later[0]
      if (turnTime.over) await turnTime.wait()
      if (this.#waiting.shift() === undefined) break
      this.#waitingLength -= next.length
      const answer = await this.#answer(next.command)
      if (typeof answer === 'number') this.#answered += answer
      else void this.#await(answer.later, next.length)
      if (this.#answered < REPLY_BYTES_PER_TURN) continue
      this.#answered = 0
      await nextTurn()
    }
    // An array that was emptied keeps the room that it had.
    this.#waiting = []
    this.#running = false
  }

  #mayBegin({ method }: Command): boolean {
    if (method !== 'publish') return false
    return this.#later.length < PUBLISH_WINDOW.messages && this.#laterLength < PUBLISH_WINDOW.bytes
  }

  /** Never rejects, as the promise does not. */
  async #await(later: Promise<number>, length: number): Promise<void> {
    this.#later.push(later)
    this.#laterLength += length
    this.#answered += await later
    this.#later.splice(0, 1)
    this.#laterLength -= length
  }
}
