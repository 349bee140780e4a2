import { HubError } from '../core/errors.ts'

/** The environment variable that says how long a client may take, in ms. */
export const TIMEOUT_VARIABLE = 'TOWER_CLIENT_TIMEOUT_MS'
export const DEFAULT_TIMEOUT_MS = 250
const MAX_TIMEOUT_MS = 3_600_000

type Environment = Readonly<Record<string, string | undefined>>

/**
 * What the program says, which is checked already, else what the environment says, else 250 ms [H6][H9]. Throws
 * CONFIG_INVALID with the value of the environment.
 */
export function clientTimeoutMs(said: number | undefined, env: Environment): number {
  if (said !== undefined) return said
  const text = env[TIMEOUT_VARIABLE]
  if (text === undefined) return DEFAULT_TIMEOUT_MS
  const value = Number(text)
  if (/^[1-9]\d*$/.test(text) && value <= MAX_TIMEOUT_MS) return value
  throw new HubError(
    'CONFIG_INVALID',
    `${TIMEOUT_VARIABLE} must be an integer from 1 to ${MAX_TIMEOUT_MS} (ms), got ${JSON.stringify(text)}`,
  )
}
