import type { FastifyInstance } from 'fastify'
import { parsePolicy } from '../../policies/catalog.ts'
import { clientProtocol } from '../../transports/client-protocol.ts'
import type { HubContext } from '../context.ts'
import { readConnection } from '../subscriber.ts'

/** `/connection/websocket`: many topics on one socket, changed at run time. */
export function clientProtocolRoute(app: FastifyInstance, context: HubContext): void {
  const { hub, sessions, heartbeat } = context
  const protocol = clientProtocol({ hub, sessions, parsePolicy })
  app.route({
    method: 'GET',
    url: '/connection/websocket',
    config: { socket: 'only' },
    handler: (_request, reply) => reply.code(426).send(),
    wsHandler: (webSocket, request) => {
      const { clientId } = readConnection(request)
      protocol.open(
        { webSocket, socket: request.raw.socket },
        { hub, clientId, topics: [], address: request.ip, heartbeat },
      )
    },
  })
}
