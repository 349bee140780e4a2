import type { IncomingMessage } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { HubError } from '../../core/errors.ts'
import { openSessions } from '../../core/sessions.ts'
import { parsePolicy } from '../../policies/catalog.ts'
import { clientProtocol, clientSubprotocol } from '../../transports/client-protocol.ts'
import type { HubContext } from '../context.ts'
import { addressOf, credentialsOf } from '../credentials.ts'
import { readConnection } from '../subscriber.ts'

const PATH = '/connection/websocket'

/** `/connection/websocket`: many topics on one socket, changed at run time. */
export function clientProtocolRoute(app: FastifyInstance, context: HubContext): void {
  const { hub, gate, heartbeat } = context
  const rejected = (error: HubError, client: string): void => context.rejections.client(error, client)
  const protocol = clientProtocol({ hub, sessions: gate.sessions, parsePolicy, rejected })
  app.route({
    method: 'GET',
    url: PATH,
    config: { socket: 'only', opensClient: true },
    // Before the upgrade: what is wrong with the request must be a status, not a close code.
    preHandler(request, reply, done) {
      const client = readConnection(request)
      if (client.named) context.rivals.check(client.clientId)
      request.hubClientId = client
      request.hubResponse = reply.raw
      const offered = offeredBy(request.headers['sec-websocket-protocol'])
      if (clientSubprotocol(offered) === undefined) {
        throw new HubError(
          'UPGRADE_INVALID',
          'sec-websocket-protocol: only the JSON form is spoken here, centrifuge-json',
        )
      }
      done()
    },
    // checkRequest has answered a plain GET already.
    handler: (_request, reply) => reply.code(426).send(),
    wsHandler: (webSocket, request) => {
      const { clientId, named } = request.hubClientId!
      const { log } = request
      context.release(webSocket, request)
      const opening = {
        hub,
        ...{ clientId, named },
        topics: [],
        address: addressOf(request),
        heartbeat,
        inbound: context.edge.inbound(request),
        credentials: gate.sessions === openSessions ? undefined : credentialsOf(request),
      }
      context.opening(request, clientId, () => protocol.open({ webSocket, socket: request.raw.socket }, opening))
      context.forgetOnClose(webSocket, clientId, log)
    },
  })
}

function offeredBy(header: string | undefined): Set<string> {
  return new Set(header?.split(',').map(name => name.trim()))
}

/** For ws: the first that is offered, for a browser that offered one refuses an answer with none. */
export function chooseSubprotocol(offered: Set<string>, request: IncomingMessage): string | false {
  if (request.url?.split('?')[0]?.endsWith(PATH)) return clientSubprotocol(offered) ?? false
  const [first = false] = offered
  return first
}
