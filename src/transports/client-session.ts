import type { RawData, WebSocket } from 'ws'
import type { Client, CloseReason } from '../core/connection.ts'
import { HubError } from '../core/errors.ts'
import { type ClientId, parseClientId } from '../core/ids.ts'
import type { ConnectionManager } from '../core/manager.ts'
import type { DeliveryPolicy } from '../core/policy.ts'
import { openSessions, type Session, type SessionManager } from '../core/sessions.ts'
import { commandLines, DISCONNECTS, type Disconnect, ERRORS, errorReply, resultReply } from '../wire/client-protocol.ts'
import { CLIENT_CLOSE_CODES, clientCodec, PING_FRAME, PROTOBUF, textFrame } from './client-codec.ts'
import { type Command, readCommand } from './client-commands.ts'
import { CommandQueue } from './client-queue.ts'
import { ClientTopics, protocolError } from './client-topics.ts'
import type { NodeSocket } from './node-socket.ts'
import type { Opening } from './transport.ts'
import { type WebSocketChannel, webSocketConnection } from './websocket.ts'

/** What all sessions of one transport share. */
export interface SessionContext {
  readonly hub: ConnectionManager
  readonly sessions: SessionManager
  readonly parsePolicy: (input: unknown) => DeliveryPolicy
  readonly connectTimeoutMs: number
  /** Commands that one frame may have, and that may wait for their turn. */
  readonly maxCommands: number
  /** The registered ones, so that one listener on the hub serves them all. */
  readonly byId: Map<ClientId, ClientSession>
}

/**
 * One socket of the client protocol. It becomes a client of the hub with its connect command; until then it counts nowhere.
 * Nothing here throws on what a peer sends: it is answered with an error or a close code.
 */
export class ClientSession implements Client {
  readonly id: ClientId
  readonly #context: SessionContext
  /** Until it is a client. */
  #opening: Opening | undefined
  readonly #webSocket: WebSocket
  readonly #connection: NodeSocket
  /** What a close for `protocol` says, where that is known more exactly. */
  #misdeed: Disconnect | undefined
  /** Until it says connect. */
  #stale: NodeJS.Timeout | undefined
  readonly #queue: CommandQueue
  #connecting = false
  #client: Client | undefined
  #topics: ClientTopics | undefined
  #stopPings: (() => void) | undefined
  #ponged = true
  #ended = false

  get closed(): boolean {
    return this.#ended
  }

  /** Throws CLIENT_ID_INVALID. */
  constructor(channel: WebSocketChannel, opening: Opening, context: SessionContext) {
    this.id = parseClientId(opening.clientId)
    this.#context = context
    this.#opening = opening
    this.#webSocket = channel.webSocket
    this.#connection = webSocketConnection(channel, clientCodec, reason =>
      reason === 'protocol' && this.#misdeed ? this.#misdeed : CLIENT_CLOSE_CODES[reason],
    )
    this.#queue = new CommandQueue(context.maxCommands, command => this.#answer(command))
    this.#stale = setTimeout(() => this.#disconnect(DISCONNECTS.stale), context.connectTimeoutMs).unref()
    channel.webSocket.on('message', (data, binary) => this.#guard(data, binary))
    channel.webSocket.on('close', () => this.close('peer'))
    if (channel.webSocket.protocol === PROTOBUF) this.#malformed('the Protobuf form is not there yet: use JSON')
  }

  drained(): void {
    this.#client?.drained()
  }

  send(frame: Uint8Array): boolean {
    return this.#client?.send(frame) ?? false
  }

  confirmed(topic: string, seq: number): number {
    return this.#client?.confirmed(topic, seq) ?? 0
  }

  failed(topic: string, seq: number): boolean {
    return this.#client?.failed(topic, seq) ?? false
  }

  close(reason: CloseReason): void {
    this.end()
    if (this.#client) this.#client.close(reason)
    else this.#connection.close(reason)
  }

  [Symbol.dispose](): void {
    this.close('peer')
  }

  /** The registration under this id is still ours: somebody else may have taken it over while we waited. */
  get current(): boolean {
    return this.#context.byId.get(this.id) === this
  }

  /** The client's subscriptions; undefined until it has connected. */
  get topics(): ClientTopics | undefined {
    return this.#topics
  }

  /** Lets go of everything but the connection, which is closed by whoever ends the session. Idempotent. */
  end(): void {
    this.#ended = true
    this.#queue.clear()
    this.#heard()
    this.#stopPings?.()
    if (this.#context.byId.get(this.id) === this) this.#context.byId.delete(this.id)
  }

  // ---- commands

  #receive(data: RawData, binary: boolean): void {
    if (this.#ended) return
    if (binary) {
      this.#malformed('binary frames are the Protobuf form, which is not there yet: use JSON')
      return
    }
    const { maxCommands } = this.#context
    let commands = 0
    for (const line of commandLines(data.toString())) {
      if (++commands > maxCommands) this.#malformed(`a frame has at most ${maxCommands} commands`)
      if (this.#ended) return
      this.#take(readCommand(line), line.length)
    }
    if (commands === 0) this.#malformed('the frame is empty')
  }

  #take(command: Command, length: number): void {
    if (command.method === 'malformed') {
      this.#malformed(command.why)
      return
    }
    const connect = command.method === 'connect' || (command.method === 'refused' && command.of === 'connect')
    if (connect === this.#connecting) {
      this.#malformed(connect ? 'connect comes once' : 'connect comes first')
      return
    }
    if (connect) {
      this.#connecting = true
      this.#heard()
    }
    // The answer to a ping does not stand in line: it says that the peer is there now.
    if (command.method === 'pong') this.#ponged = true
    else if (!this.#queue.push(command, length)) this.#disconnect(DISCONNECTS.tooManyRequests)
  }

  /** Its first word has come, or never will. */
  #heard(): void {
    clearTimeout(this.#stale)
    this.#stale = undefined
  }

  async #answer(command: Command): Promise<number> {
    try {
      const reply = await this.#perform(command)
      return reply === undefined ? 0 : this.reply(reply)
    } catch (error) {
      const known = protocolError(error)
      if (known === undefined) this.#fault(error)
      const id = 'id' in command ? command.id : undefined
      return id === undefined ? 0 : this.reply(errorReply(id, known ?? ERRORS.internal))
    }
  }

  #perform(command: Command): Promise<string | undefined> | string | undefined {
    switch (command.method) {
      case 'connect':
        return this.#connect(command.id, command.token)
      case 'subscribe':
        return this.#topics!.subscribe(command)
      case 'unsubscribe':
        return this.#topics!.unsubscribe(command)
      case 'publish':
        return this.#topics!.publish(command)
      case 'ack':
        return this.#topics!.acknowledge(command)
      case 'ping':
        return resultReply(command.id, 'ping', {})
      case 'refused':
        return this.#refuse(command)
      case 'send':
        this.#disconnect(DISCONNECTS.notAvailable)
        return undefined
      default:
        return undefined
    }
  }

  #refuse({ id, of, error }: Extract<Command, { method: 'refused' }>): string | undefined {
    if (of !== 'connect') return errorReply(id, error)
    // Not a client of the hub yet, so there is no outbox to keep the order of.
    this.#webSocket.send(errorReply(id, error))
    this.#malformed('connect has bad fields')
    return undefined
  }

  // ---- connect

  async #connect(id: number, token: string | undefined): Promise<undefined> {
    try {
      const opening = this.#opening!
      const session = opening.session ?? (await this.#authenticate(token, opening))
      if (!this.#ended) this.#register(id, session, opening)
      this.#opening = undefined
    } catch (error) {
      this.#disconnect(this.#refusal(error, token))
    }
  }

  #authenticate(token: string | undefined, { address }: Opening): Session | Promise<Session> {
    const { sessions } = this.#context
    // A system call, and nobody who wants to know.
    const from = sessions === openSessions ? undefined : (address ?? this.#connection.address)
    return sessions.authenticate({ protocol: clientCodec.name, address: from, token })
  }

  #register(id: number, session: Session, { address, topics, heartbeat }: Opening): void {
    const { hub, byId } = this.#context
    this.#client = hub.registerClient(this.id, this.#connection, { session, address })
    this.#connection.bind(this.#client)
    this.#topics = new ClientTopics(this.#context, this, session)
    for (const { name, options } of topics) hub.subscribe(this.id, name, options)
    // A handler of the hub's events may have subscribed it too, or ended it already: then it is not found.
    const subs = hub.getClient(this.id).subscriptions.map(({ topic }) => [topic, {}])
    const result = {
      client: this.id,
      version: 'hubline',
      ...(heartbeat && { ping: heartbeat.seconds, pong: true }),
      ...(subs.length > 0 && { subs: Object.fromEntries(subs) }),
    }
    byId.set(this.id, this)
    this.#stopPings = heartbeat?.add(() => this.#ping())
    this.reply(resultReply(id, 'connect', result))
  }

  /** The close code of a connect that failed. */
  #refusal(error: unknown, token: string | undefined): Disconnect {
    switch (error instanceof HubError ? error.code : undefined) {
      case 'PERMISSION_DENIED':
        return token === undefined ? DISCONNECTS.permissionDenied : DISCONNECTS.invalidToken
      case 'CONNECTION_NOT_FOUND':
        return DISCONNECTS.permissionDenied
      case 'LIMIT_EXCEEDED':
        return CLIENT_CLOSE_CODES.overloaded
      case 'SHUTTING_DOWN':
        return DISCONNECTS.shutdown
      default:
        this.#fault(error)
        return DISCONNECTS.serverError
    }
  }

  // ---- outbound

  /** No pong since the last ping: nobody is there. Other traffic is no pong. Whether a full connection may stay so is its policy's business. */
  #ping(): void {
    if (!this.#ponged) this.close('idle')
    else if (this.#connection.writable && this.send(PING_FRAME)) this.#ponged = false
  }

  /** Sends a text of the protocol, and answers with its bytes. */
  reply(text: string): number {
    const frame = textFrame(text)
    this.send(frame)
    return frame.byteLength
  }

  #malformed(why: string): void {
    const [code, reason] = DISCONNECTS.badRequest
    this.#disconnect([code, `${reason}: ${why}`])
  }

  #disconnect(disconnect: Disconnect): void {
    this.#misdeed = disconnect
    this.close('protocol')
  }

  /** What a peer sends must never end the process, whatever we forgot. */
  #guard(data: RawData, binary: boolean): void {
    try {
      this.#receive(data, binary)
    } catch (error) {
      this.#fault(error)
      this.#disconnect(DISCONNECTS.serverError)
    }
  }

  #fault(error: unknown): void {
    this.#context.hub.events.emit('fault', { error, where: 'client protocol' })
  }
}
