import { readFilter } from '../core/arguments.ts'
import type { ClientFilter } from '../core/contract.ts'
import { HubError } from '../core/errors.ts'
import { integer, type Rules, shown } from '../core/options.ts'
import type { Scheduler } from '../core/scheduler.ts'
import { type Outgoing, SEND_OPTIONS, type SendOptions } from './outgoing.ts'
import type { SendResult } from './pending-send.ts'
import type { Sender } from './sender.ts'

export interface BroadcastOptions extends SendOptions {
  /** Requests to clients that are URLs that may be under way at once. Default 10. */
  readonly concurrency?: number | undefined
}

export const BROADCAST_OPTIONS: Rules<BroadcastOptions> = { ...SEND_OPTIONS, concurrency: integer(1) }

/** What came of the message at one client. */
export type ClientOutcome =
  | ({ readonly clientId: string; readonly ok: true } & SendResult)
  | { readonly clientId: string; readonly ok: false; readonly error: HubError }

export interface BroadcastResult {
  /** In the order of the ids. */
  readonly results: readonly ClientOutcome[]
  readonly sent: number
  readonly failed: number
  /** BROADCAST_PARTIAL_FAILURE with the failures, if there are any. */
  readonly error: HubError | undefined
}

/** Clients after which the event loop gets its turn, however many run at a time. */
const CLIENTS_PER_TURN = 100

/**
 * One message to many clients. Requests (clients that are URLs) run at most `concurrency` at a time; writes to sockets,
 * which do not wait, are not counted. Goes on after failures and never rejects for one.
 */
export async function broadcast(
  sender: Sender,
  scheduler: Scheduler,
  ids: readonly string[],
  outgoing: Outgoing,
  concurrency: number,
): Promise<BroadcastResult> {
  const results = new Array<ClientOutcome>(ids.length)
  const writes: Promise<void>[] = []
  let next = 0
  /** While the event loop has its turn. */
  let resting = false
  let turn: Promise<void>
  const rest = (): void => {
    resting = true
    turn = new Promise(resolve => {
      scheduler.defer(() => {
        resting = false
        resolve()
      })
    })
  }

  async function work(): Promise<void> {
    while (next < ids.length) {
      if (resting) {
        await turn
        continue
      }
      const index = next++
      if (next % CLIENTS_PER_TURN === 0) rest()
      const clientId = ids[index]!
      const { result, slow } = sender.begin(clientId, outgoing)
      const settled = result.then(
        sent => {
          results[index] = { clientId, ok: true, ...sent }
        },
        (error: HubError) => {
          results[index] = { clientId, ok: false, error }
        },
      )
      if (slow) await settled
      else writes.push(settled)
    }
  }

  await Promise.all(Array.from({ length: Math.min(concurrency, ids.length) }, work))
  await Promise.all(writes)
  return summarize(results)
}

/** The failures together become one error. */
export function summarize(results: readonly ClientOutcome[]): BroadcastResult {
  const failures = results.flatMap(result => (result.ok ? [] : [{ clientId: result.clientId, error: result.error }]))
  const failed = failures.length
  const message = `broadcast: ${failed} of ${results.length} clients did not get it`
  const error = failed === 0 ? undefined : new HubError('BROADCAST_PARTIAL_FAILURE', message, { failures })
  return { results, sent: results.length - failed, failed, error }
}

/** Reads a list of ids, each once, or a filter. Throws REQUEST_INVALID. */
export function readTargets(targets: Iterable<string> | ClientFilter): string[] | ClientFilter {
  // One id is a list of letters to JavaScript.
  if (typeof targets !== 'object' || targets === null) {
    const forms = 'an array of client ids, or a filter such as { topic }, { user } or { all: true }'
    throw new HubError('REQUEST_INVALID', `targets must be ${forms}, got ${shown(targets)}`)
  }
  if (!(Symbol.iterator in targets)) return readFilter(targets)
  let listed: string[]
  try {
    listed = [...new Set(targets)]
  } catch (cause) {
    throw new HubError('REQUEST_INVALID', 'targets cannot be read: their iterator throws', { cause })
  }
  const odd = listed.findIndex(id => typeof id !== 'string')
  if (odd === -1) return listed
  throw new HubError('REQUEST_INVALID', `targets must be client ids, which are strings, got ${shown(listed[odd])}`)
}
