import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Command } from './client-commands.ts'
import type { InboundLimit } from './transport.ts'

/** Characters of commands that may wait for their turn; a longer one may wait alone. */
const MAX_WAITING_LENGTH = 1024 * 1024
/** Bytes of replies after which the event loop, and with it the flush, gets its turn: far below what makes a client slow. */
export const REPLY_BYTES_PER_TURN = 16 * 1024

/**
 * The commands of one client, answered one after the other, also where one has to wait for a session manager or a broker: what a
 * client subscribes, publishes and unsubscribes happens in its order. Bounded, for a peer sends faster than a backend answers.
 */
export class CommandQueue {
  readonly #maxCommands: number
  /** Answers one command; resolves to the bytes of the answer, and never rejects. */
  readonly #answer: (command: Command) => Promise<number>
  readonly #inbound: InboundLimit | undefined
  #waiting: { readonly command: Command; readonly length: number }[] = []
  #waitingLength = 0
  #running = false

  constructor(maxCommands: number, answer: (command: Command) => Promise<number>, inbound?: InboundLimit) {
    this.#maxCommands = maxCommands
    this.#answer = answer
    this.#inbound = inbound
  }

  /** Of each command that comes, before it is read, answers to pings too: a frame may have hundreds. False: there are too many of them. */
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
    let bytes = 0
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      this.#waitingLength -= next.length
      bytes += await this.#answer(next.command)
      if (bytes < REPLY_BYTES_PER_TURN) continue
      bytes = 0
      await nextTurn()
    }
    // An array that was emptied keeps the room that it had.
    this.#waiting = []
    this.#running = false
  }
}
