import type { FastifyPluginAsync } from 'fastify'
import type { Hub } from '../hub.ts'

/** `/` of a server without a page of its own: what to try. */
export const guide: FastifyPluginAsync<{ hub: Hub }> = async app => {
  app.get('/', (request, reply) => {
    reply.type('text/plain; charset=utf-8').send(guideText(`${request.protocol}://${request.host}`))
  })
}

export function guideText(url: string): string {
  return `Hubline is running. A topic is any name; try in two terminals:

  listen    curl -N ${url}/topics/hello
  publish   curl -d 'hi there' ${url}/topics/hello

The same topic on other protocols:

  SSE          curl -N -H 'accept: text/event-stream' ${url}/topics/hello
  WebSocket    ${url.replace(/^http/, 'ws')}/topics/hello
  many topics  ${url.replace(/^http/, 'ws')}/connection/websocket   (npm package centrifuge)

One client alone, or a URL of yours, to which each message is a POST:

  listen    curl -N '${url}/topics/hello?client=ada'
  send      curl -d 'for you alone' ${url}/api/clients/ada/send
  register  curl -H 'content-type: application/json' -d '{"url":"https://example.org/hook","topics":["hello"]}' ${url}/api/clients

Who is connected, and how it goes:

  curl ${url}/api/clients
  curl ${url}/api/stats
`
}
