import { randomFillSync } from 'node:crypto'
import type { Client, Connection } from '../core/connection.ts'
import type { SubscribeOptions, Subscription } from '../core/contract.ts'
import { HubError } from '../core/errors.ts'
import type { ClientId, Position } from '../core/ids.ts'
import type { ConnectionManager } from '../core/manager.ts'
import type { Gap } from '../core/message.ts'
import { isPattern } from '../core/patterns.ts'
import type { Handshake, Session } from '../core/sessions.ts'
import type { Heartbeat } from './heartbeat.ts'

/** Of an id that the hub makes. */
const ID_BYTES = 16

/** Who opens a channel, and what for. */
export interface Opening {
  readonly hub: ConnectionManager & { readonly heartbeat?: Heartbeat }
  readonly clientId: string
  /** The peer named it. */
  readonly named?: boolean | undefined
  readonly topics: readonly { readonly name: string; readonly options?: SubscribeOptions }[]
  readonly session?: Session | undefined
  /**
   * Of a channel that has its session later: what the request that opened it had. Forgotten once it has been looked at.
   */
  readonly credentials?: Pick<Handshake, 'token' | 'ticket' | 'headers'> | undefined
  /** The peer's address, for people to read. Default: what the connection says. */
  readonly address?: string | undefined
  /** The id is taken. Default replace: the older client is closed. refuse: CLIENT_EXISTS. */
  readonly ifExists?: 'replace' | 'seize' | 'refuse' | undefined
  /**
   * Default: the hub's own, which pings every 25 s unless `createHub` was told otherwise. false: none, nobody finds out
   * about a dead peer.
   */
  readonly heartbeat?: Heartbeat | false | undefined
  /** How much the peer may send, over a WebSocket. Default: as much as it likes. */
  readonly inbound?: InboundLimit | undefined
  /** Of the head of an HTTP answer, beside the transport's own. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** What another process needs to have the client again. */
  readonly restore?: unknown
}

/** Asked of each message of a peer before anybody looks at it. */
export interface InboundLimit {
  /** A message of so many bytes has come. false: it is too much, and the peer is to be closed as `flooding`. */
  take(bytes: number): boolean
}

/** Why a client that `take` said no to is closed. */
export function flooded(): HubError {
  return new HubError(
    'RATE_LIMITED',
    'client: it sends more than limits.messagesPerSecond* and bytesPerSecond* allow, or more commands than may wait; send less at once',
  )
}

/**
 * Makes a registered, subscribed client of an accepted channel (a response not begun, a WebSocket just opened).
 * Throws the HubErrors of registerClient and subscribe, and then has written nothing and registered nobody.
 * From then on the core owns the writing: nothing else writes messages to the channel.
 */
export interface Transport<Channel> {
  readonly name: string
  open(channel: Channel, opening: Opening): Client
}

/** `epoch-seq`, as event ids, headers and queries have it. */
export function formatPosition({ epoch, seq }: Position): string {
  return `${epoch}-${seq}`
}

/** What a protocol with room for it says of the beginning of a subscription. `asked`: it was to resume somewhere. */
export function positionNotice({ topic, position, recovered }: Subscription, asked: boolean) {
  return { topic, position: formatPosition(position), ...(asked && { recovered }) }
}

/**
 * The gap of a subscription that was to resume on a topic which is new. The hub knows nothing of the messages before,
 * so it reports no gap itself. Undefined: there is no such gap.
 */
export function unknownGap({ topic, position, recovered }: Subscription, asked: boolean): Gap | undefined {
  return asked && !recovered && position.seq === 0 ? { topic, from: 0, to: 0, count: null, reason: 'epoch' } : undefined
}
/** A position as text: epoch-seq. */
export const POSITION = /^([0-9a-z]{1,64})-([0-9]{1,15})$/

/** Reads it back; undefined where it is none of ours. */
export function parsePosition(text: string): Position | undefined {
  const match = POSITION.exec(text)
  return match ? { epoch: match[1]!, seq: Number(match[2]) } : undefined
}

/**
 * Publications of one socket that a broker may have without having accepted them: so many, and of so many bytes
 * together. One larger goes alone.
 */
export const PUBLISH_WINDOW = { messages: 64, bytes: 1024 * 1024 } as const

/** Random bytes of the ids to come: the generator is asked for many at once. */
const randomBytes = Buffer.alloc(128 * ID_BYTES)
let used = randomBytes.byteLength

/** An id that cannot be guessed: 32 hexadecimal digits. */
export function newClientId(): ClientId {
  if (used === randomBytes.byteLength) {
    randomFillSync(randomBytes)
    used = 0
  }
  const id = randomBytes.toString('hex', used, used + ID_BYTES)
  used += ID_BYTES
  return id as ClientId
}

export interface Bound extends Connection {
  bind(client: Client): void
  detach(): void
}

/** What a stream begins with. */
export interface Beginning {
  /** Comes before everything. */
  readonly first?: Uint8Array | undefined
  /**
   * Once for each topic, before anything of it is written: where it begins. What it answers is the next that the peer
   * gets.
   */
  readonly begun?: ((subscription: Subscription) => Uint8Array | undefined) | undefined
}

/** Registers and subscribes, or neither. Throws CONNECTION_NOT_FOUND where a handler ends or replaces the client. */
export function join(connection: Bound, opening: Opening, beginning: Beginning = {}): Client {
  const { hub, clientId, topics, session, address, ifExists, restore } = opening
  hub.checkSubscriptions(clientId, topics)
  const client = hub.registerClient(clientId, connection, { session, address, ifExists, restore })
  connection.bind(client)
  try {
    const begun = beginningOf(client, beginning)
    // Of a pattern nothing is said before its messages.
    if (topics.length === 0 || isPattern(topics[0]!.name)) begun()
    for (const { name, options } of topics) {
      checkCurrent(hub, client)
      subscribeTo(hub, clientId, name, beginning.begun ? { ...options, begun } : options)
    }
    checkCurrent(hub, client)
    begun()
  } catch (error) {
    connection.detach()
    client.close('denied')
    throw error
  }
  return client
}

/** What it answers sends the next words of the beginning: the first of them go with what is said of the first topic. */
function beginningOf(client: Client, { first, begun }: Beginning): (subscription?: Subscription) => void {
  let ahead = first
  return subscription => {
    const said = subscription && begun?.(subscription)
    const frame = ahead && said ? Buffer.concat([ahead, said]) : (ahead ?? said)
    ahead = undefined
    if (frame && frame.byteLength > 0) client.send(frame)
  }
}

export function heartbeatOf({ heartbeat, hub }: Opening): Heartbeat | undefined {
  return heartbeat === false ? undefined : (heartbeat ?? hub.heartbeat)
}

/**
 * A handler of an event may have ended the client meanwhile, and have given its id to another one. Throws
 * CONNECTION_NOT_FOUND.
 */
export function checkCurrent(hub: ConnectionManager, client: Client): void {
  if (hub.handleOf(client.id) === client) return
  throw new HubError('CONNECTION_NOT_FOUND', `client: ${client.id} was closed or replaced before it was subscribed`)
}

/** By name or by pattern. Throws as subscribe and subscribePattern do. */
export function subscribeTo(hub: ConnectionManager, id: string, name: string, options?: SubscribeOptions): void {
  if (isPattern(name)) hub.subscribePattern(id, name, options)
  else hub.subscribe(id, name, options)
}

/** Throws as subscribeTo does, and CONNECTION_NOT_FOUND where the client has ended by then. */
export function subscribeAll(hub: ConnectionManager, client: Client, topics: Opening['topics']): void {
  for (const { name, options } of topics) {
    checkCurrent(hub, client)
    subscribeTo(hub, client.id, name, options)
  }
  checkCurrent(hub, client)
}
