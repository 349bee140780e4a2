/** `hubline/transports`: what turns an accepted HTTP exchange into a client of a hub. */

export {
  ApiGatewayClients,
  type ApiGatewayOpening,
  type ApiGatewayOptions,
  type GatewaySdk,
  loadGatewaySdk,
} from './api-gateway.ts'
export type { RetryRules } from './backoff.ts'
export { CallbackClients, type CallbackOpening, type CallbackOptions } from './callback.ts'
export { httpStream, multipart, multipartImage, sse, webSocketTopic, webSocketTopicWithGaps } from './checked.ts'
export type { BreakerRules } from './circuit-breaker.ts'
export { type ClientProtocolOptions, clientProtocol, clientSubprotocol } from './client-protocol.ts'
export type { Attempt, AttemptTrace, Envelope, Outcome } from './envelope.ts'
export { CLOSE_CODES, type WebSocketChannel, webSocketConnection } from './frame-socket.ts'
export { type Beat, Heartbeat, type HeartbeatOptions } from './heartbeat.ts'
export { openStream, type StreamHead } from './http-stream.ts'
export type { Resolver } from './name-resolver.ts'
export { NodeSocket, type NodeSocketOptions } from './node-socket.ts'
export {
  openReceiver,
  type Receiver,
  type RequestHub,
  type RequestOpening,
  type RequestRules,
} from './request-clients.ts'
export { parseEventId } from './sse.ts'
export { missingTcpProbe, type TcpBuffers, type TcpProbe, tcpProbe } from './tcp-probe.ts'
export { type InboundLimit, join, newClientId, type Opening, subscribeTo, type Transport } from './transport.ts'
export { keepAlive } from './websocket.ts'
