/**
 * The Centrifuge client protocol, version 2, in its JSON form: what goes over the wire and what its numbers mean. A
 * frame is one or more JSON objects, one a line. The client sends commands; the server answers each with a reply of the
 * same id, and pushes what nobody asked for (no id). An empty object is a ping from the server and a pong from the
 * client.
 */
import { decodeUtf8 } from './content-type.ts'
import { parseJson } from './json.ts'

/**
 * The answer to a command that failed. `temporary`: the SDKs try again by themselves; anything else ends the attempt.
 */
export interface ProtocolError {
  readonly code: number
  readonly message: string
  readonly temporary?: boolean
}

export const ERRORS = {
  internal: { code: 100, message: 'internal server error', temporary: true },
  unauthorized: { code: 101, message: 'unauthorized' },
  unknownChannel: { code: 102, message: 'unknown channel' },
  permissionDenied: { code: 103, message: 'permission denied' },
  methodNotFound: { code: 104, message: 'method not found' },
  alreadySubscribed: { code: 105, message: 'already subscribed' },
  limitExceeded: { code: 106, message: 'limit exceeded' },
  badRequest: { code: 107, message: 'bad request' },
  notAvailable: { code: 108, message: 'not available' },
  tokenExpired: { code: 109, message: 'token expired' },
  expired: { code: 110, message: 'expired' },
  tooManyRequests: { code: 111, message: 'too many requests', temporary: true },
  unrecoverablePosition: { code: 112, message: 'unrecoverable position' },
} as const satisfies Record<string, ProtocolError>

export type ErrorName = keyof typeof ERRORS

/**
 * A WebSocket close code and its text, at most 123 bytes. The SDKs come back after 3000 to 3499, and stay away from
 * 3500 on.
 */
export type Disconnect = readonly [code: number, reason: string]

export const DISCONNECTS = {
  connectionClosed: [3000, 'connection closed'],
  shutdown: [3001, 'shutdown'],
  serverError: [3004, 'internal server error'],
  expired: [3005, 'connection expired'],
  subscriptionExpired: [3006, 'subscription expired'],
  slow: [3008, 'slow'],
  writeError: [3009, 'write error'],
  insufficientState: [3010, 'insufficient state'],
  forceReconnect: [3011, 'force reconnect'],
  noPong: [3012, 'no pong'],
  tooManyRequests: [3013, 'too many requests'],
  invalidToken: [3500, 'invalid token'],
  badRequest: [3501, 'bad request'],
  stale: [3502, 'stale'],
  forceNoReconnect: [3503, 'force disconnect'],
  connectionLimit: [3504, 'connection limit'],
  channelLimit: [3505, 'channel limit'],
  inappropriateProtocol: [3506, 'inappropriate protocol'],
  permissionDenied: [3507, 'permission denied'],
  notAvailable: [3508, 'not available'],
  tooManyErrors: [3509, 'too many errors'],
} as const satisfies Record<string, Disconnect>

/** Why the server ended a subscription. The SDKs subscribe again from 2500 on; below that it is over. */
export interface Unsubscribe {
  readonly code: number
  readonly reason: string
}

export const UNSUBSCRIBES = {
  server: { code: 2000, reason: 'server unsubscribe' },
  insufficientState: { code: 2500, reason: 'insufficient state' },
  expired: { code: 2501, reason: 'subscription expired' },
} as const satisfies Record<string, Unsubscribe>

/** The empty frame, both ways. */
export const PING = '{}'

/** The commands of a frame. Lines without one are skipped. */
export function* commandLines(frame: string): Generator<string> {
  for (let from = 0; from < frame.length; ) {
    const newline = frame.indexOf('\n', from)
    const to = newline === -1 ? frame.length : newline
    const line = frame.slice(from, to)
    if (line.trim() !== '') yield line
    from = to + 1
  }
}

export function resultReply(id: number, method: string, result: object): string {
  return JSON.stringify({ id, [method]: result })
}

export function errorReply(id: number, error: ProtocolError): string {
  return JSON.stringify({ id, error })
}

export type PushKind = 'subscribe' | 'unsubscribe' | 'join' | 'leave' | 'gap'

/** `kind` is the protocol's own word, or `gap`, which is ours: SDKs pass over pushes that they do not know. */
export function push(channel: string, kind: PushKind, value: object): string {
  return JSON.stringify({ push: { channel, [kind]: value } })
}

const encoder = new TextEncoder()

/**
 * A publication with its data as published, which must be JSON text (isJsonText). A line end in it can only be white
 * space, and would end the frame's line: it becomes a space. `channel` needs no escaping: it is a topic name. `info`:
 * the ClientInfo of its publisher.
 */
export function publicationPush(channel: string, offset: number, data: Uint8Array, info?: object): Uint8Array {
  return aroundJson(`{"push":{"channel":"${channel}","pub":{"data":`, data, `${infoMember(info)},"offset":${offset}}}}`)
}

/** A publication within a reply, as JSON text with its data as published; null where the data is not JSON text. */
export function publicationText(offset: number, data: Uint8Array, info?: object): string | null {
  const text = decodeUtf8(data)
  if (text === null || parseJson(text) === undefined) return null
  return `{"data":${text.replace(/[\n\r]/g, ' ')}${infoMember(info)},"offset":${offset}}`
}

function infoMember(info: object | undefined): string {
  return info === undefined ? '' : `,"info":${JSON.stringify(info)}`
}

/** A reply with publications that are JSON text already. */
export function publicationsReply(id: number, method: string, result: object, publications: readonly string[]): string {
  const reply = resultReply(id, method, result)
  // Of `...}}`, the inner object is what gets them.
  return `${reply.slice(0, -2)},"publications":[${publications.join(',')}]}}`
}

/** What is for one client alone and belongs to no channel. The data must be JSON text. */
export function messagePush(data: Uint8Array): Uint8Array {
  return aroundJson('{"push":{"message":{"data":', data, '}}}')
}

/** Can the protocol carry these bytes as data? */
export function isJsonText(data: Uint8Array): boolean {
  const text = decodeUtf8(data)
  return text !== null && parseJson(text) !== undefined
}

/** JSON as published, within ours, on one line. */
function aroundJson(before: string, data: Uint8Array, after: string): Uint8Array {
  const head = encoder.encode(before)
  const tail = encoder.encode(after)
  const bytes = new Uint8Array(head.byteLength + data.byteLength + tail.byteLength)
  bytes.set(head)
  bytes.set(data, head.byteLength)
  bytes.set(tail, head.byteLength + data.byteLength)
  for (const lineEnd of [0x0a, 0x0d]) {
    for (let at = bytes.indexOf(lineEnd); at !== -1; at = bytes.indexOf(lineEnd, at + 1)) bytes[at] = 0x20
  }
  return bytes
}
