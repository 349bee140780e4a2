import type { CloseReason } from '../core/connection.ts'
import type { Codec, Message, PublishedBy } from '../core/message.ts'
import {
  DISCONNECTS,
  type Disconnect,
  isJsonText,
  messagePush,
  PING,
  publicationPush,
  push,
} from '../wire/client-protocol.ts'
import { isJson } from '../wire/content-type.ts'
import { WS_TEXT, wsFrame } from '../wire/ws-frame.ts'
import { concat } from './codecs.ts'

/** A WebSocket text frame, as a Buffer: Node's streams would wrap any other Uint8Array in one at every write. */
function frame(payload: Uint8Array): Buffer {
  const { buffer, byteOffset, byteLength } = wsFrame(WS_TEXT, payload)
  return Buffer.from(buffer, byteOffset, byteLength)
}

export function textFrame(text: string): Buffer {
  return frame(Buffer.from(text))
}

/** The other form of the protocol, by its subprotocol's name. */
export const PROTOBUF = 'centrifuge-protobuf'
export const PING_FRAME = textFrame(PING)

/** The protocol's ClientInfo. */
export function clientInfo({ client = '', user = '', info }: PublishedBy): object {
  return { client, user, ...(info !== undefined && { conn_info: info }) }
}

/** Whether a payload is JSON text: `carries` and `encode` both ask, and the payload is parsed once. */
const found = new WeakMap<Uint8Array, boolean>()

function isCarried({ payload, contentType }: Message): boolean {
  if (!isJson(contentType)) return false
  const known = found.get(payload)
  if (known !== undefined) return known
  const carried = isJsonText(payload)
  found.set(payload, carried)
  return carried
}

/** Publications as pushes. One object for all clients: its identity is the key of the encode-once cache. */
export const clientCodec: Codec = {
  name: 'centrifuge',
  carries: isCarried,
  encode(message) {
    const { topic, seq, payload, publisher } = message
    return isCarried(message) ? frame(publicationPush(topic, seq, payload, publisher && clientInfo(publisher))) : null
  },
  direct: ({ payload, contentType }) =>
    isJson(contentType) && isJsonText(payload) ? frame(messagePush(payload)) : null,
  gap: ({ topic, from, to, count, reason }) => textFrame(push(topic, 'gap', { from, to, count, reason })),
  concat,
}

/**
 * Below 3500 the client comes back by itself. A client whose id connected again must not, or the two would throw each
 * other out for ever. The protocol has no word for overload: 3004 is its one for trouble on our side.
 */
export const CLIENT_CLOSE_CODES: Readonly<Record<CloseReason, Disconnect>> = {
  peer: DISCONNECTS.connectionClosed,
  lost: DISCONNECTS.connectionClosed,
  slow: DISCONNECTS.slow,
  idle: DISCONNECTS.noPong,
  replaced: [DISCONNECTS.forceNoReconnect[0], 'replaced: the same client id connected again'],
  ended: DISCONNECTS.forceNoReconnect,
  denied: DISCONNECTS.permissionDenied,
  expired: DISCONNECTS.expired,
  revoked: DISCONNECTS.invalidToken,
  flooding: DISCONNECTS.tooManyRequests,
  protocol: DISCONNECTS.badRequest,
  overloaded: [DISCONNECTS.serverError[0], 'overloaded: try again later'],
  shutdown: DISCONNECTS.shutdown,
}
