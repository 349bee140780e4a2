import { atOnce } from './attempt.ts'
import { HubError } from './errors.ts'
import type { ClientId, TopicName } from './ids.ts'
import { shown } from './options.ts'
import type { DeliveryPolicy, PolicyDescription } from './policy.ts'
import { descriptionOf } from './terms.ts'
import type { Topic } from './topic.ts'
import type { TopicSpec } from './topics.ts'

/** @param setting where the limit is set */
export function tooMany(what: string, limit: number, setting = 'limit'): HubError {
  return new HubError('LIMIT_EXCEEDED', `${setting}: there may be at most ${limit} ${what}`)
}

export function notConnected(id: string): HubError {
  return new HubError(
    'CONNECTION_NOT_FOUND',
    `client: no client ${typeof id === 'string' ? JSON.stringify(id) : shown(id)} is connected`,
  )
}

/** Also for what was on its way when the breaker opened. */
export function circuitOpen(id: string): HubError {
  return new HubError(
    'CIRCUIT_OPEN',
    `client: ${id} has failed too often; nothing is sent to it until its breaker has cooled down`,
  )
}

export function notCarried(id: ClientId, protocol: string, contentType: string): HubError {
  return new HubError(
    'UNSUPPORTED_PAYLOAD',
    `message: ${id} speaks ${protocol}, which cannot carry ${contentType} to one client`,
  )
}

type Checked = Pick<Topic, 'name' | 'spec'>

export function checkAllowed({ name, spec: { allowedPolicies: allowed } }: Checked, policy?: DeliveryPolicy): void {
  if (policy === undefined || allowed === undefined) return
  // A decorator is allowed if what it is made of is.
  for (let part = descriptionOf(policy); part != null; part = part.inner as PolicyDescription) {
    if (allowed.includes(part.name)) continue
    const names = allowed.join(', ') || 'no other policy'
    throw new HubError('POLICY_DENIED', `policy: ${name} allows ${names}, not ${part.name}`)
  }
}

/** Of one user, client or address: the others are not over it. */
export function tooManyOf(what: string, limit: number, setting: string): HubError {
  return new HubError(
    'QUOTA_EXCEEDED',
    `${setting}: there may be at most ${limit} ${what}; close some, or raise the limit`,
  )
}

export function taken(id: ClientId, how: string): HubError {
  return new HubError('CLIENT_EXISTS', `client: ${id} is ${how}`)
}

/** For a client without a login: with an id of its own choice it could replace another client without a login. */
export function notToName(): HubError {
  return new HubError('PERMISSION_DENIED', 'client: an id of your own needs a login; leave it out')
}

export function presenceOff(topic: TopicName): HubError {
  return new HubError('PRESENCE_OFF', `topic: ${topic} does not tell who is on it; turn presence on in its rule`)
}

export function notBytes(data: unknown): HubError {
  return new HubError('INVALID_MESSAGE', `data: a message is a Uint8Array or Buffer, not ${typeof data}`)
}

export function tooLarge({ name, maxMessageBytes }: TopicSpec, bytes: number): HubError {
  return new HubError(
    'MESSAGE_TOO_LARGE',
    `data: ${bytes} bytes are more than the ${maxMessageBytes} that ${name} takes in one message`,
  )
}

/** What the topic has against a payload. A check that throws refuses the payload: no message goes out unchecked. */
export function mismatch({ name, check }: TopicSpec, payload: Uint8Array, contentType: string): HubError | undefined {
  try {
    const wrong = atOnce(check?.(payload, contentType), 'check')
    if (wrong === undefined) return undefined
    return new HubError('SCHEMA_MISMATCH', `data: ${name} does not take it: ${wrong}`)
  } catch (cause) {
    return new HubError('SCHEMA_MISMATCH', `data: the check of ${name} failed on it`, { cause })
  }
}

export function tooFast(name: TopicName, retryMs: number): HubError {
  return new HubError('RATE_LIMITED', `topic: more is published to ${name} than its publishRate allows`, { retryMs })
}
