import { z } from 'zod'
import type { HubContext } from '../context.ts'
import type { Api } from './route.ts'
import { userName } from './schemas.ts'

const revocation = z.union(
  [z.strictObject({ user: userName }), z.strictObject({ tokenId: z.string().min(1).max(255) })],
  'give user, or tokenId',
)

/** `POST /api/revocations`: ends sessions before their time. */
export function revocationRoutes(api: Api, { revocations }: HubContext): void {
  api.add({
    method: 'POST',
    path: '/api/revocations',
    tag: 'Sessions',
    summary: 'Ends the sessions of a user, or of one token, within seconds',
    description: 'Of a user: those that began before. Who has a newer token may come back.',
    audit: 'revoke',
    body: revocation,
    answers: { 204: { description: 'Revoked.' } },
    handler: ({ body, note }) => {
      note(body)
      if ('user' in body) revocations.revokeUser(body.user)
      else revocations.revokeToken(body.tokenId)
    },
  })
}
