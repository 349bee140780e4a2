import { payloadOf, stamp } from './marker.mjs'
import { clientMessage } from './ws-client.mjs'

/**
 * How a publication looks on the wire of each publisher. Each takes the payload and gives the bytes, which may be kept.
 * @type {Record<string, (payload: Buffer, topic: number) => Buffer>}
 */
const ENCODERS = {
  /** A WebSocket text frame that is the payload: the server finds the topic in the marker, or has one topic only. */
  websocket: payload => clientMessage(payload),
  /** The same as a string of JSON, for protocols that carry nothing else. */
  json: payload => clientMessage(Buffer.from(`"${payload.latin1Slice()}"`, 'latin1')),
  /** An event of Socket.IO. */
  'socket.io': payload => clientMessage(Buffer.from(`42["publish","${payload.latin1Slice()}"]`, 'latin1')),
  /** NATS over TCP. */
  nats: (payload, topic) =>
    Buffer.concat([Buffer.from(`PUB t${topic} ${payload.length}\r\n`), payload, Buffer.from('\r\n')]),
  /** MQTT 3.1.1 PUBLISH, QoS 0. */
  mqtt(payload, topic) {
    const name = Buffer.from(`t${topic}`)
    const length = 2 + name.length + payload.length
    const head = [0x30]
    for (let rest = length; ; rest = rest >> 7) {
      head.push(rest > 127 ? (rest & 127) | 128 : rest)
      if (rest <= 127) break
    }
    return Buffer.concat([Buffer.from([...head, 0, name.length]), name, payload])
  },
  /** A POST on a connection that is kept alive. */
  post: (payload, topic) =>
    Buffer.concat([
      Buffer.from(`POST /pub/t${topic} HTTP/1.1\r\nhost: a\r\ncontent-length: ${payload.length}\r\n\r\n`),
      payload,
    ]),
  /** The body of an endless request. Icecast holds the last four bytes back until more come. */
  bytes: payload => Buffer.concat([payload, Buffer.from('....')]),
}

/** One or more connections that publish to all topics, each message stamped as it is written. */
export class Publisher {
  #sockets
  #encode
  #topics
  #seq = []
  #payload
  #turn = 0
  sent = 0

  constructor(sockets, { encoder, payloadBytes, topics }) {
    this.#sockets = sockets
    this.#encode = ENCODERS[encoder]
    this.#topics = topics
    this.#payload = payloadOf(payloadBytes)
    this.#seq = new Array(topics).fill(0)
  }

  /** The next messages, topics in turn; one write a connection. */
  publish(count, now) {
    const frames = this.#sockets.map(() => [])
    for (let i = 0; i < count; i++) {
      const topic = this.#turn
      this.#turn = (this.#turn + 1) % this.#topics
      stamp(this.#payload, topic, this.#seq[topic]++, now)
      frames[topic % frames.length].push(this.#encode(this.#payload, topic))
    }
    this.sent += count
    for (const [i, own] of frames.entries()) if (own.length > 0) this.#sockets[i].send(Buffer.concat(own))
  }
}
