import { types } from 'node:util'
import type { CloseReason } from '../core/connection.ts'

/**
 * The contract's socket [H4][H11]: `send` takes what it can at once and says how many bytes that was. The rest is
 * optional: where it emits events, `drain` says that it takes more, and `close`, `end` and `error` that the peer has
 * gone.
 */
export interface SendSocket {
  send(data: Uint8Array): number
  on?(event: string, listener: () => void): unknown
  off?(event: string, listener: () => void): unknown
  close?(): unknown
  end?(): unknown
  destroy?(): unknown
  resetAndDestroy?(): unknown
  /** true: it has gone already. */
  readonly destroyed?: boolean
}

export function isSendSocket(socket: unknown): socket is SendSocket {
  return typeof socket === 'object' && socket !== null && typeof (socket as SendSocket).send === 'function'
}

/**
 * Sends, and answers how many bytes were taken: 0 for all that is not a whole number from 1 to what was offered, and
 * for a throw [H11].
 */
export function countSent(socket: SendSocket, data: Uint8Array): number {
  try {
    const sent: unknown = socket.send(data)
    // A promise is no count, and nobody else will look at how it ends.
    if (types.isPromise(sent)) sent.catch(() => {})
    return Number.isInteger(sent) && (sent as number) > 0 && (sent as number) <= data.byteLength ? (sent as number) : 0
  } catch {
    return 0
  }
}

/** Ends the socket with the first of these that it has and that does not throw. */
export function endSocket(socket: SendSocket, reason: CloseReason): void {
  const rude = reason === 'slow' || reason === 'lost' || reason === 'peer'
  const ways = rude
    ? (['resetAndDestroy', 'destroy', 'close', 'end'] as const)
    : (['end', 'close', 'destroy', 'resetAndDestroy'] as const)
  for (const way of ways) {
    if (typeof socket[way] !== 'function') continue
    try {
      const result = socket[way]()
      if (types.isPromise(result)) result.catch(() => {})
      return
    } catch {}
  }
}

/**
 * Listens to the socket's events, if it is an emitter; whatever else its `on` is or does is its own affair. Answers how
 * to stop.
 */
export function listenTo(socket: SendSocket, heard: readonly (readonly [string, () => void])[]): () => void {
  const each = (method: 'on' | 'off'): void => {
    try {
      for (const [event, listener] of heard) socket[method]?.(event, listener)
    } catch {}
  }
  each('on')
  return () => {
    each('off')
    // An emitter of which nobody hears the errors would throw them.
    try {
      socket.on?.('error', () => {})
    } catch {}
  }
}
