import type { FastifyPluginAsync } from 'fastify'
import type { Hub } from '../hub.ts'
import type { Config } from './config.ts'

/** `/` of a server without a page of its own: what to try. */
export function guide(config: Config): FastifyPluginAsync<{ hub: Hub }> {
  // Where operators have a listener of their own, strangers are not told which.
  const operators = config.admin.port === undefined
  return async app => {
    app.get('/', (request, reply) => {
      const url = `${request.protocol}://${request.host}`
      reply.type('text/plain; charset=utf-8').send(guideText(config, url, operators ? url : undefined))
    })
  }
}

/**
 * `operators`: where /api is, if that is to be told. What is shown works as it stands, once there is a token and a key.
 */
export function guideText({ sessions, unknownTopics }: Config, url: string, operators: string | undefined): string {
  const login = sessions.mode !== 'open' ? ' -H "authorization: Bearer $TOKEN"' : ''
  const key = login || Object.keys(sessions.apiKeys).length > 0 ? ' -H "authorization: Bearer $KEY"' : ''
  const topic = unknownTopics === 'refuse' ? 'TOPIC' : 'hello'
  const topics = unknownTopics === 'refuse' ? 'TOPIC is one that the configuration names' : 'A topic is any name'
  const socket = url.replace(/^http/, 'ws')
  return `Hubline is running. ${topics}; try in two terminals:

  listen    curl -N${login} ${url}/topics/${topic}
  publish   curl${login} -d 'hi there' ${url}/topics/${topic}
${login && '\nTOKEN is what your backend issues, or for trials what `hubline token` prints (docs/security.md).\n'}
The same topic on other protocols:

  SSE          curl -N${login} -H 'accept: text/event-stream' ${url}/topics/${topic}
  WebSocket    ${socket}/topics/${topic}
  many topics  ${socket}/connection/websocket   (npm package centrifuge)
${operators === undefined ? '' : operatorsText(url, operators, topic, login, key)}`
}

function operatorsText(url: string, operators: string, topic: string, login: string, key: string): string {
  return `
One client alone, or a URL of yours, to which each message is a POST:

  listen    curl -N${login} '${url}/topics/${topic}?client=ada'
  send      curl${key} -d 'for you alone' ${operators}/api/clients/ada/send
  register  curl${key} -H 'content-type: application/json' -d '{"url":"https://example.org/hook","topics":["${topic}"]}' ${operators}/api/clients

Who is connected, and how it goes, and all that can be asked:

  curl${key} ${operators}/api/clients
  curl${key} ${operators}/api/stats
  ${operators}/api/docs
${key && '\nKEY is one that `hubline token key` has made.\n'}`
}
