import { Socket } from 'node:net'
import { expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { wsCodec } from '../../src/transports/codecs.ts'
import { type WebSocketChannel, webSocketConnection } from '../../src/transports/frame-socket.ts'

it('a WebSocket whose closing has begun gets no more data, and is not destroyed for it (RFC 6455, 5.5.1)', () => {
  const answerIn = (readyState: number) => {
    const webSocket = { OPEN: WebSocket.OPEN, readyState, on: () => {} }
    // Who writes to this one is told that nobody is there.
    const channel = { webSocket, socket: new Socket().destroy() } as unknown as WebSocketChannel
    return webSocketConnection(channel, wsCodec).write(new Uint8Array(1), false)
  }
  expect(answerIn(WebSocket.CLOSING)).toBe('full')
  expect(answerIn(WebSocket.OPEN)).toBe('gone')
})
