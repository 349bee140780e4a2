import { HubError } from '../core/errors.ts'
import type { RefusalReason } from '../core/sessions.ts'

/** One sentence for each class: it says how to mend it, and nothing of the credential or of what was expected of it. */
const SENTENCES: Readonly<Record<RefusalReason, string>> = {
  missing: 'credentials: there are none; send a token as "Authorization: Bearer", in the connect command, or a ticket',
  malformed: 'credentials: they cannot be read; a token is a JWT of at most 8 KiB in three parts',
  algorithm: 'token: it is signed by an algorithm that is not taken here',
  signature: 'token: its signature is not right',
  expired: 'credentials: they have expired; get new ones',
  early: 'token: its time has not come yet; look at the clock of whoever made it',
  audience: 'token: it is for somebody else (aud)',
  issuer: 'token: it comes from somebody else (iss)',
  claims: 'token: a claim is missing, has a wrong form or is beyond its limit',
  type: 'token: it is of another kind; connection tokens have no channel, subscription tokens have one',
  key: 'credentials: no key is known for them',
  revoked: 'credentials: they were revoked; log in again',
  used: 'ticket: it was used already; each is good for one request',
}

export function refused(reason: RefusalReason): HubError {
  // Never with a cause: what libraries throw has the claims in it, and would be logged.
  return new HubError('UNAUTHENTICATED', SENTENCES[reason], { reason })
}

/** `who` is a phrase, such as "the key set". */
export function unavailable(who: string): HubError {
  return new HubError(
    'AUTH_UNAVAILABLE',
    `sessions: ${who} did not answer as it should: nobody new is let in until it does`,
  )
}
