import type { HubError } from '../core/errors.ts'
import type { Position } from '../core/ids.ts'
import type { MessageStream } from './message-stream.ts'
import type { ReceivedMessage } from './received-message.ts'

/** Called for one message after the other: the next waits until the promise is settled. */
export type MessageHandler = (message: ReceivedMessage) => unknown

/** A handler on a topic or a pattern, until it is disposed of. */
export interface Listener extends Disposable {
  /** Everything after this position comes, or is told as a gap. Undefined for a pattern. */
  readonly position: Position | undefined
  readonly recovered: boolean
  /**
   * Resolves when the handler is called no more: with an error where the hub ended it, as it ends a slow client. Never
   * rejects.
   */
  readonly ended: Promise<HubError | undefined>
}

/** Calls the handler for each message of the stream. What it throws is told to `fault`, and the next message comes. */
export function listenTo(stream: MessageStream, handler: MessageHandler, fault: (error: unknown) => void): Listener {
  const { position, recovered } = stream
  const ended = run(stream, handler, fault)
  return { position, recovered, ended, [Symbol.dispose]: () => void stream.return() }
}

async function run(
  stream: MessageStream,
  handler: MessageHandler,
  fault: (error: unknown) => void,
): Promise<HubError | undefined> {
  try {
    for await (const message of stream) {
      try {
        await handler(message)
      } catch (error) {
        fault(error)
      }
    }
    return undefined
  } catch (error) {
    fault(error)
    return error as HubError
  }
}
