import { z } from 'zod'
import type { Hub } from '../../hub.ts'
import type { HubContext } from '../context.ts'
import { answerHead } from '../stream-head.ts'
import { streamHead } from './event-stream.ts'
import type { Api } from './route.ts'
import { clientPath, queryBoolean } from './schemas.ts'
import { Tails } from './tails.ts'

const tailQuery = z.strictObject({
  payload: queryBoolean
    .default(false)
    .meta({ description: 'true: with what the messages say, the first KiB of each.' }),
})

/** `GET /api/clients/{id}/tail`: what is done for one client, as it is done. */
export function tailRoute(api: Api, { hub, heartbeat }: HubContext): void {
  const tails = new Tails(hub, heartbeat)
  api.add({
    method: 'GET',
    path: '/api/clients/{id}/tail',
    tag: 'Clients',
    summary: 'What is done for it, as it is done',
    description:
      'Events: `state` once, `seen` for each frame and decision, `skipped` where this reader is slower than the client, `end` with the reason when the client goes.',
    audit: 'tail',
    streamsEvents: true,
    params: clientPath,
    query: tailQuery,
    answers: { 200: { description: 'A stream of events.', type: 'text/event-stream' } },
    errors: ['CONNECTION_NOT_FOUND', 'LIMIT_EXCEEDED'],
    handler: ({ params: { id }, query: { payload }, request, reply, note }) => {
      note({ payload })
      if (request.method === 'HEAD') {
        hub.getClient(id)
        return answerHead(reply, 'sse')
      }
      const { raw } = reply
      const head = streamHead(reply)
      tails.open(id, raw, {
        payload,
        state() {
          raw.writeHead(200, head)
          return stateOf(hub, id)
        },
      })
      reply.hijack()
    },
  })
}

/** What whoever looks from now on must know of what was before. */
function stateOf(hub: Hub, id: string): object {
  const { subscriptions, ...client } = hub.getClient(id)
  return {
    ...client,
    subscriptions: subscriptions.map(({ topic, policy, decidedBy, pattern, state, pending, dropped }) => ({
      ...{ topic, policy, decidedBy, pattern, state, pending, dropped },
      rule: hub.explainPolicy(id, topic).rule,
    })),
  }
}
