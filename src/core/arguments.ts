import { CLOSE_REASONS, type Connection } from './connection.ts'
import type { ClientFilter, HistoryOptions, RegisterOptions, SubscribeOptions } from './contract.ts'
import { HubError } from './errors.ts'
import { positionRule } from './ids.ts'
import {
  anything,
  callable,
  checkValue,
  flag,
  having,
  integer,
  json,
  object,
  oneOf,
  type Rule,
  type Rules,
  readOptions,
  text,
  texts,
} from './options.ts'
import { policyRule } from './policy-check.ts'
import type { Session } from './sessions.ts'

export const codecRule = having('a codec', 'encode', 'concat')
const methods = having('a connection', 'write', 'close')
export const connectionRule: Rule = (value, field) => {
  const wrong = methods(value, field)
  if (wrong !== undefined) return wrong
  const { protocol, codec: own } = value as Connection
  if (typeof protocol !== 'string') return 'a connection whose protocol is a string'
  return codecRule(own, field) && 'a connection whose codec has the methods encode, concat'
}

const time: Rule = value =>
  value === undefined || Number.isFinite(value) ? undefined : 'a time in ms since 1970, as a number'

/** Other keys are allowed: a SessionManager may keep more in its sessions. */
export const sessionRule: Rule = (value, field) => {
  const wrong = object(value, field)
  if (wrong !== undefined) return wrong
  const { user, info, expiresAt, issuedAt } = value as Session
  if (user !== undefined) checkValue(user, text, `${field}.user`)
  // A session with a time of another type would never end.
  checkValue(expiresAt, time, `${field}.expiresAt`)
  checkValue(issuedAt, time, `${field}.issuedAt`)
  if (info !== undefined) checkValue(info, json, `${field}.info`)
  return undefined
}

/** A content type becomes a header of a response without a change. */
export const contentTypeRule: Rule = value =>
  typeof value === 'string' && /^[\x20-\x7e]{1,255}$/.test(value) ? undefined : '1 to 255 printable ASCII characters'

const REGISTER: Rules<RegisterOptions> = {
  protocols: texts,
  session: sessionRule,
  address: text,
  ifExists: oneOf('replace', 'seize', 'refuse'),
  restore: anything,
  internal: flag,
}

const SUBSCRIBE: Rules<SubscribeOptions> = {
  policy: policyRule,
  after: (value, field) =>
    value === 'oldest' ? undefined : positionRule(value, field) && '"oldest" or a position { epoch, seq }',
  begun: callable,
}

const HISTORY: Rules<HistoryOptions> = { after: positionRule, limit: integer(0), reverse: flag }

const FILTER: Rules<ClientFilter> = {
  topic: text,
  user: text,
  protocol: text,
  all: value => (value === true ? undefined : 'true'),
  except: texts,
}

export const reasonRule = oneOf(...CLOSE_REASONS)

/** Throws REQUEST_INVALID, as the functions below do. */
export function readRegister(options: RegisterOptions): RegisterOptions {
  return readOptions(options, REGISTER, 'registerClient')
}

/** @param call the name of the call, for the error. Throws POLICY_INVALID as well. */
export function readSubscribe(options: SubscribeOptions, call: string): SubscribeOptions {
  return readOptions(options, SUBSCRIBE, call)
}

export function readHistory(options: HistoryOptions): HistoryOptions {
  return readOptions(options, HISTORY, 'history')
}

export function checkSession(given: Session): void {
  checkValue(given, sessionRule, 'session')
}

/**
 * Throws REQUEST_INVALID for a filter that names nothing, or a key that is undefined: a mistake must not select every
 * client.
 */
export function readFilter(filter: ClientFilter): ClientFilter {
  const read = readOptions(filter, FILTER, 'filter.')
  const missing = Object.keys(filter).find(key => !Object.hasOwn(read, key))
  if (missing !== undefined) {
    throw new HubError(
      'REQUEST_INVALID',
      `filter.${missing} must not be undefined; leave it out, or ask for { all: true }`,
    )
  }
  const { all, except: _, ...named } = read
  const names = Object.keys(named)
  if (all === undefined && names.length === 0) {
    throw new HubError('REQUEST_INVALID', 'filter: name topic, user or protocol, or everybody with { all: true }')
  }
  if (all === undefined || names.length === 0) return read
  throw new HubError('REQUEST_INVALID', `filter.all cannot be combined with ${names.join(', ')}; give one or the other`)
}
