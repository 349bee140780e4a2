import type { MessagePort } from 'node:worker_threads'
import type { RouteResult } from '../core/broker.ts'
import type { CloseReason } from '../core/connection.ts'
import { HubError } from '../core/errors.ts'
import { parseClientId } from '../core/ids.ts'
import { checkValue, having } from '../core/options.ts'
import { type Answer, copyOf, type FromWorker, MAX_CALLS, type ToWorker } from './port-messages.ts'
import { countSent, endSocket, isSendSocket, listenTo, type SendSocket } from './send-socket.ts'

/** A tower that lives in another thread. Each call is one turn there, so it is as atomic as there [H5]. */
export interface WorkerTower {
  /**
   * The bytes are copied. Rejects as HTTPConnectionManager.broadcast throws, and LIMIT_EXCEEDED where 1,024 calls are
   * unanswered.
   */
  broadcast(data: Uint8Array): Promise<RouteResult | undefined>
  /** A socket of this thread: its `send` is called here, one write at a time, under the same rules [H11]. */
  addClient(socket: SendSocket, clientId: string): Promise<boolean>
  removeClient(clientId: string): Promise<boolean>
  count(): Promise<number>
  /** Ends this thread's listeners and its unanswered calls. */
  close(): void
}

/** A socket of this thread that is a client, or asks to be one. */
interface Remote {
  readonly socket: SendSocket
  readonly id: string
  readonly added: Promise<boolean>
  readonly stop: () => void
}

const portRule = having('a MessagePort', 'on', 'postMessage', 'close')

/** The tower at the other end of the port, for which it was told to `accept` this one. Throws CONFIG_INVALID. */
export function fromWorker(port: MessagePort): WorkerTower {
  checkValue(port, portRule, 'fromWorker: port', 'CONFIG_INVALID')
  const calls = new Map<number, { resolve: (value: never) => void; reject: (error: HubError) => void }>()
  const remotes = new Map<number, Remote>()
  const remoteOf = new WeakMap<SendSocket, Remote>()
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
      say(make(number), transfer)
      calls.set(number, { resolve, reject })
    })
  const forget = (number: number): Remote | undefined => {
    const remote = remotes.get(number)
    if (remote === undefined) return undefined
    remotes.delete(number)
    remoteOf.delete(remote.socket)
    remote.stop()
    return remote
  }
  const end = (number: number, reason: CloseReason): void => {
    const remote = forget(number)
    if (remote) endSocket(remote.socket, reason)
  }
  const add = (socket: SendSocket, id: string): Promise<boolean> => {
    const number = ++serial
    const gone = (): void => say({ type: 'gone', socket: number })
    const added = call<boolean>(each => ({ type: 'add', call: each, id, socket: number }))
    const stop = listenTo(socket, [
      ['close', gone],
      ['end', gone],
      ['error', gone],
    ])
    const remote = { socket, id, added, stop }
    remotes.set(number, remote)
    remoteOf.set(socket, remote)
    added.catch(() => forget(number))
    return added
  }

  port.on('message', (message: ToWorker) => {
    if (message.type === 'write') {
      const socket = remotes.get(message.socket)?.socket
      if (socket) {
        say({ type: 'wrote', socket: message.socket, count: countSent(socket, Buffer.from(message.data.buffer)) })
      }
    } else if (message.type === 'close') {
      end(message.socket, message.reason)
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
    for (const number of [...remotes.keys()]) end(number, 'shutdown')
  })

  return {
    async broadcast(data) {
      if (!(data instanceof Uint8Array)) {
        throw new HubError('INVALID_MESSAGE', `data: give a Uint8Array or Buffer, not ${typeof data}`)
      }
      const copy = copyOf(data)
      return call(number => ({ type: 'broadcast', call: number, data: copy }), [copy.buffer])
    },
    async addClient(socket, id) {
      if (!isSendSocket(socket)) throw new HubError('REQUEST_INVALID', 'socket: a worker adds objects with send(data)')
      const known = remoteOf.get(socket)
      if (known === undefined) return socket.destroyed !== true && add(socket, parseClientId(id))
      if (known.id === id) return known.added
      throw new HubError('CLIENT_EXISTS', `socket: it is the client ${known.id} already, and cannot be ${id} as well`)
    },
    async removeClient(id) {
      // An id that is none is nobody's, and may be something that no port carries.
      return typeof id === 'string' && call(number => ({ type: 'remove', call: number, id }))
    },
    count: () => call(number => ({ type: 'count', call: number })),
    close: () => port.close(),
  }
}
