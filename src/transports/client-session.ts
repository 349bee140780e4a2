import type { WebSocket } from 'ws'
import type { Client, CloseReason } from '../core/connection.ts'
import { type ClientId, parseClientId } from '../core/ids.ts'
import type { Gap } from '../core/message.ts'
import { notToName } from '../core/refusals.ts'
import type { Session } from '../core/sessions.ts'
import { eventLoop } from '../event-loop.ts'
import { commandLines, DISCONNECTS, type Disconnect, ERRORS, errorReply, resultReply } from '../wire/client-protocol.ts'
import { CLIENT_CLOSE_CODES, clientCodec, PROTOBUF, textFrame } from './client-codec.ts'
import { type Command, namesMany, PATTERN_BYTES, readCommand } from './client-commands.ts'
import { authenticate, connectReply, refresh } from './client-connect.ts'
import { ClientFrames } from './client-frames.ts'
import { protocolError, refusalOf, type TopicsContext } from './client-gate.ts'
import { ClientPings } from './client-pings.ts'
import { ClientPublications } from './client-publications.ts'
import { type Answer, CommandQueue, REPLY_BYTES_PER_TURN } from './client-queue.ts'
import { read } from './client-reads.ts'
import { ClientTopics } from './client-topics.ts'
import { type WebSocketChannel, webSocketConnection } from './frame-socket.ts'
import type { NodeSocket } from './node-socket.ts'
import { flooded, heartbeatOf, type Opening, subscribeAll } from './transport.ts'

/** What all sessions of one transport share. */
export interface SessionContext extends TopicsContext {
  readonly connectTimeoutMs: number
  /** Commands that one frame may have, and that may wait for their turn. */
  readonly maxCommands: number
  /** The registered ones, so that one listener on the hub serves them all. */
  readonly byId: Map<ClientId, ClientSession>
}

type Connect = Extract<Command, { method: 'connect' }>

/**
 * One socket of the client protocol. Its connect command makes it a client of the hub. What a peer sends never throws
 * here: the peer gets an error or a close code.
 */
export class ClientSession implements Client {
  readonly id: ClientId
  readonly #context: SessionContext
  #opening: Opening | undefined
  readonly #webSocket: WebSocket
  readonly #connection: NodeSocket
  /** What a close for `protocol` says, where that is known more exactly. */
  #misdeed: Disconnect | undefined
  #stale: Disposable | undefined
  readonly #queue: CommandQueue
  readonly #frames: ClientFrames
  #connecting = false
  readonly #publications = new ClientPublications(this)
  #replied = 0
  #client: Client | undefined
  #topics: ClientTopics | undefined
  #pings: ClientPings | undefined
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
      this.#misdeed && (reason === 'protocol' || reason === 'idle') ? this.#misdeed : CLIENT_CLOSE_CODES[reason],
    )
    this.#queue = new CommandQueue(context.maxCommands, command => this.#answer(command), opening.inbound)
    this.#stale = eventLoop.after(context.connectTimeoutMs, () => this.#disconnect(DISCONNECTS.stale))
    this.#frames = new ClientFrames(channel.webSocket, (data, binary) => this.#guard(data, binary))
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

  untold(gap: Gap): void {
    this.#client?.untold(gap)
  }

  close(reason: CloseReason): void {
    this.end()
    if (reason === 'flooding') this.#context.rejected(flooded(), this.id)
    if (this.#client) this.#client.close(reason)
    else this.#connection.close(reason)
  }

  [Symbol.dispose](): void {
    this.close('peer')
  }

  /** Is the registration under this id still this one? Another client may have replaced it meanwhile. */
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
    this.#frames.end()
    this.#heard()
    this.#pings?.end()
    this.#topics?.end()
    if (this.#context.byId.get(this.id) === this) this.#context.byId.delete(this.id)
  }

  // ---- commands

  #receive(data: Buffer, binary: boolean): void {
    if (this.#ended) return
    if (binary) {
      this.#malformed('binary frames are the Protobuf form, which is not there yet: use JSON')
      return
    }
    const { maxCommands } = this.#context
    let commands = 0
    for (const line of commandLines(data.toString())) {
      if (++commands > maxCommands) this.#malformed(`a frame has at most ${maxCommands} commands`)
      if (!this.#queue.admits(line.length)) this.close('flooding')
      if (this.#ended) return
      this.#take(readCommand(line), line.length)
    }
    if (commands === 0) this.#malformed('the frame is empty')
  }

  #take(command: Command, length: number): void {
    if (command.method === 'malformed') return void this.#malformed(command.why)
    const connect = command.method === 'connect' || (command.method === 'refused' && command.of === 'connect')
    if (connect === this.#connecting) return void this.#malformed(`connect comes ${connect ? 'once' : 'first'}`)
    if (connect) {
      this.#connecting = true
      this.#heard()
    }
    this.#pings?.heard(command.method === 'pong')
    // The answer to a ping does not stand in line: it says that the peer is there now.
    if (command.method === 'pong') return
    if (namesMany(command) && !this.#queue.admits(PATTERN_BYTES)) this.close('flooding')
    else if (!this.#queue.push(command, length)) this.close('flooding')
  }

  /** Its first word has come, or never will. */
  #heard(): void {
    this.#stale?.[Symbol.dispose]()
    this.#stale = undefined
  }

  async #answer(command: Command): Promise<Answer> {
    if (command.method === 'publish') return this.#publications.answer(command)
    const before = this.#replied
    try {
      const reply = await this.#perform(command)
      if (reply !== undefined) this.reply(reply)
    } catch (error) {
      this.replyError('id' in command ? command.id : undefined, error)
    }
    return namesMany(command) ? REPLY_BYTES_PER_TURN : this.#replied - before
  }

  replyError(id: number | undefined, error: unknown): void {
    const known = protocolError(error)
    if (known === undefined) this.#fault(error)
    this.#context.rejected(error, this.id)
    if (id !== undefined) this.reply(errorReply(id, known ?? ERRORS.internal))
  }

  #perform(command: Exclude<Command, { method: 'publish' }>): Promise<string | undefined> | string | undefined {
    switch (command.method) {
      case 'connect':
        return this.#connect(command)
      case 'subscribe':
        return this.#topics!.subscribe(command)
      case 'unsubscribe':
        return this.#topics!.unsubscribe(command)
      case 'ack':
        return this.#topics!.acknowledge(command)
      case 'history':
      case 'presence':
      case 'presence_stats':
        return read(this.#context, this, command)
      case 'refresh':
        return refresh(this.#context, this, command)
      case 'sub_refresh':
        return this.#topics!.refresh(command)
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

  async #connect(command: Connect): Promise<undefined> {
    const { id, token } = command
    try {
      const opening = this.#opening!
      const session = opening.session ?? (await authenticate(this.#context, token, opening, this.#connection))
      if (!this.#ended) this.#register(command, session, opening)
      this.#opening = undefined
    } catch (error) {
      const known = protocolError(error)
      // The SDKs get a new token and come back. No client is registered yet, so there is no outbox to keep in order.
      if (known?.code === ERRORS.tokenExpired.code && !this.#ended) this.#webSocket.send(errorReply(id, known))
      const refusal = refusalOf(error, token)
      if (refusal === undefined) this.#fault(error)
      this.#context.rejected(error, this.id)
      this.#disconnect(refusal ?? DISCONNECTS.serverError)
    }
  }

  #register(command: Connect, session: Session, opening: Opening): void {
    const { hub, byId } = this.#context
    const { address, topics, named } = opening
    const heartbeat = heartbeatOf(opening)
    if (named && session.anonymous) throw notToName()
    this.#client = hub.registerClient(this.id, this.#connection, { session, address })
    this.#connection.bind(this.#client)
    this.#topics = new ClientTopics(this.#context, this)
    subscribeAll(hub, this.#client, topics)
    // A handler of the hub's events may have subscribed it too.
    const reply = connectReply(this.#context, this.id, command, session, heartbeat)
    byId.set(this.id, this)
    const pinged = { hub, client: this, connection: this.#connection, endIdle: () => this.#endIdle() }
    if (heartbeat) this.#pings = new ClientPings(heartbeat, pinged)
    this.reply(reply)
  }

  #endIdle(): void {
    this.#misdeed = [DISCONNECTS.forceNoReconnect[0], 'idle: no subscription, and nothing sent']
    this.close('idle')
  }

  hint(frame: Uint8Array): void {
    if (this.#connection.writable) this.send(frame)
  }

  /** Sends a text of the protocol. */
  reply(text: string): void {
    const frame = textFrame(text)
    this.#replied += frame.byteLength
    this.send(frame)
  }

  #malformed(why: string): void {
    this.#disconnect([DISCONNECTS.badRequest[0], `${DISCONNECTS.badRequest[1]}: ${why}`])
  }

  #disconnect(disconnect: Disconnect): void {
    this.#misdeed = disconnect
    this.close('protocol')
  }

  /** What a peer sends must never end the process, whatever we forgot. */
  #guard(data: Buffer, binary: boolean): void {
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
