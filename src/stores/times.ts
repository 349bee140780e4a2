import { HubError } from '../core/errors.ts'
import type { ConnectionRecord, ConnectionTouch } from './connection-store.ts'

const TIMES = ['connectedAt', 'lastSendAt', 'expiresAt'] as const

/** JSON has no NaN and no Infinity: a store that wrote one could not read its record again. */
export function checkTimes(record: ConnectionRecord | ConnectionTouch): void {
  const times: Partial<ConnectionRecord> = record
  for (const name of TIMES) {
    const time = times[name]
    if (time !== undefined && !Number.isFinite(time))
      throw new HubError('REQUEST_INVALID', `${name}: must be a finite number of ms, and is ${time}.`)
  }
}
