import { HubError } from '../core/errors.ts'

/** The environment variable that says how long a client may take, in ms. */
export const TIMEOUT_VARIABLE = 'TOWER_CLIENT_TIMEOUT_MS'
export const DEFAULT_TIMEOUT_MS = 250
export const MAX_TIMEOUT_MS = 3_600_000

type Environment = Readonly<Record<string, string | undefined>>

/**
 * What the program says, else what the environment says, else 250 ms [H6][H9]. Throws CONFIG_INVALID with the value.
 */
export function clientTimeoutMs(said: number | undefined, env: Environment): number {
  if (said !== undefined) return check('timeoutMs', String(said))
  const text = env[TIMEOUT_VARIABLE]
  return text === undefined ? DEFAULT_TIMEOUT_MS : check(TIMEOUT_VARIABLE, text)
}

function check(name: string, text: string): number {
  const value = Number(text)
  if (/^[1-9]\d*$/.test(text) && value <= MAX_TIMEOUT_MS) return value
  throw new HubError(
    'CONFIG_INVALID',
    `${name}: ${JSON.stringify(text)} is not a number of milliseconds from 1 to ${MAX_TIMEOUT_MS}, in digits only`,
  )
}
