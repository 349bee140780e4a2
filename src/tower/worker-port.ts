import type { MessagePort } from 'node:worker_threads'
import type { CloseReason } from '../core/connection.ts'
import { HubError } from '../core/errors.ts'
import { type Answer, copyOf, type FromWorker, fromWorkerSchema, type ToWorker } from './port-messages.ts'
import type { Outlet, SendConnection } from './send-connection.ts'

/** A tower, as the other end of a port may use it. */
export interface PortTower {
  broadcast(data: Uint8Array): Answer
  removeClient(id: string): boolean
  count(): number
  addOutlet(outlet: Outlet, id: string): SendConnection
}

/**
 * Serves one worker until its port closes, which ends the listeners that live there. What a worker gets wrong hurts
 * itself only.
 */
export function servePort(port: MessagePort, tower: PortTower): void {
  const listeners = new Map<number, { outlet: PortOutlet; connection: SendConnection }>()
  const say = (message: ToWorker, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer)
  const add = (id: string, socket: number): boolean => {
    if (listeners.has(socket)) throw new HubError('REQUEST_INVALID', `socket: this port has a number ${socket} already`)
    const outlet = new PortOutlet(socket, say, () => listeners.delete(socket))
    listeners.set(socket, { outlet, connection: tower.addOutlet(outlet, id) })
    return true
  }
  const handle = (message: FromWorker): void => {
    const listener = 'socket' in message ? listeners.get(message.socket) : undefined
    if (message.type === 'wrote') listener?.outlet.wrote(message.count)
    else if (message.type === 'gone') listener?.connection.lost('peer')
    else answer(message.call, say, () => call(message, tower, add))
  }
  port.on('message', (input: unknown) => {
    const { success, data, error } = fromWorkerSchema.safeParse(input)
    if (success) handle(data)
    else refuse(input, error.issues[0]!, say)
  })
  port.on('close', () => {
    for (const { connection } of [...listeners.values()]) connection.lost('peer')
  })
}

type Call = Extract<FromWorker, { call: number }>

function call(message: Call, tower: PortTower, add: (id: string, socket: number) => boolean): Answer {
  switch (message.type) {
    case 'broadcast':
      return tower.broadcast(message.data)
    case 'add':
      return add(message.id, message.socket)
    case 'remove':
      return tower.removeClient(message.id)
    default:
      return tower.count()
  }
}

function answer(call: number, say: (message: ToWorker) => void, run: () => Answer): void {
  try {
    say({ type: 'answer', call, value: run() })
  } catch (error) {
    const { code, message } = error instanceof HubError ? error : new HubError('INTERNAL', String(error))
    say({ type: 'error', call, code, message })
  }
}

/** Who can be answered is; a message without a call's number has nobody that waits. */
function refuse(
  input: unknown,
  issue: { path: PropertyKey[]; message: string },
  say: (message: ToWorker) => void,
): void {
  const { call } = (input ?? {}) as { call?: unknown }
  if (typeof call !== 'number') return
  const message = `${issue.path.join('.') || 'message'}: ${issue.message}`
  say({ type: 'error', call, code: 'REQUEST_INVALID', message })
}

/** The way to a socket in the worker: one write at a time, and the worker says how many bytes its socket took. */
class PortOutlet implements Outlet {
  readonly protocol = 'send'
  readonly #socket: number
  readonly #say: (message: ToWorker, transfer?: ArrayBuffer[]) => void
  readonly #ended: () => void
  #taken: ((count: number) => void) | undefined
  #offered = 0

  constructor(socket: number, say: (message: ToWorker, transfer?: ArrayBuffer[]) => void, ended: () => void) {
    this.#socket = socket
    this.#say = say
    this.#ended = ended
  }

  offer(bytes: Uint8Array, taken: (count: number) => void): void {
    this.#taken = taken
    this.#offered = bytes.byteLength
    const data = copyOf(bytes)
    this.#say({ type: 'write', socket: this.#socket, data }, [data.buffer])
  }

  /** The worker has counted; a count that cannot be is none [H11]. */
  wrote(count: number): void {
    const taken = this.#taken
    this.#taken = undefined
    taken?.(count <= this.#offered ? count : 0)
  }

  end(reason: CloseReason): void {
    this.#ended()
    this.#say({ type: 'close', socket: this.#socket, reason })
  }
}
