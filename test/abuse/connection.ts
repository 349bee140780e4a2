import { connect, type Socket } from 'node:net'

export interface Conversation {
  /** All that the server said, until it closed or fell silent. */
  readonly text: string
  readonly closed: boolean
  /** The status of every answer, in order. */
  readonly statuses: readonly number[]
}

/** How long the first byte of an answer may take, in ms, on a busy machine too. */
const PATIENCE_MS = 5000

/**
 * Says exactly these bytes (as latin1) on a connection of its own, and hears what comes until the server closes, or has
 * answered and says nothing more for `silenceMs`.
 */
export function converse(url: string, text: string, silenceMs = PATIENCE_MS): Promise<Conversation> {
  const socket = open(url)
  socket.write(text, 'latin1')
  return new Promise(resolve => {
    let heard = ''
    const finish = (closed: boolean): void => {
      clearTimeout(silence)
      socket.destroy()
      const statuses = [...heard.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status))
      resolve({ text: heard, closed, statuses })
    }
    let silence = setTimeout(() => finish(false), PATIENCE_MS)
    socket.on('data', data => {
      heard += data.toString('latin1')
      clearTimeout(silence)
      silence = setTimeout(() => finish(false), silenceMs)
    })
    socket.on('close', () => finish(true))
  })
}

/** A TCP connection on which nothing has been said. */
export function open(url: string): Socket {
  const { hostname, port } = new URL(url)
  return connect(Number(port), hostname).on('error', () => {})
}
