import type { MessagePort } from 'node:worker_threads'
import type { RouteResult } from '../core/broker.ts'
import { HubError } from '../core/errors.ts'
import { type Answer, copyOf, type FromWorker, MAX_CALLS, type ToWorker } from './port-messages.ts'
import { countSent, endSocket, isSendSocket, type SendSocket } from './send-socket.ts'

/** A tower that lives in another thread. Each call is one turn there, so it is as atomic as there [H5]. */
export interface WorkerTower {
  /** The bytes are copied. Rejects as HTTPConnectionManager.broadcast throws, and LIMIT_EXCEEDED where 1,024 calls are unanswered. */
  broadcast(data: Uint8Array): Promise<RouteResult | undefined>
  /** A socket of this thread: its `send` is called here, one write at a time, under the same rules [H11]. */
  addClient(socket: SendSocket, clientId: string): Promise<boolean>
  removeClient(clientId: string): Promise<boolean>
  count(): Promise<number>
  /** Ends this thread's listeners and its unanswered calls. */
  close(): void
}

/** The tower at the other end of the port, for which it was told to `accept` this one. */
export function fromWorker(port: MessagePort): WorkerTower {
  const calls = new Map<number, { resolve: (value: never) => void; reject: (error: HubError) => void }>()
  const sockets = new Map<number, SendSocket>()
  let serial = 0
  let open = true

  const say = (message: FromWorker, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer)
  const call = <T extends Answer>(make: (call: number) => FromWorker, transfer: ArrayBuffer[] = []): Promise<T> =>
    new Promise<T>((resolve, reject) => {
      if (!open) throw new HubError('SHUTTING_DOWN', 'the port to the tower is closed')
      if (calls.size >= MAX_CALLS) {
        throw new HubError('LIMIT_EXCEEDED', `limit: ${MAX_CALLS} calls to the tower wait for their answer; await some`)
      }
      const number = ++serial
      calls.set(number, { resolve, reject })
      say(make(number), transfer)
    })

  port.on('message', (message: ToWorker) => {
    if (message.type === 'write') {
      const socket = sockets.get(message.socket)
      if (socket)
        say({ type: 'wrote', socket: message.socket, count: countSent(socket, Buffer.from(message.data.buffer)) })
    } else if (message.type === 'close') {
      const socket = sockets.get(message.socket)
      sockets.delete(message.socket)
      if (socket) endSocket(socket, message.reason)
    } else {
      const waiting = calls.get(message.call)
      calls.delete(message.call)
      if (message.type === 'answer') waiting?.resolve(message.value as never)
      else waiting?.reject(new HubError(message.code, message.message))
    }
  })
  port.on('close', () => {
    open = false
    for (const { reject } of calls.values()) reject(new HubError('SHUTTING_DOWN', 'the port to the tower has closed'))
    calls.clear()
    for (const socket of sockets.values()) endSocket(socket, 'shutdown')
    sockets.clear()
  })

  return {
    broadcast(data) {
      if (!(data instanceof Uint8Array)) {
        return Promise.reject(new HubError('MESSAGE_INVALID', `data: give a Uint8Array or Buffer, not ${typeof data}`))
      }
      const copy = copyOf(data)
      return call(number => ({ type: 'broadcast', call: number, data: copy }), [copy.buffer])
    },
    async addClient(socket, id) {
      if (!isSendSocket(socket)) throw new HubError('REQUEST_INVALID', 'socket: a worker adds objects with send(data)')
      const number = ++serial
      sockets.set(number, socket)
      for (const event of ['close', 'end', 'error']) socket.on?.(event, () => say({ type: 'gone', socket: number }))
      try {
        return await call<boolean>(each => ({ type: 'add', call: each, id, socket: number }))
      } catch (error) {
        sockets.delete(number)
        throw error
      }
    },
    removeClient: id => call(number => ({ type: 'remove', call: number, id })),
    count: () => call(number => ({ type: 'count', call: number })),
    close: () => port.close(),
  }
}
