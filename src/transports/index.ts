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
export {
  clientProtocol,
  httpStream,
  join,
  multipart,
  multipartImage,
  openReceiver,
  openStream,
  sse,
  subscribeTo,
  webSocketConnection,
  webSocketTopic,
  webSocketTopicWithGaps,
} from './checked.ts'

export type { BreakerRules } from './circuit-breaker.ts'
export { type ClientProtocolOptions, clientSubprotocol } from './client-protocol.ts'
export type { Attempt, AttemptTrace, Envelope, Outcome } from './envelope.ts'
export { CLOSE_CODES, type WebSocketChannel } from './frame-socket.ts'
export { type Beat, Heartbeat, type HeartbeatOptions } from './heartbeat.ts'
export type { StreamHead } from './http-stream.ts'
export type { Resolver } from './name-resolver.ts'
export { NodeSocket, type NodeSocketOptions } from './node-socket.ts'
export type {
  Receiver,
  RequestHub,
  RequestOpening,
  RequestRules,
} from './request-clients.ts'
export { parseEventId } from './sse.ts'
export { missingTcpProbe, type TcpBuffers, type TcpProbe, tcpProbe } from './tcp-probe.ts'
export { type InboundLimit, newClientId, type Opening, type Transport } from './transport.ts'
export { keepAlive } from './websocket.ts'
