import { HubError } from '../core/errors.ts'
import { openSessions, type SessionManager } from '../core/sessions.ts'
import { ApiKeys } from '../sessions/api-keys.ts'
import { callbackSessions } from '../sessions/callback-sessions.ts'
import { sessionChain } from '../sessions/chain.ts'
import { jwtSessions } from '../sessions/jwt.ts'
import { Revocations } from '../sessions/revocations.ts'
import { Tickets } from '../sessions/tickets.ts'
import type { Config } from './config.ts'

type SessionsConfig = Config['sessions']

/** What the server has of sessions; routes have the parts, and the hub's surface the whole. */
export interface ServerSessions {
  readonly sessions: SessionManager
  readonly apiKeys: ApiKeys
  readonly tickets: Tickets
  readonly revocations: Revocations
  close(): Promise<void>
}

/** @param within what stands before `sessions` in the configuration. Throws CONFIG_INVALID. */
export function createSessions(config: SessionsConfig, within = ''): ServerSessions {
  try {
    return partsOf(config)
  } catch (error) {
    if (!(error instanceof HubError)) throw error
    throw new HubError(error.code, `${within}sessions.${error.message}`, { cause: error })
  }
}

function partsOf(config: SessionsConfig): ServerSessions {
  const { mode, anonymous, cookie, jwt } = config
  const apiKeys = new ApiKeys(Object.entries(config.apiKeys).map(([name, key]) => ({ name, ...key })))
  const tickets = new Tickets(config.tickets)
  const revocations = new Revocations({ ...config.revocations, maxTokenMs: jwt.maxTokenMs })
  const parts = { apiKeys, tickets, revocations }
  if (mode === 'open') return { ...parts, sessions: openSessions, close: async () => {} }
  const callback = mode === 'callback' ? callbackSessions(config.callback) : undefined
  const tokens = callback ?? jwtSessions({ ...jwtOptions(jwt), revoked: revocations.revoked })
  const { enabled, ...grants } = anonymous
  const sessions = sessionChain({ ...parts, tokens, cookie, anonymous: enabled ? grants : undefined })
  return { ...parts, sessions, close: async () => callback?.close() }
}

/** For `jwtSessions`. A variable of the environment may have no line ends. */
export function jwtOptions({ publicKey, ...rest }: SessionsConfig['jwt']) {
  return { ...rest, publicKey: publicKey?.replaceAll('\\n', '\n') }
}
