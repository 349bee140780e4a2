import type { ServerResponse } from 'node:http'
import { codecRule } from '../core/arguments.ts'
import { HubError } from '../core/errors.ts'
import {
  anything,
  callable,
  checkValue,
  flag,
  having,
  object,
  oneOf,
  type Rules,
  readOptions,
} from '../core/options.ts'
import { clientProtocol as uncheckedProtocol } from './client-protocol.ts'
import type { SseEncoding, SseNaming } from './codecs.ts'
import type { WebSocketChannel } from './frame-socket.ts'
import * as frameSockets from './frame-socket.ts'
import * as httpStreams from './http-stream.ts'
import * as requests from './request-clients.ts'
import { sse as uncheckedSse } from './sse.ts'
import type { Opening, Transport } from './transport.ts'
import * as unchecked from './transport.ts'
import * as webSockets from './websocket.ts'

/*
 * The transports as programs use them: each checks its opening before it writes anything. The server makes its openings
 * itself and uses the transports directly, so that its connections do not pay for the checks.
 */

const heart = having('a heartbeat', 'add')

const OPENING: Rules<Opening> = {
  hub: having('a hub', 'registerClient', 'checkSubscriptions', 'subscribe', 'subscribePattern'),
  // registerClient checks these.
  clientId: anything,
  session: anything,
  address: anything,
  ifExists: anything,
  restore: anything,
  named: flag,
  topics: value => (isTopicList(value) ? undefined : 'an array of { name, options }'),
  credentials: object,
  heartbeat: value => (value === false || heart(value, '') === undefined ? undefined : 'a Heartbeat or false'),
  inbound: having('a limit', 'take'),
  headers: object,
}

function isTopicList(value: unknown): boolean {
  return Array.isArray(value) && value.every(topic => object(topic, '') === undefined && isTopic(Object.keys(topic)))
}

function isTopic(keys: readonly string[]): boolean {
  return keys.includes('name') && keys.every(key => key === 'name' || key === 'options')
}

/**
 * Throws REQUEST_INVALID for a wrong field, and for an unknown one with the nearest name: a client whose session is
 * misspelt would have no session. Nothing has been written to the channel then.
 */
function checkOpening(opening: Opening): void {
  const { hub, topics } = readOptions(opening, OPENING, 'open')
  if (hub !== undefined && topics !== undefined) return
  throw new HubError('REQUEST_INVALID', `${hub === undefined ? 'hub' : 'topics'} must not be undefined`)
}

const bound = having('a connection', 'write', 'close', 'bind', 'detach')
const responseRule = having('a response', 'writeHead', 'flushHeaders')
const CHANNEL: Rules<WebSocketChannel> = {
  webSocket: having('a WebSocket', 'close', 'ping', 'on'),
  socket: having('a socket', 'write', 'on'),
}

function checkResponse(response: ServerResponse): void {
  checkValue(response, responseRule, 'response')
}

function checkChannel(channel: WebSocketChannel): void {
  readOptions(channel, CHANNEL, 'channel.', 'REQUEST_INVALID', ['webSocket', 'socket'])
}

function checked<Channel>({ name, open }: Transport<Channel>, check: (channel: Channel) => void): Transport<Channel> {
  return {
    name,
    open(channel, opening) {
      checkOpening(opening)
      check(channel)
      return open(channel, opening)
    },
  }
}

/** The bytes as published, one after the other: for curl, players, anything that reads a socket. */
export const httpStream = checked(httpStreams.httpStream, checkResponse)
/** Each message replaces the one before: a live picture. */
export const multipart = checked(httpStreams.multipart, checkResponse)
/** The same for `<img src="/topics/camera">`: Chromium shows each picture at once, also one that no other follows. */
export const multipartImage = checked(httpStreams.multipartImage, checkResponse)
/** One topic a socket: the frames are the messages as published, text for text types and binary for the rest. */
export const webSocketTopic = checked(webSockets.webSocketTopic, checkChannel)
/**
 * The same, and it reports losses: every binary frame is a message, and every text frame is a JSON object about the
 * stream.
 */
export const webSocketTopicWithGaps = checked(webSockets.webSocketTopicWithGaps, checkChannel)

const NAMING = oneOf('single', 'named')
const ENCODING = oneOf('text', 'base64')

/**
 * Server-Sent Events (HTML Standard, section 9.2), for EventSource. Tells gaps, and why it ends. Throws
 * REQUEST_INVALID.
 */
export function sse(naming: SseNaming, encoding: SseEncoding): Transport<ServerResponse> {
  checkValue(naming, NAMING, 'naming')
  checkValue(encoding, ENCODING, 'encoding')
  return checked(uncheckedSse(naming, encoding), checkResponse)
}

/** Many topics on one WebSocket, changed at run time: the Centrifuge client protocol. One of these per hub. */
export const clientProtocol: typeof uncheckedProtocol = options => checked(uncheckedProtocol(options), checkChannel)

// What a transport of a program's own is made of.

/** Registers and subscribes, or neither. Throws the HubErrors of registerClient and subscribe. */
export const join: typeof unchecked.join = (connection, opening, beginning) => {
  checkValue(connection, bound, 'connection')
  checkOpening(opening)
  return unchecked.join(connection, opening, beginning)
}

/** By name or by pattern. Throws as subscribe and subscribePattern do. */
export const subscribeTo: typeof unchecked.subscribeTo = (hub, id, name, options) => {
  checkValue(hub, OPENING.hub, 'hub')
  unchecked.subscribeTo(hub, id, name, options)
}

/** Begins an endless response and gives its socket to the core. Throws as `join`, and CONNECTION_STALE. */
export const openStream: typeof httpStreams.openStream = (response, opening, head) => {
  checkResponse(response)
  checkOpening(opening)
  checkValue(head, object, 'head')
  return httpStreams.openStream(response, opening, head)
}

/** The connection of a WebSocket. Throws REQUEST_INVALID. */
export const webSocketConnection: typeof frameSockets.webSocketConnection = (channel, codec, codeOf) => {
  checkChannel(channel)
  checkValue(codec, codecRule, 'codec')
  if (codeOf !== undefined) checkValue(codeOf, callable, 'codeOf')
  return frameSockets.webSocketConnection(channel, codec, codeOf)
}

/** Registers a client whose messages are requests, and subscribes it, or neither. Throws as `join`. */
export const openReceiver: typeof requests.openReceiver = (hub, receiver, opening, rules) => {
  checkValue(hub, requests.requestHub, 'hub')
  checkValue(receiver, object, 'receiver')
  checkValue(receiver.attempt, callable, 'receiver.attempt')
  readOptions(rules, requests.REQUEST_RULES, 'rules.')
  return requests.openReceiver(hub, receiver, readOptions(opening, requests.OPENING_RULES, 'opening.'), rules)
}
