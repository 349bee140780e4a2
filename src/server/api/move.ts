import { HubError } from '../../core/errors.ts'
import { parseTopicName } from '../../core/ids.ts'
import type { Hub } from '../../hub.ts'
import { parsePolicy } from '../../policies/catalog.ts'
import { errorBody, toHubError } from '../errors.ts'

/** Clients after which the event loop gets its turn. */
const CLIENTS_PER_TURN = 500
const MAX_FAILURES = 1000

export interface MoveResult {
  readonly moved: number
  readonly failed: number
  readonly failures: readonly {
    readonly client: string
    readonly error: { readonly code: string; readonly message: string }
  }[]
}

/**
 * Puts every client of `from` on `to`, with its wish for a policy. A client that cannot be on both for a moment, or not
 * on `to`, stays where it is. Rejects with TOPIC_INVALID, TOPIC_UNKNOWN, REQUEST_INVALID, SHUTTING_DOWN: then nobody
 * was moved.
 */
export async function moveClients(hub: Hub, from: string, to: string): Promise<MoveResult> {
  const old = parseTopicName(from)
  const target = parseTopicName(to)
  if (old === target) throw new HubError('REQUEST_INVALID', `to: it is the topic that they are on, ${target}`)
  if (hub.draining) throw new HubError('SHUTTING_DOWN', 'the hub is shutting down')
  hub.resolveTopic(target)
  const failures: { client: string; error: HubError }[] = []
  let moved = 0
  for (const [index, client] of hub.selectClients({ topic: old }).entries()) {
    if (index % CLIENTS_PER_TURN === CLIENTS_PER_TURN - 1) {
      await new Promise<void>(resolve => hub.scheduler.defer(resolve))
    }
    try {
      if (move(hub, client, old, target)) moved++
    } catch (error) {
      failures.push({ client, error: toHubError(error) })
    }
  }
  const listed = failures.slice(0, MAX_FAILURES)
  return {
    moved,
    failed: failures.length,
    failures: listed.map(({ client, error }) => ({ client, ...errorBody(error) })),
  }
}

/** In one go: nothing is published in between. False: it left meanwhile by itself. */
function move(hub: Hub, client: string, from: string, to: string): boolean {
  const subscription = hub.getSubscription(client, from)
  if (subscription === undefined) return false
  if (hub.getSubscription(client, to) === undefined) {
    const { wish } = subscription
    hub.subscribe(client, to, { policy: wish && parsePolicy(wish) })
  }
  return hub.unsubscribe(client, from)
}
