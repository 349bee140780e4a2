import { z } from 'zod'
import type { HubContext } from '../context.ts'
import type { Api } from './route.ts'
import {
  broadcastResult,
  count,
  queryList,
  SAY_WHAT,
  SAY_WHAT_FORMS,
  SENDING_ERRORS,
  saysWhatOnce,
  userPath,
} from './schemas.ts'
import { bodyLimit, sendingOptions, sendToMany } from './sending.ts'

const MAX_USERS = 1000

const onlineQuery = z.strictObject({
  online: queryList(MAX_USERS).meta({
    description: `Of whom it is asked, at most ${MAX_USERS}: ?online=ada&online=grace.`,
  }),
})
const sendBody = z.strictObject(sendingOptions).refine(saysWhatOnce, SAY_WHAT).meta(SAY_WHAT_FORMS)

/** Users, each with all of their clients. */
export function userRoutes(api: Api, { hub, maxMessageBytes }: HubContext): void {
  const tag = 'Users'

  api.add({
    method: 'GET',
    path: '/api/users',
    tag,
    summary: 'Which of these users are online',
    query: onlineQuery,
    answers: {
      200: { description: 'By user.', schema: z.object({ online: z.record(z.string(), z.boolean()) }) },
    },
    handler: ({ query }) => ({ online: Object.fromEntries(query.online.map(user => [user, hub.isOnline(user)])) }),
  })

  api.add({
    method: 'GET',
    path: '/api/users/{user}',
    tag,
    summary: 'A user, and their clients',
    params: userPath,
    answers: {
      200: {
        description: 'Somebody whom nobody has seen is not online: that is no error.',
        schema: z.object({ user: z.string(), online: z.boolean(), clients: z.array(z.string()) }),
      },
    },
    handler: ({ params: { user } }) => ({ user, online: hub.isOnline(user), clients: hub.connectionsOf(user) }),
  })

  api.add({
    method: 'POST',
    path: '/api/users/{user}/send',
    tag,
    access: 'publish',
    summary: 'Sends to all clients of a user',
    params: userPath,
    body: sendBody,
    bodyLimit: bodyLimit(maxMessageBytes),
    answers: {
      200: { description: 'All got it; none, where the user is not online.', schema: broadcastResult },
      207: { description: 'Some did not get it.', schema: broadcastResult },
    },
    errors: SENDING_ERRORS,
    handler: ({ params, body, request, reply }) =>
      sendToMany(body, request, reply, (data, options) => hub.sendToUser(params.user, data, options)),
  })

  api.add({
    method: 'DELETE',
    path: '/api/users/{user}',
    tag,
    summary: 'Disconnects all clients of a user',
    description: 'They may come back: to forbid that, revoke the user.',
    audit: 'disconnect-user',
    params: userPath,
    answers: {
      200: { description: 'How many there were.', schema: z.object({ disconnected: count }) },
    },
    handler: ({ params }) => ({ disconnected: hub.disconnectUser(params.user) }),
  })
}
