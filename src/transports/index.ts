/** `hubline/transports`: what turns an accepted HTTP exchange into a client of a hub. */

export { type ClientProtocolOptions, clientProtocol, clientSubprotocol } from './client-protocol.ts'
export { httpStream, multipart, openStream, type StreamHead } from './http-stream.ts'
export { NodeSocket, type NodeSocketOptions } from './node-socket.ts'
export { parseEventId, sse } from './sse.ts'
export { missingTcpProbe, type TcpBuffers, type TcpProbe, tcpProbe } from './tcp-probe.ts'
export { Heartbeat, join, newClientId, type Opening, type Transport } from './transport.ts'
export { CLOSE_CODES, keepAlive, type WebSocketChannel, webSocketConnection, webSocketTopic } from './websocket.ts'
